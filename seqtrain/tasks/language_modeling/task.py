"""Language modelling: predict each token of a text from those before it."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from seqtrain.data.blocks import BlockDataset
from seqtrain.data.databin import Layout
from seqtrain.data.pairs import PairDataset
from seqtrain.data.text import Lines, TextFile, TextStream, text_names
from seqtrain.data.tokenizers.base import TokenizerKind
from seqtrain.data.tokens import TokenTable
from seqtrain.data.vocabulary import Vocabulary
from seqtrain.errors import DataError
from seqtrain.tasks.language_modeling.schema import LanguageModelingConfig
from seqtrain.tasks.text import TextTask, train_size

if TYPE_CHECKING:
    from seqtrain.config.root import GenerationConfig
    from seqtrain.generation.generator import Generator
    from seqtrain.models.base import Model

logger = logging.getLogger(__name__)

_STREAMS = (TokenizerKind.characters, TokenizerKind.bytes)
_NAME = re.compile(r"(?:wiki\.)?(?P<split>.+?)(?:\.(?:txt|tokens|raw)|(?<=train|valid)|(?<=test))")
_WHOLE_TEXT = "input"
_UNLIMITED = 2**31 - 1


class LanguageModelingTask(TextTask):
    """Language modelling of one text, or of the files of its splits.

    Characters and bytes make a stream in which the line break is a symbol; other tokenizers make sentences, each line
    ended by the end symbol.
    """

    config: LanguageModelingConfig

    takes_file = True

    @property
    def is_stream(self) -> bool:
        """Whether a line break is a symbol like others."""
        return self.codecs[0].tokenizer.keeps_newlines if self.codecs else self.config.tokenizer in _STREAMS

    @property
    def max_positions(self) -> tuple[int, int]:
        """See `Task`."""
        return _UNLIMITED, self.config.tokens_per_sample

    @property
    def first_token(self) -> int:
        """What stands before a text: the end of another."""
        if not self.is_stream:
            return Vocabulary.eos
        codec = self.codecs[0]
        newline = codec.vocabulary.index(codec.tokenizer.tokenize("\n")[0])
        return Vocabulary.eos if newline == Vocabulary.unk else newline

    def make_dataset(self, tables: Sequence[TokenTable]) -> BlockDataset:
        """See `TextTask`."""
        mode, size = self.config.sample_break_mode, self.config.tokens_per_sample
        return BlockDataset(tables[0], mode, size, first_token=self.first_token)

    def inference_dataset(self, lines: Sequence[str], targets: Sequence[str] | None = None) -> PairDataset:
        """The beginnings of texts, or whole texts to be scored.

        Row i of `previous_tokens` is `first_token` and the beginning i. The last target of a row is no more than a
        place for the token that comes next, unless there are targets.

        Args:
            lines: Beginnings.
            targets: Texts that follow them; they are scored together.
        """
        codec = self.codecs[0]
        if targets is not None:
            separator = "" if self.is_stream else " "
            lines = [f"{line}{separator}{target}" for line, target in zip(lines, targets, strict=True)]
        texts = [codec.encode(line) for line in lines]
        if targets is None and self.is_stream:
            texts = [np.append(text, Vocabulary.eos) for text in texts]
        return PairDataset.from_lists(None, texts, first_token=self.first_token)

    def build_generator(self, models: Sequence[Model], config: GenerationConfig) -> Generator:
        """See `Task`."""
        from seqtrain.generation.generator import ContinuationGenerator

        return ContinuationGenerator(models, self.target_vocabulary, config)

    def references(self, split: str) -> list[str] | None:
        """None: a text has no other that it should be."""
        return None

    def measure_sums(self, sums: dict[str, float]) -> dict[str, float]:
        """The perplexity of a token, and the information in it, if the criterion tells the likelihood."""
        from seqtrain.evaluation.perplexity import perplexity

        if "nll_loss" not in sums:
            return {}
        nats = sums["nll_loss"] / sums["num_tokens"]
        return {
            "perplexity": perplexity(sums["nll_loss"], sums["num_tokens"]),
            "nats_per_token": nats,
            "bits_per_token": nats / math.log(2),
        }

    # Files

    def find_layout(self) -> Layout:
        """See `TextTask`."""
        return Layout(("",))

    def read_split(self, split: str) -> tuple[Lines]:
        """The text of a split.

        Raises:
            DataError: There is no such split.
        """
        whole = self._whole_text()
        if whole is not None and (split == "train" or (split == "valid" and self.config.valid_fraction > 0)):
            return (self._part(whole, split),)
        path = self._find(split)
        if path is None:
            names = text_names(self.folder) if self.folder.is_dir() else [self.folder.name]
            raise DataError(
                f"{self.folder}: has no {split}.txt (nor {split}.tokens, {split}.txt.gz ...)",
                remedy=f"files: {', '.join(names[:20])}",
            )
        return (self._text(path),)

    def text_splits(self) -> list[str]:
        """See `TextTask`."""
        folder = self.folder
        if folder.is_file():
            return ["train", "valid"]
        splits = [match["split"] for name in text_names(folder) if (match := _NAME.fullmatch(name))]
        known = [split for split in splits if split != _WHOLE_TEXT]
        is_cut = "valid" not in known and self.config.valid_fraction > 0
        return sorted({*known, "train", *(("valid",) if is_cut else ())})

    def _whole_text(self) -> Path | None:
        """The file of which the training and the validation text are parts; None where each has its own."""
        if self.folder.is_file():
            return self.folder
        return None if self._find("valid") else self._find("train") or self._find(_WHOLE_TEXT)

    def _find(self, split: str) -> Path | None:
        """The file of a split, whatever its ending is."""
        for path in sorted(self.folder.iterdir()) if self.folder.is_dir() else ():
            name = path.name.removesuffix(".gz").removesuffix(".xz")
            if path.is_file() and (match := _NAME.fullmatch(name)) and match["split"] == split:
                return path
        return None

    def _text(self, path: Path) -> TextFile | TextStream:
        return TextStream(path) if self.is_stream else TextFile(path, records=self.records)

    def _part(self, path: Path, split: str) -> TextFile | TextStream:
        """The training or validation part of a text: lines of it, or characters of a stream."""
        text = self._text(path)
        size = text.size
        stop = train_size(size, self.config.valid_fraction)
        if split == "train":
            return text.part(0, stop)
        logger.info("no valid split beside %s: its last %d %s are taken", path, size - stop, text.unit)
        return text.part(stop, size)
