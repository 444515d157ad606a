"""A model at work on a batch."""

from __future__ import annotations

import torch
from torch import Tensor

from seqtrain.generation.decoder import ModelDecoder, WindowDecoder
from seqtrain.generation.predictions import Predictions
from tests.unit.generation.fakes import LatticeModel, LetterTask, RandomLM

TASK = LetterTask(num_letters=8)


def log_probs_of(predictions: Predictions) -> Tensor:
    return predictions.rows(slice(None)).log_probs()


def test_log_probabilities_are_float32_in_memory_of_their_own() -> None:
    model = LatticeModel({"</s>": {"a": 0.6, "b": 0.4}}, TASK).bfloat16()
    cache = model.init_cache((torch.tensor([[4, 2]]), torch.tensor([2])), 1)
    log_probs = log_probs_of(ModelDecoder(model, cache).step(torch.tensor([2])))
    assert log_probs.dtype is torch.float32
    before = model.table.detach().clone()
    log_probs.fill_(0)
    assert torch.equal(model.table, before)


def log_probs_after(tokens: Tensor, model: RandomLM) -> Tensor:
    """Of the token after each row, all of it read at once."""
    logits: Tensor = model(tokens)
    return logits[:, -1].log_softmax(dim=-1)


def test_a_window_that_is_full_begins_anew_with_its_newest_half() -> None:
    model = RandomLM(TASK, seed=1, max_positions=4).eval()
    tokens = torch.randint(4, 12, (2, 9), generator=torch.Generator().manual_seed(1))
    decoder = WindowDecoder(model, 2, 1)
    # tokens 0-3 fill the window; with token 4 it is 2-4, full with 5; with token 6 it is 4-6
    starts = [0, 0, 0, 0, 2, 2, 4, 4, 6]
    for step, start in enumerate(starts):
        expected = log_probs_after(tokens[:, start : step + 1], model)
        torch.testing.assert_close(log_probs_of(decoder.step(tokens[:, step])), expected)


def test_the_window_follows_its_rows() -> None:
    model = RandomLM(TASK, seed=1, max_positions=4).eval()
    decoder = WindowDecoder(model, 2, 2)
    written = torch.tensor([[4, 5, 6, 7], [8, 9, 10, 11], [5, 5, 6, 6], [7, 7, 8, 8]])  # step, row
    for step in range(4):
        decoder.step(written[step])
    decoder.reorder(torch.tensor([1, 1, 3, 2]))
    decoder.keep(torch.tensor([1]))
    # the second sentence's rows, exchanged; the newest two of each, then token 4
    histories = torch.tensor([[6, 8, 4], [6, 8, 9]])
    torch.testing.assert_close(log_probs_of(decoder.step(torch.tensor([4, 9]))), log_probs_after(histories, model))
