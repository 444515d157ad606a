"""Generators, with models that have caches and models that have none."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from seqtrain.config.root import GenerationConfig
from seqtrain.data.batch import Batch
from seqtrain.data.pairs import PairDataset
from seqtrain.errors import ConfigError
from seqtrain.generation.decoder import Decoder, WindowDecoder
from seqtrain.generation.generator import ContinuationGenerator, Generator, Hypothesis, Scorer, SequenceGenerator
from seqtrain.models.base import DecoderModel, EncoderDecoderModel, Model
from seqtrain.models.schema import ModelConfig
from seqtrain.models.transformer.model import Transformer
from seqtrain.models.transformer.schema import TransformerConfig
from seqtrain.models.transformer_lm.model import TransformerLM
from seqtrain.models.transformer_lm.schema import TransformerLMConfig
from seqtrain.nn.native.build import find_compiler
from tests.unit.generation.fakes import LatticeLM, LetterTask, RandomLM, RandomModel
from tests.unit.generation.reference import EOS, Settings, beam_search

needs_compiler = pytest.mark.skipif(find_compiler() is None, reason="there is no C++ compiler")

TASK = LetterTask(num_letters=20)
LM_TASK = LetterTask(num_letters=20, has_sources=False)
OPTIONS: dict[str, dict[str, Any]] = {
    "greedy": {"beam_size": 1},
    "beam": {"beam_size": 5, "nbest": 5},
    "blocked": {"beam_size": 4, "nbest": 4, "no_repeat_ngram_size": 2, "min_len": 4},
    "sampling": {"beam_size": 3, "nbest": 3, "sampling": True, "top_k": 8},
}
SIZES: dict[str, Any] = {
    f"{side}_{name}": size
    for side in ("encoder", "decoder")
    for name, size in {"layers": 2, "embed_dim": 16, "ffn_embed_dim": 32, "attention_heads": 2}.items()
}
DECODER_SIZES = {name: size for name, size in SIZES.items() if name.startswith("decoder")}


class ForwardOnly(EncoderDecoderModel):
    """A Transformer as a user might plug it in: nothing but `forward`."""

    def __init__(self, model: Transformer) -> None:
        super().__init__(ModelConfig(), TASK)
        self.model = model

    def forward(self, source_tokens: Tensor, source_lengths: Tensor, previous_tokens: Tensor) -> Tensor:
        logits: Tensor = self.model(source_tokens, source_lengths, previous_tokens)
        return logits


class ForwardOnlyLM(DecoderModel):
    """The same, a language model."""

    def __init__(self, model: TransformerLM) -> None:
        super().__init__(ModelConfig(), LM_TASK)
        self.model = model

    @property
    def max_positions(self) -> tuple[int, int]:
        return self.model.max_positions

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.model(tokens)
        return logits


@cache
def transformer() -> Transformer:
    """Random weights, with probabilities that are far from flat."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = Transformer(TransformerConfig(share_all_embeddings=True, **SIZES), TASK)
        torch.nn.init.normal_(model.target_embedding.weight, std=0.7)
    return model


@cache
def language_model(max_positions: int = 1024) -> TransformerLM:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        config = TransformerLMConfig(
            max_target_positions=max_positions,
            decoder_learned_pos=True,
            share_decoder_input_output_embed=True,
            **DECODER_SIZES,
        )
        model = TransformerLM(config, LM_TASK)
        torch.nn.init.normal_(model.target_embedding.weight, std=0.7)
    return model


def dataset(num_examples: int, *, has_sources: bool = True) -> PairDataset:
    """Random words of 0 to 11 letters."""
    generator = torch.Generator().manual_seed(3)

    def words() -> list[list[int]]:
        lengths = torch.randint(0, 12, (num_examples,), generator=generator).tolist()
        return [[*torch.randint(4, 24, (length,), generator=generator).tolist(), EOS] for length in lengths]

    return PairDataset.from_lists(words() if has_sources else None, words())


def generate(generator: Generator, examples: PairDataset, batch_size: int) -> list[list[Hypothesis]]:
    starts = range(0, len(examples), batch_size)
    batches = [np.arange(start, min(start + batch_size, len(examples))) for start in starts]
    return [hypotheses for indices in batches for hypotheses in generator.generate(examples.collate(indices))]


def assert_same(found: list[list[Hypothesis]], expected: list[list[Hypothesis]]) -> None:
    """The same tokens, scores within 1e-4."""
    for ours, theirs in zip(found, expected, strict=True):
        assert [one.tokens.tolist() for one in ours] == [one.tokens.tolist() for one in theirs]
        for one, other in zip(ours, theirs, strict=True):
            assert one.score == pytest.approx(other.score, abs=1e-4)
            torch.testing.assert_close(one.positional_scores, other.positional_scores, atol=1e-4, rtol=0)


def sequence_generator(models: list[Model], **options: Any) -> SequenceGenerator:
    config = GenerationConfig(**{"max_len_a": 1.2, "max_len_b": 6, **options})
    return SequenceGenerator(models, TASK.target_vocabulary, config)


def continuation_generator(model: Model, **options: Any) -> ContinuationGenerator:
    config = GenerationConfig(**{"max_len_a": 0.5, "max_len_b": 6, **options})
    return ContinuationGenerator([model], LM_TASK.target_vocabulary, config)


@pytest.mark.parametrize("options", [*OPTIONS.values(), {"beam_size": 3, "prefix_size": 2}], ids=[*OPTIONS, "prefix"])
def test_a_translation_does_not_depend_on_what_else_is_in_the_batch(options: dict[str, Any]) -> None:
    generator, examples = sequence_generator([transformer()], **options), dataset(40)
    expected = generate(generator, examples, batch_size=1)
    for batch_size in (3, 17, 40):
        assert_same(generate(generator, examples, batch_size), expected)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_a_continuation_does_not_depend_on_what_else_is_in_the_batch(options: dict[str, Any]) -> None:
    generator, examples = continuation_generator(language_model(), **options), dataset(24, has_sources=False)
    expected = generate(generator, examples, batch_size=1)
    for batch_size in (5, 24):
        assert_same(generate(generator, examples, batch_size), expected)


@pytest.mark.parametrize("has_kernels", [False, pytest.param(True, marks=needs_compiler)])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_beginnings_that_are_read_at_once_go_on_as_if_they_were_read_token_by_token(
    options: dict[str, Any], has_kernels: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = continuation_generator(language_model(8), compile=has_kernels, **options)
    batches = [beginnings([9, 8, 7, 6, 5, 4], [4] * 4), beginnings(list(range(4, 21))), beginnings([5], [6, 7])]
    read = WindowDecoder.read
    num_read = []

    def counted(self: WindowDecoder, tokens: Tensor, beam_size: int) -> None:
        num_read.append(tokens.shape[1])
        read(self, tokens, beam_size)

    with monkeypatch.context() as patch:
        patch.setattr(WindowDecoder, "read", counted)
        found = [generator.generate(batch) for batch in batches]
    assert num_read == [4, 17, 1]
    monkeypatch.setattr(WindowDecoder, "read", Decoder.read)
    for one, batch in zip(found, batches, strict=True):
        assert_same(one, generator.generate(batch))


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_a_model_without_a_cache_writes_what_the_same_model_with_one_writes(options: dict[str, Any]) -> None:
    examples = dataset(12)
    with_cache = sequence_generator([transformer()], **options)
    without = sequence_generator([ForwardOnly(transformer())], **options)
    assert_same(generate(without, examples, 12), generate(with_cache, examples, 12))


def test_a_language_model_without_a_cache_writes_what_the_same_model_with_one_writes() -> None:
    examples = dataset(8, has_sources=False)
    with_cache = continuation_generator(language_model(), **OPTIONS["beam"])
    without = continuation_generator(ForwardOnlyLM(language_model()), **OPTIONS["beam"])
    assert_same(generate(without, examples, 8), generate(with_cache, examples, 8))


def test_a_text_goes_on_when_the_models_positions_are_used_up() -> None:
    examples = dataset(8, has_sources=False)
    options = {"beam_size": 2, "nbest": 2, "max_len_b": 40, "min_len": 40}
    generator = continuation_generator(language_model(8), **options)
    found = generate(generator, examples, 8)
    assert min(len(one.tokens) for hypotheses in found for one in hypotheses) > 40
    assert_same(generate(generator, examples, 1), found)
    assert_same(generate(continuation_generator(ForwardOnlyLM(language_model(8)), **options), examples, 8), found)


def beginnings(*rows: list[int]) -> Batch:
    """What a language model is given: the start symbol and the beginning; the last target is a place for the next."""
    return PairDataset.from_lists(None, [[*row, EOS] for row in rows]).collate(np.arange(len(rows)))


def test_a_continuation_is_what_a_plain_search_finds_after_the_beginning() -> None:
    task = LetterTask(num_letters=5, has_sources=False)
    model = RandomLM(task, seed=8).eval()
    config = GenerationConfig(beam_size=4, nbest=4, max_len_a=0.5, max_len_b=3, length_penalty=0.8)
    found = ContinuationGenerator([model], task.target_vocabulary, config).generate(beginnings([], [4, 5, 6], [7]))
    for given, hypotheses in zip(([], [4, 5, 6], [7]), found, strict=True):

        def next_log_probs(text: tuple[int, ...], given: list[int] = given) -> list[float]:
            with torch.no_grad():
                logits = model(torch.tensor([[EOS, *given, *text]]))
            log_probs: list[float] = logits[0, -1].log_softmax(dim=0).tolist()
            return log_probs

        settings = Settings(beam_size=4, max_len=int(0.5 * len(given) + 3), length_penalty=0.8)
        expected = beam_search(next_log_probs, settings)
        assert [tuple(one.tokens.tolist()) for one in hypotheses] == [text for text, _ in expected]
        assert [one.score for one in hypotheses] == pytest.approx([score for _, score in expected], abs=1e-5)


def test_an_end_symbol_inside_a_beginning_ends_nothing() -> None:
    model = LatticeLM({"</s>": {"a": 1.0}, "a": {"b": 1.0}, "b": {"</s>": 1.0}}, LM_TASK)
    ((hypothesis,),) = continuation_generator(model, beam_size=1).generate(beginnings([6, EOS, 4]))
    assert LM_TASK.decode(hypothesis.tokens.numpy()) == "b"


def test_a_repeated_ngram_of_the_beginning_is_blocked() -> None:
    model = LatticeLM({"a": {"b": 0.9, "c": 0.1}, "b": {"a": 1.0}, "c": {"</s>": 1.0}}, LM_TASK)
    ((hypothesis,),) = continuation_generator(model, beam_size=1, no_repeat_ngram_size=2).generate(
        beginnings([4, 5, 4])
    )
    assert LM_TASK.decode(hypothesis.tokens.numpy()) == "c"


def test_a_language_model_takes_no_prefix_of_references() -> None:
    with pytest.raises(ConfigError, match=r"generation\.prefix_size"):
        continuation_generator(language_model(), prefix_size=2)


def test_the_scorer_gives_the_mean_log_probability_of_each_target() -> None:
    examples = dataset(10)
    found = generate(Scorer([transformer()], TASK.target_vocabulary), examples, 4)
    model = transformer().eval()
    for number, (hypothesis,) in enumerate(found):
        batch = examples.collate(np.array([number]))
        with torch.no_grad():
            log_probs = model.forward_batch(batch).log_softmax(dim=-1)
        expected = log_probs[0].gather(1, batch.targets[0][:, None])[:, 0]
        assert torch.equal(hypothesis.tokens, batch.targets[0])
        torch.testing.assert_close(hypothesis.positional_scores, expected, atol=1e-5, rtol=0)
        assert hypothesis.score == pytest.approx(float(expected.mean()), abs=1e-5)


def test_what_is_written_has_the_score_that_the_scorer_gives_it() -> None:
    examples = dataset(10)
    written = generate(sequence_generator([transformer()], beam_size=3), examples, 10)
    tables = [examples.source[number].tolist() for number in range(10)]  # type: ignore[index]
    again = PairDataset.from_lists(tables, [hypotheses[0].tokens.tolist() for hypotheses in written])
    assert_same(generate(Scorer([transformer()], TASK.target_vocabulary), again, 10), written)


def test_the_logits_of_a_batch_are_bounded() -> None:
    # 24 symbols, 5 rows a sentence: 2**26 logits
    assert sequence_generator([transformer()], beam_size=5).max_sentences == 2**26 // (5 * 24)


def test_writing_leaves_modes_and_random_state_as_they_were() -> None:
    model = RandomModel(TASK, seed=1).train()
    model.dropout.eval()
    before = torch.get_rng_state()
    sequence_generator([model]).generate(dataset(3).collate(np.arange(3)))
    assert model.training
    assert not model.dropout.training
    assert torch.equal(torch.get_rng_state(), before)


def test_dropout_is_off_while_a_model_writes() -> None:
    model = RandomModel(TASK, seed=1)
    examples = dataset(5)
    expected = generate(sequence_generator([model.eval()]), examples, 5)
    assert_same(generate(sequence_generator([model.train()]), examples, 5), expected)


class RememberingModel(RandomModel):
    """Keeps a table that it makes when it first runs, as many do with positions."""

    table: Tensor | None = None

    def forward(self, source_tokens: Tensor, source_lengths: Tensor, previous_tokens: Tensor) -> Tensor:
        if self.table is None:
            self.table = self.places.detach() * 2
        logits: Tensor = super().forward(source_tokens, source_lengths, previous_tokens)
        return logits * (self.output.sum() * self.table[0, 0])


def test_a_model_that_keeps_what_it_computes_can_be_trained_after_it_has_written() -> None:
    model = RememberingModel(TASK, seed=1)
    batch = dataset(4).collate(np.arange(4))
    sequence_generator([model]).generate(batch)
    model.forward_batch(batch).sum().backward()
    assert model.output.grad is not None


def test_modes_are_restored_when_a_model_fails() -> None:
    model = RandomModel(TASK, seed=1).train()
    with pytest.raises(AssertionError, match="needs sources"):
        sequence_generator([model]).generate(replace(dataset(2).collate(np.arange(2)), source_tokens=None))
    assert model.training


def test_scores_are_float32_in_half_precision() -> None:
    generator = sequence_generator([transformer()], beam_size=2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        hypothesis = generator.generate(dataset(2).collate(np.arange(2)))[0][0]
        scored = Scorer([transformer()], TASK.target_vocabulary).generate(dataset(2).collate(np.arange(2)))[0][0]
    assert hypothesis.positional_scores.dtype is torch.float32
    assert scored.positional_scores.dtype is torch.float32
