"""What the tasks that learn from text have in common: tokenizers, vocabularies, the cache, data-bin folders."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from seqtrain.config.registry import suggest
from seqtrain.data.cache import cache_root, cached_folder
from seqtrain.data.databin import (
    Layout,
    is_data_bin,
    load_codecs,
    open_tokens,
    save_codecs,
    saved_layout,
    split_names,
)
from seqtrain.data.encoding import Codec
from seqtrain.data.files import digest, read_text
from seqtrain.data.preparation import CodecOptions, encode_split, prepare
from seqtrain.data.records import Records
from seqtrain.data.text import Lines, check_parallel, fingerprint
from seqtrain.data.tokenizers import TokenizerKind, TokenizerOptions, make_tokenizer
from seqtrain.data.tokens import TokenTable
from seqtrain.errors import CheckpointError, ConfigError, DataError
from seqtrain.tasks.base import Task

if TYPE_CHECKING:
    import numpy as np

    from seqtrain.data.dataset import Dataset
    from seqtrain.tasks.schema import TextTaskConfig

logger = logging.getLogger(__name__)

_CACHE_FORMAT = 1
_DEFAULT_PIECES = 8000
_DEMO = "demo:"


class TextTask(Task):
    """The base of tasks that learn from one text, or from several in parallel.

    The data is a folder of text, tokenized once into the cache, or a data-bin folder. A subclass says which languages
    there are (`find_layout`), where their lines are (`read_split`), and what a dataset is (`make_dataset`).
    """

    config: TextTaskConfig

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.codecs: tuple[Codec, ...] = ()
        self.layout = Layout(())
        self._prepared: Path | None = None

    # What a subclass defines

    @abstractmethod
    def find_layout(self) -> Layout:
        """The languages of the data.

        Raises:
            DataError: They cannot be told from the files.
        """

    @abstractmethod
    def read_split(self, split: str) -> tuple[Lines, ...]:
        """The lines of a split in each language, from the folder of text. A list of lines will do.

        Raises:
            DataError: There is no such split.
        """

    @abstractmethod
    def text_splits(self) -> list[str]:
        """The splits of the folder of text."""

    @abstractmethod
    def make_dataset(self, tables: Sequence[TokenTable]) -> Dataset:
        """The dataset of the token sequences of each language."""

    @property
    def joined(self) -> bool:
        """Whether the languages have one tokenizer and one vocabulary."""
        return False

    takes_file: ClassVar[bool] = False
    """Whether the data may be a single file."""

    # The data

    @property
    def folder(self) -> Path:
        """The folder of the data, or its file where the task takes one.

        Raises:
            DataError: It is missing.
        """
        if self.config.data.startswith(_DEMO):
            return self._demo_folder(self.config.data.removeprefix(_DEMO))
        folder = Path(self.config.data).expanduser()
        if not folder.is_dir() and not (self.takes_file and folder.is_file()):
            raise DataError(f"task.data={self.config.data}: there is no such folder", remedy=_remedy(folder))
        if folder.is_dir() and not any(folder.iterdir()):
            raise DataError(f"task.data={self.config.data}: the folder is empty")
        return folder

    @property
    def records(self) -> Records:
        """What was found out about large files at earlier starts."""
        return Records(cache_root(self.config.cache))

    @property
    def is_data_bin(self) -> bool:
        """Whether the data is token files rather than text."""
        return is_data_bin(self.folder)

    def setup(self) -> None:
        """See `Task`."""
        self.layout = self.find_layout()
        if self.is_data_bin:
            fallback = make_tokenizer(self._fallback_options(), ())
            self._take(load_codecs(self.folder, self.layout, fallback=fallback))
        else:
            self._prepared = self._prepare()
            self._take(load_codecs(self._prepared, self.layout))

    def save_assets(self, folder: Path) -> None:
        """See `Task`."""
        save_codecs(folder, self.layout, self.codecs)

    def load_assets(self, folder: Path) -> None:
        """See `Task`."""
        try:
            layout = saved_layout(folder)
            if layout is None:
                raise DataError(f"{folder}: has no vocabularies")
            codecs = load_codecs(folder, layout)
        except DataError as error:
            raise CheckpointError(str(error.args[0]), remedy=error.remedy) from error
        self.layout = layout
        self._take(codecs)

    def _take(self, codecs: tuple[Codec, ...]) -> None:
        self.codecs = codecs
        self.source_vocabulary = codecs[0].vocabulary if len(codecs) > 1 else None
        self.target_vocabulary = codecs[-1].vocabulary

    def load_dataset(self, split: str) -> Dataset:
        """See `Task`."""
        return self.make_dataset(self.load_tables(split))

    def load_tables(self, split: str) -> list[TokenTable]:
        """The token sequences of a split in each language, one a line.

        Raises:
            DataError: There is no such split, or it is malformed.
        """
        assert self.codecs, "setup or load_assets comes first"
        return self._data_bin_tables(split) if self.is_data_bin else self._text_tables(split)

    def splits(self) -> list[str]:
        """The splits that the data has, in all languages; train and valid come first."""
        if self.is_data_bin:
            names = [name for name in split_names(self.folder) if self._is_complete(name)]
            if "valid" not in names and "train" in names and self.config.valid_fraction > 0:
                names.append("valid")
        else:
            names = self.text_splits()
        return sorted(names, key=lambda name: (name != "train", name != "valid", name))

    def decode(self, tokens: np.ndarray) -> str:
        """See `Task`."""
        return self.codecs[-1].decode(tokens)

    def references(self, split: str) -> list[str] | None:
        """See `Task`. Of a data-bin folder, unknown symbols are written so that no hypothesis equals them."""
        codec = self.codecs[-1]
        if self.is_data_bin:
            table = self._data_bin_tables(split)[-1]
            return [codec.decode(table[number], unknown="<<unk>>") for number in range(len(table))]
        return [codec.tokenizer.plain_text(line) for line in self.lines(split)[-1]]

    # Text

    def lines(self, split: str) -> tuple[Lines, ...]:
        """What `read_split` gives, checked: as many lines in each language, and one at least."""
        lines = self.read_split(split)
        check_parallel(lines, [f"{split} in {language}" for language in self.layout.languages])
        if len(lines[0]) == 0:
            raise DataError(f"task.data={self.config.data}: {split} is empty")
        return lines

    def codec_options(self) -> CodecOptions:
        """How tokenizers and vocabularies are made."""
        config = self.config
        is_sentencepiece = config.tokenizer is TokenizerKind.sentencepiece
        return CodecOptions(
            tokenizer=TokenizerOptions(
                kind=config.tokenizer,
                vocab_size=config.vocab_size or _DEFAULT_PIECES,
                sentencepiece_model=config.sentencepiece_model,
                bpe_codes=None if config.bpe_codes is None else str(Path(config.bpe_codes).expanduser()),
                remove_bpe=config.remove_bpe,
            ),
            joined=self.joined,
            num_words=None if is_sentencepiece else config.vocab_size,
            min_count=config.min_count,
        )

    def _text_options(self) -> CodecOptions:
        """How tokenizers and vocabularies are made from text."""
        if self.config.remove_bpe is not None and self.config.tokenizer is TokenizerKind.sentencepiece:
            raise ConfigError(
                f"task.remove_bpe={self.config.remove_bpe!r} is for text that is cut into pieces already, but "
                "task.tokenizer=sentencepiece learns pieces of its own",
                remedy="set task.tokenizer=whitespace, or leave task.remove_bpe out",
            )
        return self.codec_options()

    def _prepare(self) -> Path:
        options, train = self._text_options(), self.lines("train")
        codes = options.tokenizer.bpe_codes
        key = digest(
            _CACHE_FORMAT,
            self.layout,
            [fingerprint(lines) for lines in train],
            options,
            codes and read_text(Path(codes)),
        )

        def build(folder: Path) -> None:
            prepare(train, self.layout, folder, options=options)

        return cached_folder(cache_root(self.config.cache), "prepared", key, build)

    def _text_tables(self, split: str) -> list[TokenTable]:
        folder = self._prepared if split == "train" and self._prepared is not None else self._encoded(split)
        names = [self.layout.tokens(split, language) for language in self.layout.languages]
        return [
            open_tokens(folder / name, len(codec.vocabulary), records=self.records)
            for name, codec in zip(names, self.codecs, strict=True)
        ]

    def _encoded(self, split: str) -> Path:
        lines = self.lines(split)
        key = digest(
            _CACHE_FORMAT,
            split,
            self.layout,
            [fingerprint(side) for side in lines],
            [codec.fingerprint for codec in self.codecs],
        )
        names = [self.layout.tokens(split, language) for language in self.layout.languages]

        def build(folder: Path) -> None:
            encode_split(lines, self.codecs, [folder / name for name in names])

        return cached_folder(cache_root(self.config.cache), "encoded", key, build)

    def _demo_folder(self, name: str) -> Path:
        from seqtrain.data import demo

        if name != "numbers":
            raise ConfigError(f"task.data={_DEMO}{name}: there is no such demo corpus", remedy="task.data=demo:numbers")
        key = digest(_CACHE_FORMAT, name, demo.SIZES)
        return cached_folder(cache_root(self.config.cache), "demo", key, demo.write_corpus)

    # Data-bin folders

    def _data_bin_tables(self, split: str) -> list[TokenTable]:
        folder = self.folder
        self._check_vocabularies(folder)
        cut = split in ("train", "valid") and self.config.valid_fraction > 0 and "valid" not in split_names(folder)
        tables = [self._open(folder, "train" if cut else split, number) for number in range(len(self.codecs))]
        if len({len(table) for table in tables}) > 1:
            counts = " and ".join(str(len(table)) for table in tables)
            raise DataError(
                f"{folder}: {split} has {counts} sentences on its two sides", remedy="make the data-bin folder again"
            )
        if len(tables[0]) == 0:
            raise DataError(f"{folder}: {split} is empty")
        if not cut:
            return tables
        stop = train_size(len(tables[0]), self.config.valid_fraction)
        bounds = (0, stop) if split == "train" else (stop, len(tables[0]))
        return [table.part(*bounds) for table in tables]

    def _is_complete(self, split: str) -> bool:
        """Whether a split of the data-bin folder has files in each language."""
        languages = self.layout.languages
        return all(self.layout.find_tokens(self.folder, split, language) is not None for language in languages)

    def _open(self, folder: Path, split: str, number: int) -> TokenTable:
        prefix = self.layout.find_tokens(folder, split, self.layout.languages[number])
        if prefix is None:
            raise DataError(
                f"{folder}: has no files {self.layout.tokens(split, self.layout.languages[number])}.idx/.bin",
                remedy=f"its splits are: {', '.join(split_names(folder))}",
            )
        return open_tokens(prefix, len(self.codecs[number].vocabulary), records=self.records)

    def _check_vocabularies(self, folder: Path) -> None:
        """The data-bin folder was made with the vocabularies that the model has."""
        theirs = load_codecs(folder, self.layout, fallback=self.codecs[0].tokenizer)
        for language, codec, other in zip(self.layout.languages, self.codecs, theirs, strict=True):
            if codec.vocabulary.fingerprint != other.vocabulary.fingerprint:
                raise DataError(
                    f"{folder / self.layout.vocabulary(language)}: its {len(other.vocabulary)} symbols are not "
                    f"the {len(codec.vocabulary)} of the model",
                    remedy="give the text itself as data, or a data-bin folder made with the model's vocabularies",
                )

    def _fallback_options(self) -> TokenizerOptions:
        """The tokenizer of a data-bin folder that brings none: its text was cut by other tools."""
        options = self.codec_options().tokenizer
        if options.kind is not TokenizerKind.sentencepiece:
            return options
        return TokenizerOptions(kind=TokenizerKind.whitespace, remove_bpe=self.config.remove_bpe)

    # Preprocessing

    def write_data_bin(self, folder: Path, num_workers: int | None) -> None:
        """Write all splits of the folder of text as a data-bin folder.

        Args:
            folder: An empty folder.
            num_workers: Processes; None takes one a core.

        Raises:
            DataError: The text is missing or malformed.
        """
        if self.is_data_bin:
            raise DataError(f"task.data={self.config.data}: is a data-bin folder already", remedy="give one of text")
        self.layout = self.find_layout()
        options = self._text_options()
        codecs = prepare(self.lines("train"), self.layout, folder, options=options, num_workers=num_workers)
        for split in self.text_splits():
            if split != "train":
                prefixes = [folder / self.layout.tokens(split, language) for language in self.layout.languages]
                encode_split(self.lines(split), codecs, prefixes, num_workers=num_workers)


def train_size(num_lines: int, valid_fraction: float) -> int:
    """How many lines, of which the last become the valid split, are left for training."""
    return int(num_lines * (1 - valid_fraction))


def _remedy(folder: Path) -> str | None:
    """A folder beside a missing one that is called nearly the same."""
    if not folder.parent.is_dir():
        return None
    return suggest(folder.name, [path.name for path in folder.parent.iterdir() if path.is_dir()])
