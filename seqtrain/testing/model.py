"""What every model promises.

Shapes: B sentences, T target tokens, V entries of the vocabulary, K hypotheses a sentence, N = B * K rows.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from seqtrain.data.batch import Batch
from seqtrain.models.base import (
    DecoderCache,
    DecoderModel,
    EncoderDecoderModel,
    EncoderModel,
    FeatureModel,
    Model,
)
from seqtrain.testing.fakes import TinyTask, collate, with_padding
from seqtrain.testing.plugin import PluginContract

WORD_LENGTHS = (4, 6, 1, 3)
BEAM_SIZE = 3
NUM_STEPS = 6


class ModelContract(PluginContract):
    """The suite of a model: shapes, gradients, padding, causality, decoding step by step, its state."""

    kind: ClassVar[str] = "model"

    def task(self) -> TinyTask:
        """The task that the model is built for."""
        return TinyTask()

    def model(self, *, seed: int = 1) -> Any:
        """A new model in evaluation mode, its weights drawn with this seed."""
        torch.manual_seed(seed)
        model = self.build(self.task())
        assert isinstance(model, Model), f"{self.name} does not derive from a base class of seqtrain.models"
        return model.eval()

    def pairs(self) -> list[tuple[list[int], list[int]]]:
        """Sentences of different lengths, sources and targets, an empty source among them."""
        task, generator = self.task(), random.Random(1)
        targets = [task.random_word(generator, length) for length in WORD_LENGTHS]
        sources = [task.random_word(generator, length - 1) for length in reversed(WORD_LENGTHS)]
        return list(zip(sources, targets, strict=True))

    def batch(self) -> Batch:
        """The sentences of `pairs` as one batch."""
        return collate(self.pairs())

    # Building

    def test_the_same_seed_gives_the_same_weights(self) -> None:
        """Two models built after the same `torch.manual_seed` are the same to the bit."""
        first, second = self.model(seed=3), self.model(seed=3)
        for (name, one), other in zip(first.named_parameters(), second.parameters(), strict=True):
            assert torch.equal(one, other), f"{name} does not depend on torch's seed alone"

    def test_max_positions_are_two_positive_numbers(self) -> None:
        """The longest source and target that the model takes."""
        source, target = self.model().max_positions
        assert source > 0
        assert target > 0

    # The forward pass

    def test_logits_are_finite_and_have_the_shape_of_the_targets(self) -> None:
        """(B, T, V) for a model with a decoder; an encoder's begin with B."""
        model, batch = self.model(), self.batch()
        logits = model.forward_batch(batch)
        if isinstance(model, EncoderModel):
            assert logits.shape[0] == len(batch)
        else:
            assert logits.shape == (*batch.targets.shape, len(self.task().target_vocabulary))
        assert torch.isfinite(logits).all()

    def test_evaluation_is_deterministic(self) -> None:
        """In evaluation mode the same batch gives the same logits: no dropout, no state kept from before."""
        model, batch = self.model(), self.batch()
        assert torch.equal(model.forward_batch(batch), model.forward_batch(batch))

    def test_gradients_reach_every_parameter(self) -> None:
        """A parameter that no loss depends on would stop distributed training."""
        model = self.model().train()
        model.forward_batch(self.batch()).float().logsumexp(dim=-1).sum().backward()
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                assert parameter.grad is not None, f"no gradient reaches {name}"
                assert torch.isfinite(parameter.grad).all(), f"the gradient of {name} is not finite"

    def test_padding_does_not_change_the_logits_of_a_sentence(self) -> None:
        """What a sentence gets does not depend on how long the others of its batch are."""
        model, pairs = self.model(), self.pairs()
        together = model.forward_batch(with_padding(self.batch(), 2))
        for row, pair in enumerate(pairs):
            alone = model.forward_batch(collate([pair]))[0]
            logits = together[row] if alone.ndim == 1 else together[row, : len(alone)]
            _assert_near(logits, alone)

    def test_no_logits_depend_on_later_target_tokens(self) -> None:
        """Causality: another token at position t leaves the logits before t as they were."""
        model, batch = self.model(), self.batch()
        if isinstance(model, EncoderModel):
            pytest.skip("an encoder may look at all tokens")
        before = model.forward_batch(batch)
        letters = sorted(set(batch.previous_tokens[1, 1:].tolist()))
        for position in range(1, batch.previous_tokens.shape[1]):
            changed = batch.previous_tokens.clone()
            changed[:, position] = torch.where(changed[:, position] == letters[0], letters[1], letters[0])
            after = model.forward_batch(replace(batch, previous_tokens=changed))
            _assert_near(after[:, :position], before[:, :position])

    def test_features_times_the_output_weight_are_the_logits(self) -> None:
        """A model that offers a fused loss its features must mean the same by them as by its logits."""
        model: Model = self.model()
        batch = self.batch()
        if not isinstance(model, FeatureModel):
            pytest.skip("the model offers no features")
        logits = model.forward_features(batch) @ model.output_weight.T
        _assert_near(logits, model.forward_batch(batch))

    # Generation

    def test_decoding_step_by_step_agrees_with_the_forward_pass(self) -> None:
        """Greedy search: no row ever moves."""
        self._decode(is_reordered=False, kept_after=None)

    def test_a_reordered_cache_continues_the_parents_of_its_rows(self) -> None:
        """Beam search: at each step a row continues any row of its sentence."""
        self._decode(is_reordered=True, kept_after=None)

    def test_a_cache_forgets_finished_sentences(self) -> None:
        """Sentences that are done leave the batch."""
        self._decode(is_reordered=True, kept_after=2)

    @torch.inference_mode()
    def _decode(self, *, is_reordered: bool, kept_after: int | None) -> None:
        model = self.model()
        if isinstance(model, EncoderModel):
            pytest.skip("an encoder writes nothing")
        generator = torch.Generator().manual_seed(1)
        search = _Rows(model, self.batch(), generator)
        for step in range(NUM_STEPS):
            search.append_random_tokens()
            _assert_near(search.step_logits(), search.forward_logits())
            if is_reordered:
                search.reorder_randomly()
            if step == kept_after:
                search.keep(torch.tensor([0, 2]))

    # State

    @torch.no_grad()
    def test_its_state_makes_another_model_the_same(self) -> None:
        """`state_dict` holds tensors alone, and all that decides the logits."""
        trained, fresh, batch = self.model(seed=1), self.model(seed=2), self.batch()
        state = trained.state_dict()
        assert all(isinstance(value, Tensor) for value in state.values()), "a checkpoint holds tensors alone"
        fresh.load_state_dict({name: value.clone() for name, value in state.items()})
        assert torch.equal(fresh.forward_batch(batch), trained.forward_batch(batch))


class _Rows:
    """The rows of a search, decoded with a cache and, for comparison, by the whole forward pass."""

    def __init__(self, model: EncoderDecoderModel | DecoderModel, batch: Batch, generator: torch.Generator) -> None:
        self.model = model
        self.generator = generator
        self.sentences = torch.arange(len(batch)).repeat_interleave(BEAM_SIZE)  # (N,), each row's sentence
        self.batch = batch
        self.letters = batch.previous_tokens[1]  # of the longest target: an end symbol, then letters
        self.history = torch.empty(len(self.sentences), 0, dtype=torch.long)  # (N, t), each row's tokens so far
        self.cache: DecoderCache
        if isinstance(model, EncoderDecoderModel):
            assert batch.source_tokens is not None
            assert batch.source_lengths is not None
            self.cache = model.init_cache(model.encode(batch.source_tokens, batch.source_lengths), BEAM_SIZE)
        else:
            self.cache = model.init_cache(len(batch), BEAM_SIZE)

    def append_random_tokens(self) -> None:
        drawn = torch.randint(len(self.letters), (len(self.history),), generator=self.generator)
        self.history = torch.cat([self.history, self.letters[drawn][:, None]], dim=1)

    def step_logits(self) -> Tensor:
        return self.model.decode_step(self.history[:, -1], self.cache)

    def forward_logits(self) -> Tensor:
        if isinstance(self.model, DecoderModel):
            logits: Tensor = self.model(self.history)
            return logits[:, -1]
        assert self.batch.source_tokens is not None
        assert self.batch.source_lengths is not None
        sources, lengths = self.batch.source_tokens[self.sentences], self.batch.source_lengths[self.sentences]
        logits = self.model(sources, lengths, self.history)
        return logits[:, -1]

    def reorder_randomly(self) -> None:
        num_rows = len(self.history)
        first_rows = torch.arange(num_rows) // BEAM_SIZE * BEAM_SIZE  # of each row's sentence
        parents = first_rows + torch.randint(BEAM_SIZE, (num_rows,), generator=self.generator)
        self.cache.reorder(parents)
        self.history = self.history[parents]

    def keep(self, sentences: Tensor) -> None:
        self.cache.keep(sentences)
        rows = (sentences[:, None] * BEAM_SIZE + torch.arange(BEAM_SIZE)).flatten()
        self.history, self.sentences = self.history[rows], self.sentences[rows]


def _assert_near(actual: Tensor, expected: Tensor) -> None:
    """Equal but for the order in which float32 numbers were summed."""
    assert_close(actual, expected, rtol=1e-4, atol=1e-4)
