"""The peak of machines, and the share of it that a model uses.

The operations for a target token are published figures: 0.381 GFLOP for the base Transformer (Vaswani et al., 2017)
with 37,000 entries and sentences of 30 tokens, 1.291 for the big one, 0.855 for GPT-2 with 124 M parameters and 1,024
tokens.
"""

from __future__ import annotations

import pytest
import torch

from seqtrain.data.vocabulary import SPECIAL_SYMBOLS, Vocabulary
from seqtrain.models.base import Model, TokenCounts
from seqtrain.models.transformer.model import Transformer
from seqtrain.models.transformer.schema import TransformerConfig
from seqtrain.models.transformer_lm.model import TransformerLM
from seqtrain.models.transformer_lm.schema import TransformerLMConfig
from seqtrain.testing.fakes import TinyFeatureModel, TinyModel, TinyTask
from seqtrain.training.utilization import Utilization, known_peak, measured_peak, token_counts


def task_of(num_types: int, *, has_sources: bool = True) -> TinyTask:
    task = TinyTask(has_sources=has_sources)
    task.target_vocabulary = Vocabulary(str(number) for number in range(num_types - len(SPECIAL_SYMBOLS)))
    task.source_vocabulary = task.target_vocabulary if has_sources else None
    return task


def transformer(width: int, inner: int, *, num_layers: int = 6, num_types: int = 37_000) -> Model:
    config = TransformerConfig(
        encoder_embed_dim=width,
        decoder_embed_dim=width,
        encoder_ffn_embed_dim=inner,
        decoder_ffn_embed_dim=inner,
        encoder_layers=num_layers,
        decoder_layers=num_layers,
        share_all_embeddings=True,
    )
    with torch.device("meta"):
        return Transformer(config, task_of(num_types))


@pytest.mark.parametrize(
    ("model", "counts", "expected"),
    [
        (transformer(512, 2048), TokenCounts(30, 30, 1), 0.381e9),
        (transformer(1024, 4096), TokenCounts(30, 30, 1), 1.291e9),
        (transformer(512, 2048, num_types=8_000), TokenCounts(146, 151, 10), 0.286e9),
        (transformer(256, 1024, num_layers=4, num_types=8_000), TokenCounts(300, 300, 10), 0.057e9),
    ],
    ids=["base", "big", "base on Multi30k", "tiny"],
)
def test_a_transformer_takes_the_published_operations_for_a_target_token(
    model: Model, counts: TokenCounts, expected: float
) -> None:
    assert model.training_flops(counts) / counts.num_target_tokens == pytest.approx(expected, rel=0.01)


def test_a_language_model_takes_the_published_operations_for_a_token() -> None:
    config = TransformerLMConfig(
        decoder_layers=12,
        decoder_embed_dim=768,
        decoder_ffn_embed_dim=3072,
        decoder_attention_heads=12,
        share_decoder_input_output_embed=True,
    )
    with torch.device("meta"):
        model = TransformerLM(config, task_of(50_304, has_sources=False))
    flops = model.training_flops(TokenCounts(0, 4096, 4))
    assert flops == 4096 * (6 * (12 * 12 * 768**2 + 50_304 * 768) + 12 * 12 * 768 * 1024)
    assert flops / 4096 == pytest.approx(0.855e9, rel=0.001)


def test_another_model_is_estimated_by_its_matrices_without_the_tables_that_it_looks_up() -> None:
    model = TinyModel(TinyTask(num_letters=8), width=8)  # two tables, and an output layer of 12 x 8
    assert model.training_flops(TokenCounts(50, 100, 1)) == 6 * 100 * 12 * 8
    assert model.training_flops(TokenCounts(200, 100, 1)) == 6 * 200 * 12 * 8


def test_a_table_that_is_the_output_layer_too_counts() -> None:
    model = TinyFeatureModel(TinyTask(num_letters=8), width=8)
    model.output.weight = model.target_embedding.weight
    assert model.training_flops(TokenCounts(0, 100, 1)) == 6 * 100 * 12 * 8


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("NVIDIA H200", 990e12),
        ("NVIDIA H100 80GB HBM3", 990e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H100 NVL", 835e12),
        ("NVIDIA GH200 480GB", 990e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA A10", 125e12),
        ("NVIDIA GeForce RTX 4090", 165e12),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", None),
        ("Some GPU of tomorrow", None),
    ],
)
def test_the_peak_of_a_gpu_is_found_by_the_words_of_its_name(name: str, expected: float | None) -> None:
    assert known_peak(name, torch.bfloat16) == expected


def test_the_table_says_nothing_of_float32() -> None:
    assert known_peak("NVIDIA H200", torch.float32) is None


def test_the_peak_of_a_cpu_is_measured() -> None:
    assert measured_peak(torch.float32) > 0


def test_the_share_is_that_of_all_devices() -> None:
    model = TinyModel(TinyTask(num_letters=8), width=8)
    utilization = Utilization(model, peak=6 * 12 * 8)  # a token a second
    assert utilization.of(TokenCounts(0, 100, 1), 200.0) == pytest.approx(0.5)
    assert utilization.of(TokenCounts(0, 100, 1), 200.0, num_devices=2) == pytest.approx(0.25)


def test_the_counts_of_a_row_are_those_of_its_sums() -> None:
    assert token_counts({"num_tokens": 7.0, "num_sentences": 2.0, "loss": 3.0}) == TokenCounts(0, 7, 2)
