"""Pieces that sentencepiece learns from the training text (Kudo and Richardson, 2018)."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Self

import numpy as np
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer

from seqtrain.data.chunk import Chunk
from seqtrain.data.tokenizers.base import Tokenizer, TokenizerKind, TokenizerOptions
from seqtrain.data.workers import call_in_process
from seqtrain.errors import DataError

logger = logging.getLogger(__name__)

_WORD_START = "\N{LOWER ONE EIGHTH BLOCK}"
_MAX_LINE_BYTES = 16_384
_NUM_THREADS = 4  # a constant, because the pieces' scores depend on it in the last bits
_QUIET = 2  # errors alone; they come as exceptions as well


class SentencePieceTokenizer(Tokenizer):
    """Cuts text into pieces, without any knowledge of words; a piece that begins a word starts with U+2581."""

    kind = TokenizerKind.sentencepiece

    def __init__(self, model: bytes) -> None:
        """Read a model.

        Args:
            model: The content of a sentencepiece `.model` file.
        """
        self._model = model
        self._processor = SentencePieceProcessor()
        self._processor.LoadFromSerializedProto(model)
        self._pieces = [self._processor.IdToPiece(number) for number in range(self._processor.GetPieceSize())]

    def __reduce__(self) -> tuple[Any, ...]:
        """Send the model to another process."""
        return type(self), (self._model,)

    @classmethod
    def make(cls, options: TokenizerOptions, lines: Iterable[str]) -> Self:
        """Train a model; a corpus too small for the wanted size gets a smaller one.

        Raises:
            DataError: There is no text to learn from.
        """
        tokenizer = cls(_train(list(lines), options))
        size = tokenizer._processor.GetPieceSize()
        if size < options.vocab_size:
            logger.warning("the text has room for %d sentencepieces, not for %d", size, options.vocab_size)
        return tokenizer

    @classmethod
    def load(cls, folder: Path, name: str, settings: dict[str, Any]) -> Self:
        """See `Tokenizer`."""
        path = folder / f"{name}.model"
        try:
            return cls(path.read_bytes())
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}") from error
        except RuntimeError as error:
            raise DataError(f"{path}: no sentencepiece model") from error

    @property
    def content(self) -> tuple[str, bytes]:
        """See `Tokenizer`."""
        return "model", self._model

    def tokenize(self, line: str) -> list[str]:
        """See `Tokenizer`."""
        pieces: list[str] = self._processor.EncodeAsPieces(line)
        return pieces

    def tokenize_lines(self, lines: Sequence[str]) -> Chunk:
        """See `Tokenizer`."""
        processor = self._processor
        numbers: list[list[int]] = list(map(processor.EncodeAsIds, lines))
        tokens = np.fromiter(chain.from_iterable(numbers), np.int64)
        if np.any(tokens == processor.unk_id()):  # a number does not say which character is unknown
            return super().tokenize_lines(lines)
        lengths = np.fromiter(map(len, numbers), np.int64, len(numbers))
        return Chunk.of(self._pieces, tokens, lengths)

    def detokenize(self, symbols: Sequence[str]) -> str:
        """See `Tokenizer`."""
        return "".join(symbols).replace(_WORD_START, " ").strip()


def _train(lines: list[str], options: TokenizerOptions) -> bytes:
    """Learn pieces, of all characters if there is room for them, else of all but the rarest."""
    if not any(line.strip() for line in lines):
        raise DataError("the training text is empty: sentencepiece has nothing to learn from")
    try:
        return _train_in_process(lines, options, character_coverage=1.0)
    except RuntimeError as error:
        if (needed := _num_characters(error)) is None:
            raise
        logger.warning(
            "%d sentencepieces have no room for all characters: rare ones become unknown", options.vocab_size
        )
    try:
        return _train_in_process(lines, options, character_coverage=0.9995)
    except RuntimeError as error:
        raise DataError(
            f"the training text has {_num_characters(error) or needed} frequent characters, "
            f"for which {options.vocab_size} sentencepieces have no room",
            remedy=f"set task.vocab_size={2 * needed} or more",
        ) from error


def _num_characters(error: RuntimeError) -> int | None:
    """How many pieces the characters alone take, if that is why the training failed."""
    found = re.search(r"smaller than required_chars\. \d+ vs (\d+)", str(error))
    return int(found[1]) if found else None


def _train_in_process(lines: list[str], options: TokenizerOptions, *, character_coverage: float) -> bytes:
    return call_in_process(partial(_train_once, options=options, character_coverage=character_coverage), lines)


def _train_once(lines: list[str], options: TokenizerOptions, character_coverage: float) -> bytes:
    model = io.BytesIO()
    SentencePieceTrainer.Train(
        sentence_iterator=iter(lines),
        model_writer=model,
        model_type=options.sentencepiece_model.name,
        vocab_size=options.vocab_size,
        character_coverage=character_coverage,
        hard_vocab_limit=False,  # a small corpus gets fewer pieces
        bos_id=-1,
        eos_id=-1,
        max_sentence_length=_MAX_LINE_BYTES,
        num_threads=_NUM_THREADS,
        minloglevel=_QUIET,
    )
    return model.getvalue()
