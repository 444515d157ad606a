"""What all contestants of the decoding benchmark are given: one model, one test set, one way to search.

It is a folder with `model.npz`, seqtrain's parameters by their names and the tables of positions, and `job.json`. The
arms that run a peer read it with numpy alone.

Shapes: V symbols, D features of the layers, T columns.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["Job", "Pieces", "read_hypotheses", "read_weights", "write_weights"]

Weights = dict[str, NDArray[np.float32]]
Source = TypeVar("Source")


@dataclass(frozen=True)
class Job:
    """What is to be decoded, and how.

    Attributes:
        checkpoint: The checkpoint folder that `model.npz` was made from.
        symbols: The joined vocabulary, (V,).
        num_layers: Of encoder and decoder each.
        num_heads: Of each layer.
        sources: The symbols of each source, without the end symbol, shortest first.
        beam_size: Hypotheses that are followed at a time.
        length_penalty: The power of the length that log-probabilities are divided by; 0 does not divide.
        max_length: The most tokens of a hypothesis, before the end symbol.
    """

    checkpoint: str
    symbols: list[str]
    num_layers: int
    num_heads: int
    sources: list[list[str]]
    beam_size: int
    length_penalty: float
    max_length: int

    def save(self, folder: Path) -> None:
        """Write `job.json`."""
        (folder / "job.json").write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Job:
        """Read `job.json`."""
        return cls(**json.loads((folder / "job.json").read_text(encoding="utf-8")))


def write_weights(folder: Path, weights: Weights) -> None:
    """Write `model.npz`."""
    np.savez(folder / "model.npz", allow_pickle=False, **weights)


def read_weights(folder: Path) -> Weights:
    """Read `model.npz`."""
    with np.load(folder / "model.npz", allow_pickle=False) as arrays:
        return dict(arrays)


class Pieces:
    """The job in pieces, which are decoded in turn; what an arm wrote is kept when it has decoded all of them.

    A piece has every so manieth sentence: sentences of all lengths, shortest first.

    Args:
        folder: Of the job.
        arm: Its name.
        num_sources: Sentences of the whole job.
        num_pieces: How many.
    """

    def __init__(self, folder: Path, arm: str, num_sources: int, num_pieces: int) -> None:
        self._path = folder / f"{arm}.json"
        self._numbers = [range(first, num_sources, num_pieces) for first in range(num_pieces)]
        self._hypotheses: dict[int, list[str]] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def of(self, sources: list[Source]) -> list[list[Source]]:
        """The sources of each piece."""
        return [[sources[number] for number in numbers] for numbers in self._numbers]

    def add(self, piece: int, hypotheses: list[list[str]]) -> None:
        """Take the best hypotheses of a piece's sentences, without their end symbols; all together are written."""
        if len(self._hypotheses) < sum(map(len, self._numbers)):
            self._hypotheses.update(zip(self._numbers[piece], hypotheses, strict=True))
            ordered = [self._hypotheses[number] for number in sorted(self._hypotheses)]
            self._path.write_text(json.dumps(ordered), encoding="utf-8")


def read_hypotheses(folder: Path, arm: str) -> list[list[str]]:
    """What an arm wrote."""
    hypotheses: list[list[str]] = json.loads((folder / f"{arm}.json").read_text(encoding="utf-8"))
    return hypotheses
