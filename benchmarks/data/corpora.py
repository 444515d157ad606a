"""Corpora made up for measuring: text with words as frequent as in a language, and token files of given lengths."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

HEADER = struct.Struct("<9sQBQ")
MAGIC, VERSION, TOKEN_CODE = b"MMIDIDX\x00\x00", 1, 8
"""Of fairseq's index files, here for tokens of 16 bits."""

NUM_WORDS = 200_000
LETTERS = "etaoinshrdlcumwfgypbvkjxqz"
_BLOCK = 20_000
_MILLION = 1_000_000


def write_text(path: Path, num_lines: int, *, seed: int = 1) -> None:
    """Lines of 18 words in the median, whose frequencies fall with their rank as Zipf found (p ~ 1 / (rank + 2.7))."""
    generator = np.random.default_rng(seed)
    words = _words()
    cumulated = np.cumsum(1 / (np.arange(NUM_WORDS) + 2.7))
    cumulated /= cumulated[-1]
    with path.open("w", encoding="utf-8") as file:
        for start in range(0, num_lines, _BLOCK):
            sizes = np.maximum(1, np.exp(generator.normal(2.9, 0.55, min(_BLOCK, num_lines - start)))).astype(np.int64)
            ranks = np.searchsorted(cumulated, generator.random(int(sizes.sum())))
            chosen = [words[rank] for rank in np.minimum(ranks, NUM_WORDS - 1).tolist()]
            ends = np.cumsum(sizes).tolist()
            for end, size in zip(ends, sizes.tolist(), strict=True):
                file.write(" ".join(chosen[end - size : end]) + "\n")


def _words() -> list[str]:
    """Words of 1 to 14 letters, the same each time."""
    generator = np.random.default_rng(0)
    frequencies = 1 / np.arange(1, len(LETTERS) + 1) ** 0.7
    sizes = np.clip(generator.poisson(5.5, NUM_WORDS) + 1, 1, 14)
    letters = generator.choice(list(LETTERS), int(sizes.sum()), p=frequencies / frequencies.sum())
    text, ends = "".join(letters), np.cumsum(sizes)
    return [text[end - size : end] for end, size in zip(ends.tolist(), sizes.tolist(), strict=True)]


def write_pairs(folder: Path, num_pairs: int, *, seed: int = 1) -> tuple[Path, Path]:
    """Token files of pairs, 27 and 28 tokens a side in the median and at most 200 and 220.

    The tokens themselves are a hole in the file: it has its size but takes no room on the disk, and reads as zeros.
    """
    prefixes = folder / f"{num_pairs}.source", folder / f"{num_pairs}.target"
    indices = [prefix.with_name(f"{prefix.name}.idx") for prefix in prefixes]
    with indices[0].open("wb") as source, indices[1].open("wb") as target:
        for file in (source, target):
            file.write(HEADER.pack(MAGIC, VERSION, TOKEN_CODE, num_pairs))
        for start in range(0, num_pairs, _MILLION):
            for file, lengths in zip(
                (source, target), _lengths(start, min(_MILLION, num_pairs - start), seed), strict=True
            ):
                lengths.astype("<i4").tofile(file)
    for prefix, index in zip(prefixes, indices, strict=True):
        num_bytes = _append_pointers(index, num_pairs)
        with prefix.with_name(f"{prefix.name}.bin").open("wb") as data:
            data.truncate(num_bytes)
    return prefixes


def _append_pointers(index: Path, num_sequences: int) -> int:
    """Write where each sequence begins behind the lengths of all; returns where the last one ends, in bytes."""
    end = 0
    with index.open("ab") as file:
        for start in range(0, num_sequences, _MILLION):
            count = min(_MILLION, num_sequences - start)
            sizes = 2 * np.fromfile(index, "<i4", count, offset=HEADER.size + 4 * start).astype(np.int64)
            ends = end + np.cumsum(sizes)
            (ends - sizes).astype("<i8").tofile(file)
            end = int(ends[-1])
    return end


def _lengths(part: int, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Source and target tokens of some pairs, log-normal, and about alike within a pair."""
    generator = np.random.default_rng([seed, part])
    source = np.minimum(np.exp(generator.normal(3.2, 0.55, count)).astype(np.int64) + 2, 200)
    target = np.clip((source * generator.normal(1.06, 0.15, count)).astype(np.int64) + 1, 1, 220)
    return source, target
