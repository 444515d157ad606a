"""Tokens in the rows of a packed batch."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import torch

from seqtrain.config.root import TrainBatchingConfig
from seqtrain.data.batch import Batch, PackedTokens
from seqtrain.data.dataset import IterationOptions
from seqtrain.data.loader import BatchIterator
from seqtrain.data.packing import PackedShape, SideShape
from seqtrain.data.pairs import PairDataset
from seqtrain.data.vocabulary import Vocabulary

PAD, EOS = Vocabulary.pad, Vocabulary.eos
SOURCES = [[11, EOS], [12, 13, EOS], [14, EOS]]
TARGETS = [[21, 22, EOS], [EOS], [23, EOS]]
SHAPE = PackedShape(
    source=SideShape(num_rows=12, num_columns=3, row_length=5),
    target=SideShape(num_rows=10, num_columns=3, row_length=4),
    num_sequences=4,
    num_attention_rows=3,
)


def hand_drawn() -> tuple[Batch, PackedTokens, PackedTokens]:
    batch = PairDataset.from_lists(SOURCES, TARGETS).collate_packed(np.arange(3), SHAPE)
    assert batch.packed_sources is not None
    assert batch.packed_targets is not None
    return batch, batch.packed_sources, batch.packed_targets


def test_sentences_stand_one_after_the_other() -> None:
    batch, _, _ = hand_drawn()
    assert batch.source_tokens is not None
    assert batch.source_tokens.tolist() == [[11, EOS, 12, 13, EOS, 14, EOS, *[PAD] * 5]]
    assert batch.targets.tolist() == [[21, 22, EOS, EOS, 23, EOS, *[PAD] * 4]]
    assert batch.previous_tokens.tolist() == [[EOS, 21, 22, EOS, EOS, 23, *[PAD] * 4]]
    assert batch.target_positions.tolist() == [0, 1, 2, 3, 4, 5]
    assert (batch.num_tokens, batch.num_source_tokens, len(batch), batch.is_packed) == (6, 7, 3, True)


def test_an_empty_sentence_takes_no_row() -> None:
    batch = PairDataset.from_lists([[11, EOS], [12, EOS]], [[21, EOS], []]).collate_packed(np.arange(2), SHAPE)
    assert batch.previous_tokens.tolist() == [[EOS, 21, *[PAD] * 8]]
    assert batch.packed_targets is not None
    assert batch.packed_targets.bounds.tolist()[:3] == [0, 2, 2]
    assert batch.packed_targets.sequences.tolist() == [[0, 0, -1, -1], [-1] * 4, [-1] * 4]


def test_each_token_knows_its_column() -> None:
    _, source, target = hand_drawn()
    assert source.columns.tolist() == [0, 1, 0, 1, 2, 0, 1, *[0] * 5]
    assert target.columns.tolist() == [0, 1, 2, 0, 0, 1, *[0] * 4]


def test_segments_are_the_sentences_and_pieces_of_the_rest() -> None:
    _, source, target = hand_drawn()
    # 4 sentences and the 4 pieces of 3 rows that 12 rows would make: room for 8 segments
    assert source.bounds.tolist() == [0, 2, 5, 7, 9, 12, 12, 12, 12]
    assert target.bounds.tolist() == [0, 3, 4, 6, 8, 10, 10, 10, 10]
    assert source.bounds.dtype == torch.int32


def test_attention_rows_have_whole_sentences_of_both_sides() -> None:
    _, source, target = hand_drawn()
    assert source.sequences.tolist() == [[0, 0, 1, 1, 1], [2, 2, -1, -1, -1], [-1] * 5]
    assert target.sequences.tolist() == [[0, 0, 0, 1], [2, 2, -1, -1], [-1] * 4]
    assert source.rows.tolist() == [[0, 1, 2, 3, 4], [5, 6, 11, 11, 11], [11] * 5]
    assert source.places.tolist() == [0, 1, 2, 3, 4, 5, 6, *[7] * 5]
    assert target.rows.tolist() == [[0, 1, 2, 3], [4, 5, 9, 9], [9] * 4]
    assert target.places.tolist() == [0, 1, 2, 3, 4, 5, *[6] * 4]


def plan_of_random_pairs() -> BatchIterator:
    generator = np.random.default_rng(1)
    sources = [[7] * int(length) for length in generator.integers(1, 40, 900)]
    targets = [[8] * max(1, len(source) + int(generator.integers(-3, 4))) for source in sources]
    options = IterationOptions(
        batching=TrainBatchingConfig(max_tokens=1500, num_prefetch=0), max_positions=(99, 99), packed=True
    )
    return BatchIterator(PairDataset.from_lists(sources, targets), options)


def test_all_batches_have_one_shape() -> None:
    def shapes(batch: Batch) -> dict[str, tuple[int, ...]]:
        sides = {"source": batch.packed_sources, "target": batch.packed_targets}
        found = {
            f"{name}.{field.name}": tuple(getattr(side, field.name).shape)
            for name, side in sides.items()
            for field in fields(PackedTokens)
            if field.name != "num_columns"
        }
        assert batch.source_tokens is not None
        whole = (batch.source_tokens, batch.previous_tokens, batch.targets)
        return {**found, **{str(number): tuple(tokens.shape) for number, tokens in enumerate(whole)}}

    first, *others = [shapes(update[0]) for update in plan_of_random_pairs()]
    assert len(others) >= 10
    assert all(other == first for other in others)


def test_no_segment_is_longer_than_the_longest_sentence() -> None:
    for update in plan_of_random_pairs():
        for side in (update[0].packed_sources, update[0].packed_targets):
            assert side is not None
            sizes = side.bounds.diff()
            assert side.bounds[[0, -1]].tolist() == [0, len(side.columns)]
            assert sizes.min() >= 0
            assert sizes.max() <= side.num_columns


def test_rows_and_places_of_tokens_are_inverse() -> None:
    for update in plan_of_random_pairs():
        batch = update[0]
        side = batch.packed_targets
        assert side is not None
        rows = side.rows.flatten()
        tokens = torch.arange(batch.num_tokens)
        assert torch.equal(rows[side.places[: batch.num_tokens]], tokens)
        assert (rows[side.places[batch.num_tokens :]] == len(side.columns) - 1).all()
        assert int((rows < batch.num_tokens).sum()) == batch.num_tokens


def test_a_packed_batch_moves_as_a_whole() -> None:
    moved = hand_drawn()[0].to(torch.device("meta"))
    assert moved.packed_targets is not None
    assert moved.packed_targets.bounds.device.type == "meta"
    assert moved.packed_targets.num_columns == 3
