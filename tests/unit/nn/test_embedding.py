from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from seqtrain.nn.embedding import EmbeddingOptions, InputEmbedding
from seqtrain.nn.layout import Layout
from seqtrain.nn.positions import sinusoidal_table

PADDING, DIM = 1, 4
TABLE = torch.arange(40, dtype=torch.float32).view(10, DIM) / 10
TOKENS = torch.tensor([[4, 5, 2], [6, 2, PADDING]])


def embed(layout: Layout | None = None, start: int = 0, **options: Any) -> Tensor:
    torch.manual_seed(1)
    defaults = {"table_dim": DIM, "embed_dim": DIM, "max_positions": 10, "padding_index": PADDING}
    module = InputEmbedding(EmbeddingOptions(**{**defaults, **options})).eval()
    rows: Tensor = module(TOKENS, TABLE, layout or Layout.dense(TOKENS), start)
    return rows


def test_scaled_embeddings_plus_positions() -> None:
    positions = sinusoidal_table(5, DIM, PADDING)[2:]
    expected = 2.0 * TABLE[TOKENS] + positions  # the root of the width is 2
    assert_close(embed(), expected.view(6, DIM))


def test_without_scale_and_positions_they_are_the_table() -> None:
    assert_close(embed(scale=False, positions=False), TABLE[TOKENS].view(6, DIM))


def test_a_piece_starts_at_its_column() -> None:
    positions = sinusoidal_table(9, DIM, PADDING)[6:]
    assert_close(embed(start=4, scale=False), (TABLE[TOKENS] + positions).view(6, DIM))


def test_a_packed_layout_embeds_the_tokens_alone() -> None:
    rows = embed(Layout.packed(TOKENS != PADDING))
    assert_close(rows[:5], embed()[:5])
    assert len(rows) == 8


def test_layer_norm_comes_last() -> None:
    rows = embed(norm=True)
    assert_close(rows, torch.nn.functional.layer_norm(embed(), (DIM,)))


def test_a_table_of_another_width_is_projected() -> None:
    rows = embed(embed_dim=6, positions=False)
    assert rows.shape == (6, 6)


def test_dropout_acts_on_the_sum() -> None:
    module = InputEmbedding(
        EmbeddingOptions(table_dim=DIM, embed_dim=DIM, max_positions=10, padding_index=PADDING, dropout=0.5)
    )
    rows = module(TOKENS.repeat(100, 1), TABLE, Layout.dense(TOKENS.repeat(100, 1)))
    assert (rows == 0).float().mean().item() == pytest.approx(0.5, abs=0.1)


def test_learned_positions_get_a_gradient_from_every_sequence() -> None:
    module = InputEmbedding(
        EmbeddingOptions(table_dim=DIM, embed_dim=DIM, max_positions=10, padding_index=PADDING, learned_positions=True)
    )
    module(TOKENS, TABLE, Layout.packed(TOKENS != PADDING))[:5].sum().backward()
    assert module.positions is not None
    (weight,) = module.positions.parameters()
    assert weight.grad is not None
    assert weight.grad[:, 0].tolist() == [0, 0, 2, 2, 1, 0, 0, 0, 0, 0, 0, 0]
