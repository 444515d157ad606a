from __future__ import annotations

import pytest
import torch
from torch.nn import functional
from torch.testing import assert_close

from seqtrain.criterions.cross_entropy import CrossEntropy, CrossEntropyConfig
from seqtrain.testing import TinyModel, TinyTask, collate

PAIRS = [([4, 5, 2], [5, 2]), ([6, 2], [4, 4, 2]), ([2], [2])]


def test_it_is_that_of_torch_over_the_targets_that_are_no_padding() -> None:
    task = TinyTask()
    torch.manual_seed(1)
    model, batch = TinyModel(task), collate(PAIRS)
    output = CrossEntropy(CrossEntropyConfig(), task)(model, batch)
    logits = model.forward_batch(batch)
    expected = functional.cross_entropy(
        logits.flatten(0, 1), batch.targets.flatten(), ignore_index=task.target_vocabulary.pad, reduction="sum"
    )
    assert_close(output.loss_sum, expected)
    assert_close(output.logs["nll_loss"], expected.detach())


@pytest.mark.parametrize(("sentence_avg", "sample_size"), [(False, 6), (True, 3)])
def test_the_sample_is_a_token_or_a_sentence(sentence_avg: bool, sample_size: int) -> None:
    task = TinyTask()
    output = CrossEntropy(CrossEntropyConfig(sentence_avg=sentence_avg), task)(TinyModel(task), collate(PAIRS))
    assert output.sample_size == sample_size
