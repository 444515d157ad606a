"""Dictionaries, index files and batching plans of any content: read right, or refused with an error of ours."""

from __future__ import annotations

import hashlib
import itertools
import json
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st

from seqtrain.config.root import BatchingConfig
from seqtrain.data import manifest
from seqtrain.data.batching import Plan
from seqtrain.data.dataset import IterationOptions
from seqtrain.data.indexed import open_indexed
from seqtrain.data.manifest import checked_digests, listed_files
from seqtrain.data.vocabulary import Vocabulary
from seqtrain.errors import DataError
from tests.faults.fuzz import fuzz
from tests.faults.plugin import Figures, Size


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose files each example writes anew; in memory, where flushing them takes no time."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=memory if memory.is_dir() else None) as path:
        yield Path(path)


# Dictionaries

ODD_COUNTS = ["", "1.5", "\N{FULLWIDTH DIGIT ONE}", "\N{SUPERSCRIPT TWO}", "9" * 5000, "0x1", "1_0", "+1", "-1"]
COUNTS = st.integers(0, 99).flatmap(lambda n: st.just(str(10 ** (n // 5))) if n < 90 else st.sampled_from(ODD_COUNTS))
SYMBOLS = st.sampled_from(["house", "<s>", "<unk>", "</s>", "#fairseq:overwrite", " ", "\u2028", "\ufeffa", "é", "\0"])
SYMBOLS |= st.text(max_size=6)
SUFFIXES = st.sampled_from(["", "", "", " #fairseq:overwrite", " #fairseq:overwrite", "\r", " 3"])
LINES = st.tuples(SYMBOLS, st.sampled_from([" "] * 9 + ["\t", "", "  "]), COUNTS, SUFFIXES).map("".join)
DICTIONARIES = (
    st.lists(LINES, min_size=1, max_size=4).map("\n".join).map(lambda text: text.encode(errors="surrogatepass"))
)
DICTIONARIES |= st.binary(max_size=40)


def test_any_dictionary(folder: Path, size: Size, figures: Figures) -> None:
    path, copy = folder / "dict.txt", folder / "copy.txt"

    def dictionaries(content: bytes) -> bool:
        path.write_bytes(content)
        try:
            vocabulary = Vocabulary.load(path)
        except DataError:
            return True
        vocabulary.save(copy)
        again = Vocabulary.load(copy)
        assert again.symbols == vocabulary.symbols
        assert again.counts == vocabulary.counts
        assert (vocabulary.text_indices(vocabulary.symbols) < len(vocabulary)).all()
        return False

    fuzz(DICTIONARIES, dictionaries, size=size, figures=figures)


# Index files

CODES = {1: "<u1", 2: "<i1", 3: "<i2", 4: "<i4", 5: "<i8", 8: "<u2", 9: "<u4", 10: "<u8"}
VOCABULARY_SIZE = 100


@st.composite
def token_files(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """An index and its tokens, of one of fairseq's number types, with some fields changed and some bytes."""
    code = draw(st.sampled_from(sorted(CODES)))
    sequences = draw(st.lists(st.lists(st.integers(0, VOCABULARY_SIZE - 1), max_size=4), max_size=5))
    dtype = np.dtype(CODES[code])
    lengths = [len(sequence) for sequence in sequences]
    pointers = [length * dtype.itemsize for length in itertools.accumulate(lengths, initial=0)][:-1]
    fields = {"code": [code], "count": [len(sequences)], "lengths": lengths, "pointers": pointers}
    for name in draw(st.sets(st.sampled_from(sorted(fields)), max_size=2)):
        bits = {"code": 8, "count": 64, "lengths": 31, "pointers": 63}[name]
        numbers = st.integers(0, 12) | st.integers(0, 2**bits - 1)
        fields[name] = [draw(numbers) for _ in fields[name]]
    index = b"MMIDIDX\0\0" + struct.pack("<QBQ", 1, *fields["code"], *fields["count"])
    index += struct.pack(f"<{len(lengths)}i", *fields["lengths"]) + struct.pack(
        f"<{len(pointers)}q", *fields["pointers"]
    )
    tokens = np.array([token for sequence in sequences for token in sequence]).astype(dtype).tobytes()
    return draw(damaged(index)), draw(damaged(tokens))


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """Bytes, mostly as they are, else with some of them others, more or fewer."""
    result = bytearray(content)
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        if result and draw(st.booleans()):
            result[draw(st.integers(0, len(result) - 1))] = draw(st.integers(0, 255))
        elif draw(st.booleans()):
            del result[draw(st.integers(0, len(result))) :]
        else:
            result += draw(st.binary(max_size=9))
    return bytes(result)


def test_any_index_file(folder: Path, size: Size, figures: Figures) -> None:
    def index_files(files: tuple[bytes, bytes]) -> bool:
        (folder / "train.idx").write_bytes(files[0])
        (folder / "train.bin").write_bytes(files[1])
        try:
            table = open_indexed(folder / "train", vocabulary_size=VOCABULARY_SIZE)
        except DataError:
            return True
        sequences = [table[number] for number in range(len(table))]
        assert sum(len(sequence) for sequence in sequences) == len(table.tokens)
        assert all(0 <= token < VOCABULARY_SIZE for sequence in sequences for token in sequence.tolist())
        return False

    fuzz(token_files(), index_files, size=size, figures=figures)


# dataset.json

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
GOOD = {"size": 6, "sha256": hashlib.sha256(b"tokens").hexdigest()}
ENTRIES = st.just(GOOD) | st.fixed_dictionaries({"size": st.integers(0, 9) | JSON, "sha256": st.just("") | JSON}) | JSON
ODD_NAMES = ["train.idx", "../train.bin", "/etc/hosts", "", ".", "a\0b", "\udc80", "x" * 300]
NAMES = st.just("train.bin") | st.sampled_from(ODD_NAMES)
FILES = st.sampled_from([{"train.bin": GOOD}, {}]) | st.dictionaries(NAMES, ENTRIES, max_size=2)
LISTS = FILES.map(manifest._text) | st.fixed_dictionaries({"format": st.just(2) | JSON, "files": FILES | JSON}).map(
    json.dumps
)


def test_any_list_of_files(folder: Path, size: Size, figures: Figures) -> None:
    (folder / "train.bin").write_bytes(b"tokens")

    def lists_of_files(listed: str) -> bool:
        (folder / "dataset.json").write_text(listed, encoding="utf-8")
        try:
            checked_digests(folder, listed_files(folder))
        except DataError:
            return True
        return False

    fuzz(LISTS | JSON.map(json.dumps), lists_of_files, size=size, figures=figures)


# Batching plans


@st.composite
def plans(draw: st.DrawFn) -> tuple[np.ndarray, IterationOptions, int]:
    """Lengths of examples, how to batch them, and the size of a shard."""
    largest = draw(st.sampled_from([3, 40, 70_000, 2**31 - 1]))
    pairs = st.tuples(st.integers(0, largest), st.integers(0, largest))
    lengths = np.array(draw(st.lists(pairs, max_size=30)), dtype=np.int64).reshape(-1, 2)
    limits = st.none() | st.integers(1, 200) | st.integers(1, 2**40)
    batching = BatchingConfig(
        max_tokens=draw(limits),
        max_sentences=draw(st.none() | st.integers(1, 40)),
        required_batch_size_multiple=draw(st.integers(1, 9)),
    )
    options = IterationOptions(
        batching=batching,
        max_positions=(draw(st.integers(1, 100_000)), draw(st.integers(1, 100_000))),
        seed=draw(st.integers(0, 2**32 - 1)),
        epoch=draw(st.integers(1, 100)),
        shuffle=draw(st.booleans()),
    )
    return lengths, options, draw(st.integers(1, 40))


def test_any_batching_plan(size: Size, figures: Figures) -> None:
    def batching_plans(example: tuple[np.ndarray, IterationOptions, int]) -> bool:
        lengths, options, shard_size = example
        if list(options.batching.problems()):
            return True
        plan = Plan(lengths, options, shard_size=shard_size)
        batches = list(plan.batches())
        numbers = [number for batch in batches for number in batch.tolist()]
        assert len(batches) == plan.num_batches
        assert sorted(numbers) == sorted(_that_fit(lengths, options))
        assert len(numbers) == plan.num_examples == len(lengths) - sum(plan.filtered.values())
        assert all(_is_within(lengths[batch], options.batching) for batch in batches)
        first = len(batches) // 2
        assert [batch.tolist() for batch in plan.batches(first)] == [batch.tolist() for batch in batches[first:]]
        return False

    fuzz(plans(), batching_plans, size=size, figures=figures)


def _that_fit(lengths: np.ndarray, options: IterationOptions) -> Iterator[int]:
    """The examples that model and batches have room for, by the definition."""
    max_tokens = options.batching.max_tokens
    for number, (source, target) in enumerate(lengths.tolist()):
        fits_model = source <= options.max_positions[0] and target <= options.max_positions[1]
        if fits_model and (max_tokens is None or max(source, target) <= max_tokens):
            yield number


def _is_within(lengths: np.ndarray, batching: BatchingConfig) -> bool:
    """Whether a batch is within the limits; lengths are (B, 2)."""
    count, multiple = len(lengths), batching.required_batch_size_multiple
    return (
        count > 0
        and (batching.max_tokens is None or count * int(lengths.max()) <= batching.max_tokens)
        and (batching.max_sentences is None or count <= batching.max_sentences)
        and (count <= multiple or count % multiple == 0)
    )
