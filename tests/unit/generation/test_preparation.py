"""Which models are laid out for generation, and when again."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor

from seqtrain.config.root import BatchingConfig, GenerationConfig, Quantization
from seqtrain.errors import ConfigError
from seqtrain.generation import preparation
from seqtrain.generation.generator import Hypothesis, SequenceGenerator
from seqtrain.generation.preparation import Preparation
from seqtrain.generation.text import TextGenerator, TextHypothesis
from seqtrain.models.base import DecoderCache
from seqtrain.models.transformer.model import Transformer
from seqtrain.models.transformer.schema import TransformerConfig
from seqtrain.nn.native.build import find_compiler
from seqtrain.nn.packed_linear import multiplies_int8
from seqtrain.testing.fakes import collate
from tests.unit.generation.fakes import LetterTask, RandomModel
from tests.unit.generation.reference import EOS

TASK = LetterTask(num_letters=26)
SIZES = {"layers": 2, "embed_dim": 16, "ffn_embed_dim": 32, "attention_heads": 4}
FIELDS: dict[str, Any] = {f"{side}_{name}": size for side in ("encoder", "decoder") for name, size in SIZES.items()}
BATCH = collate([([4 + n % 9, 5 + n % 7, *[6] * (n % 4), EOS], [EOS]) for n in range(30)])


class Variation(Transformer):
    """A user's model that decodes in its own way: it never writes the letter a."""

    def decode_step(self, tokens: Tensor, cache: DecoderCache) -> Tensor:
        logits = super().decode_step(tokens, cache)
        logits[:, TASK.target_vocabulary.index("a")] = -100
        return logits


def make(kind: type[Transformer] = Transformer) -> Transformer:
    torch.manual_seed(1)
    model = kind(TransformerConfig(share_all_embeddings=True, **FIELDS), TASK)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)  # more decided than a fresh model
    return model.eval()


def write(model: Any, **options: Any) -> list[list[Hypothesis]]:
    config = GenerationConfig(**{"beam_size": 4, "nbest": 4, "max_len_b": 12, **options})
    return SequenceGenerator([model], TASK.target_vocabulary, config).generate(BATCH)


def assert_same(found: list[list[Hypothesis]], expected: list[list[Hypothesis]]) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        assert [one.tokens.tolist() for one in ours] == [one.tokens.tolist() for one in theirs]
        assert [one.score for one in ours] == pytest.approx([one.score for one in theirs], abs=1e-5)


def test_a_prepared_model_writes_what_the_model_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make()
    found = write(model)
    monkeypatch.setattr(Preparation, "decoder", lambda _self: None)
    assert_same(found, write(model))


def test_a_subclass_decodes_in_its_own_way() -> None:
    model = make(Variation)
    assert Preparation(model).decoder() is None
    letter = TASK.target_vocabulary.index("a")
    assert not any(letter in hypothesis.tokens for hypotheses in write(model) for hypothesis in hypotheses)


def test_a_model_without_a_cache_is_not_prepared() -> None:
    model = RandomModel(TASK, seed=1)
    assert Preparation(model).decoder() is None
    assert not SequenceGenerator([model], TASK.target_vocabulary, GenerationConfig()).is_thread_safe


def test_the_decoder_is_made_once_and_again_when_the_weights_have_changed() -> None:
    model = make()
    prepared = Preparation(model)
    first = prepared.decoder()
    assert first is not None
    assert prepared.decoder() is first
    with torch.no_grad():
        model.target_embedding.weight.add_(1)
    assert prepared.decoder() is not first


def test_the_decoder_is_in_the_number_format_of_the_context() -> None:
    prepared = Preparation(make())
    whole = prepared.decoder()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert prepared.decoder() is not whole


@pytest.mark.skipif(not multiplies_int8(), reason="this CPU has no instructions for 8-bit integers")
def test_integers_change_scores_slightly() -> None:
    torch.manual_seed(1)
    task = LetterTask(num_letters=26)
    sizes = {**FIELDS, "decoder_embed_dim": 64, "encoder_embed_dim": 64, "decoder_ffn_embed_dim": 4096}
    model = Transformer(TransformerConfig(share_all_embeddings=True, **sizes), task).eval()  # 64 x 4096 = 2**18
    options = {"beam_size": 1, "nbest": 1, "min_len": 5, "max_len_b": 5}
    whole, integers = write(model, **options), write(model, quantization=Quantization.int8, **options)
    differences = [abs(ours[0].score - theirs[0].score) for ours, theirs in zip(integers, whole, strict=True)]
    assert 0 < max(differences) < 0.05


@pytest.mark.parametrize("num_threads", [2, 3])
def test_batches_side_by_side_are_written_as_one_after_the_other(num_threads: int) -> None:
    lines = [word[: 1 + number % 6] for number, word in enumerate(["abcdef", "fedcba", "bacbac", "dddddd"] * 5)]

    def texts() -> list[list[TextHypothesis]]:
        generator = TextGenerator(
            TASK,
            [make()],
            generation=GenerationConfig(beam_size=3, max_len_b=9),
            batching=BatchingConfig(max_tokens=16, required_batch_size_multiple=1),
            device=torch.device("cpu"),
            autocast=nullcontext,
        )
        assert generator.generator.is_thread_safe
        return generator.generate_lines(lines)

    before = torch.get_num_threads()
    expected = texts()
    torch.set_num_threads(num_threads)
    try:
        found = texts()
    finally:
        torch.set_num_threads(before)
    assert [one.text for (one,) in found] == [one.text for (one,) in expected]
    assert [one.score for (one,) in found] == pytest.approx([one.score for (one,) in expected], abs=1e-5)


def test_a_batch_that_is_alone_gets_all_threads_and_others_get_one_each() -> None:
    counts: list[int] = []

    def count_threads() -> AbstractContextManager[None]:
        counts.append(torch.get_num_threads())
        return nullcontext()

    generator = TextGenerator(
        TASK,
        [make()],
        generation=GenerationConfig(beam_size=3, max_len_b=9),
        batching=BatchingConfig(max_tokens=16, required_batch_size_multiple=1),
        device=torch.device("cpu"),
        autocast=count_threads,
    )
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        generator.generate_lines(["abc"])
        assert counts == [2]
        generator.generate_lines(["abc"] * 20)
    finally:
        torch.set_num_threads(before)
    assert len(counts) > 2
    assert set(counts[1:]) == {1}


def test_a_model_that_cannot_be_prepared_has_no_integers() -> None:
    with pytest.raises(ConfigError, match="a RandomModel has no decoder_parts"):
        write(RandomModel(TASK, seed=1), quantization=Quantization.int8)


def test_a_cpu_without_such_instructions_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation, "multiplies_int8", lambda: False)
    with pytest.raises(ConfigError, match="VNNI"):
        write(make(), quantization=Quantization.int8)


@pytest.mark.skipif(find_compiler() is None, reason="there is no C++ compiler")
@pytest.mark.parametrize("options", [{}, {"no_repeat_ngram_size": 2}, {"sampling": True, "top_k": 5}])
def test_compiled_kernels_write_the_same(options: dict[str, Any]) -> None:
    assert_same(write(make(), compile=True, **options), write(make(), **options))


def test_a_model_that_cannot_be_prepared_has_no_kernels() -> None:
    with pytest.raises(ConfigError, match="compile=true, but a RandomModel has no decoder_parts"):
        write(RandomModel(TASK, seed=1), compile=True)
