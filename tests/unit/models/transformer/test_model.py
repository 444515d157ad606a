from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional
from torch.testing import assert_close

from seqtrain.data.vocabulary import Vocabulary
from seqtrain.errors import ConfigError, DataError
from seqtrain.models.transformer import TransformerConfig
from seqtrain.models.transformer.model import Transformer
from seqtrain.testing import TinyTask, collate

SIZES: dict[str, Any] = {
    f"{side}_{name}": size
    for side in ("encoder", "decoder")
    for name, size in {"layers": 1, "embed_dim": 8, "ffn_embed_dim": 12, "attention_heads": 2}.items()
}
TABLES = ["target_embedding.weight", "source_embedding.weight", "output_projection.weight"]
ATTENTION = ["query_key_value", "output"]
STATE_NAMES = [
    *TABLES,
    *(f"encoder.layers.0.self_attention.{layer}.{kind}" for layer in ATTENTION for kind in ("weight", "bias")),
    *(f"encoder.layers.0.self_attention_norm.{kind}" for kind in ("weight", "bias")),
    *(f"encoder.layers.0.feed_forward.{layer}.{kind}" for layer in ("inner", "outer") for kind in ("weight", "bias")),
    *(f"encoder.layers.0.feed_forward_norm.{kind}" for kind in ("weight", "bias")),
    *(f"decoder.layers.0.self_attention.{layer}.{kind}" for layer in ATTENTION for kind in ("weight", "bias")),
    *(f"decoder.layers.0.self_attention_norm.{kind}" for kind in ("weight", "bias")),
    *(
        f"decoder.layers.0.cross_attention.{layer}.{kind}"
        for layer in ("query", "key_value", "output")
        for kind in ("weight", "bias")
    ),
    *(f"decoder.layers.0.cross_attention_norm.{kind}" for kind in ("weight", "bias")),
    *(f"decoder.layers.0.feed_forward.{layer}.{kind}" for layer in ("inner", "outer") for kind in ("weight", "bias")),
    *(f"decoder.layers.0.feed_forward_norm.{kind}" for kind in ("weight", "bias")),
]


def build(task: TinyTask | None = None, **settings: Any) -> Transformer:
    torch.manual_seed(1)
    return Transformer(TransformerConfig(**{**SIZES, **settings}), task or TinyTask())


def test_the_names_of_the_state_are_stable() -> None:
    """A checkpoint of today must load tomorrow."""
    assert sorted(build().state_dict()) == sorted(STATE_NAMES)


def test_options_add_their_names() -> None:
    model = build(
        encoder_normalize_before=True,
        decoder_normalize_before=True,
        encoder_learned_pos=True,
        decoder_learned_pos=True,
        layernorm_embedding=True,
        decoder_input_dim=6,
        decoder_output_dim=4,
    )
    added = set(model.state_dict()) - set(STATE_NAMES)
    assert added == {
        *(f"{side}_input.positions.weight" for side in ("encoder", "decoder")),
        *(f"{side}_input.norm.{kind}" for side in ("encoder", "decoder") for kind in ("weight", "bias")),
        *(f"{side}.norm.{kind}" for side in ("encoder", "decoder") for kind in ("weight", "bias")),
        "decoder_input.projection.weight",
        "feature_projection.weight",
    }


@pytest.mark.parametrize(
    ("settings", "tables"),
    [
        ({}, TABLES),
        ({"share_decoder_input_output_embed": True}, TABLES[:2]),
        ({"share_all_embeddings": True}, TABLES[:1]),
    ],
)
def test_a_shared_table_is_one_parameter_with_one_name(settings: dict[str, Any], tables: list[str]) -> None:
    model = build(**settings)
    assert [name for name in model.state_dict() if name in TABLES] == tables
    assert [name for name, _ in model.named_parameters(remove_duplicate=False) if name in TABLES] == tables
    if "output_projection.weight" not in tables:
        assert model.output_weight is model.target_embedding.weight


def test_one_table_for_two_vocabularies_is_refused() -> None:
    task = TinyTask()
    task.source_vocabulary = Vocabulary("xyz")
    with pytest.raises(ConfigError, match="the vocabularies of source and target differ") as caught:
        build(task, share_all_embeddings=True)
    assert caught.value.remedy is not None
    assert "task.joined_vocabulary=true" in caught.value.remedy


def test_output_layer_is_drawn_with_the_deviation_of_embeddings() -> None:
    task = TinyTask()
    task.target_vocabulary = Vocabulary([str(number) for number in range(5000)])
    model = build(task)
    assert model.output_projection is not None
    assert model.output_projection.weight.std().item() == pytest.approx(8**-0.5, rel=0.02)


def test_embeddings_are_scaled_by_the_root_of_the_width_unless_told_otherwise() -> None:
    assert build().decoder_input.scale == pytest.approx(8**0.5)
    assert build(no_scale_embedding=True).decoder_input.scale == 1.0


def test_without_positions_the_encoder_sees_a_bag_of_words() -> None:
    model = build(no_token_positional_embeddings=True).eval()
    tokens = torch.tensor([[4, 5, 6, 2]])
    lengths = torch.tensor([4])
    with torch.no_grad():
        forwards = model.encode(tokens, lengths).features
        backwards = model.encode(tokens.flip(1), lengths).features
    assert_close(forwards, backwards.flip(0))


def test_memory_of_another_width() -> None:
    model = build(encoder_embed_dim=6)
    batch = collate([([4, 5, 2], [5, 2]), ([6, 2], [4, 4, 2])])
    assert model.forward_batch(batch).shape == (2, 3, 12)


def test_a_training_batch_has_the_logits_of_an_evaluated_one() -> None:
    """Training runs other kernels, on the rows of tokens alone: without dropout nothing else may differ."""
    model = build(dropout=0.0)
    batch = collate([([4, 5, 2], [5, 2]), ([6, 2], [4, 4, 2])])
    trained = model.train().forward_batch(batch)
    with torch.no_grad():
        evaluated = model.eval().forward_batch(batch)
    is_real = batch.targets != Vocabulary.pad
    assert_close(trained[is_real], evaluated[is_real])


def test_gradients_do_not_depend_on_padding() -> None:
    model = build(dropout=0.0)
    pairs = [([4, 5, 2], [5, 2]), ([6, 2], [4, 4, 2])]
    totals = []
    for batches in ([collate(pairs)], [collate(pairs[:1]), collate(pairs[1:])]):
        for batch in batches:
            logits = model.forward_batch(batch).flatten(0, 1)[batch.target_positions]
            targets = batch.targets.flatten()[batch.target_positions]
            functional.cross_entropy(logits, targets, reduction="sum").backward()
        totals.append([parameter.grad for parameter in model.parameters()])
        model.zero_grad(set_to_none=True)
    assert_close(*totals)


def test_sinusoidal_positions_take_any_length() -> None:
    model = build(max_source_positions=4, max_target_positions=4)
    batch = collate([([*[4] * 20, 2], [*[5] * 30, 2])])
    assert model.max_positions == (4, 4)
    assert torch.isfinite(model.forward_batch(batch)).all()


def test_learned_positions_take_no_more_than_they_have() -> None:
    model = build(encoder_learned_pos=True, max_source_positions=4)
    model.forward_batch(collate([([4, 4, 4, 2], [5, 2])]))
    with pytest.raises(DataError, match="a sequence of 5 tokens is longer than the 4 positions"):
        model.forward_batch(collate([([4, 4, 4, 4, 2], [5, 2])]))
