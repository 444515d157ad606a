"""Translation: lines of one language into lines of another."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from seqtrain.data.databin import Layout, is_data_bin, language_pairs
from seqtrain.data.pairs import PairDataset
from seqtrain.data.text import Lines, TextFile, check_parallel, find_text, text_names
from seqtrain.data.tokens import TokenTable
from seqtrain.data.vocabulary import Vocabulary
from seqtrain.errors import DataError
from seqtrain.tasks.text import TextTask, train_size
from seqtrain.tasks.translation.schema import TranslationConfig

if TYPE_CHECKING:
    from seqtrain.config.root import GenerationConfig
    from seqtrain.generation.generator import Generator
    from seqtrain.models.base import Model

logger = logging.getLogger(__name__)

_VALID_NAMES = ("valid", "val", "dev")


class TranslationTask(TextTask):
    """Translation of lines of text.

    A subclass that takes its text from elsewhere overrides `read_split`.
    """

    config: TranslationConfig

    @property
    def joined(self) -> bool:
        """See `TextTask`."""
        return self.config.joined_vocabulary

    @property
    def max_positions(self) -> tuple[int, int]:
        """See `Task`."""
        return self.config.max_source_positions, self.config.max_target_positions

    def make_dataset(self, tables: Sequence[TokenTable]) -> PairDataset:
        """See `TextTask`."""
        source, target = tables
        return PairDataset(source, target)

    def inference_dataset(self, lines: Sequence[str], targets: Sequence[str] | None = None) -> PairDataset:
        """See `Task`."""
        source, target = self.codecs
        references = [[Vocabulary.eos]] * len(lines) if targets is None else [target.encode(line) for line in targets]
        return PairDataset.from_lists([source.encode(line) for line in lines], references)

    def build_generator(self, models: Sequence[Model], config: GenerationConfig) -> Generator:
        """See `Task`."""
        from seqtrain.generation.generator import SequenceGenerator

        return SequenceGenerator(models, self.target_vocabulary, config)

    def measure_text(self, hypotheses: Sequence[str], references: Sequence[str]) -> dict[str, float]:
        """BLEU, chrF and exact matches, in percent."""
        from seqtrain.evaluation import exact_match
        from seqtrain.evaluation.bleu import bleu
        from seqtrain.evaluation.chrf import chrf

        return {
            "bleu": bleu(hypotheses, references, self.config.bleu_tokenizer),
            "chrf": chrf(hypotheses, references),
            "exact_match": exact_match(hypotheses, references),
        }

    def measure_sums(self, sums: dict[str, float]) -> dict[str, float]:
        """The perplexity of a target token, if the criterion tells the likelihood."""
        from seqtrain.evaluation.perplexity import perplexity

        return {"perplexity": perplexity(sums["nll_loss"], sums["num_tokens"])} if "nll_loss" in sums else {}

    # Files

    def find_layout(self) -> Layout:
        """See `TextTask`."""
        given = (self.config.source_lang, self.config.target_lang)
        if given[0] is not None and given[1] is not None:
            return Layout((given[0], given[1]))
        if self.config.data == "demo:numbers":
            return _complete(given, [("en", "de")], "task.data=demo:numbers")
        folder = self.folder
        pairs = language_pairs(folder) if is_data_bin(folder) else _pairs_of_text(folder)
        return _complete(given, pairs, str(folder))

    def read_split(self, split: str) -> tuple[Lines, Lines]:
        """The source and target lines of a split.

        Raises:
            DataError: There is no such split.
        """
        folder = self.folder
        files = self._find_files(folder, split)
        cut = split in ("train", "valid") and self.config.valid_fraction > 0 and not self._find_files(folder, "valid")
        if cut:
            files = self._find_files(folder, "train")
        if files is None:
            missing = " and ".join(f"{split}.{language}" for language in self.layout.languages)
            raise DataError(f"{folder}: has no files {missing} (nor .gz, .xz)", remedy=self._what_is_there(folder))
        source, target = files
        check_parallel(files, [str(source.path), str(target.path)])
        if not cut:
            return files
        stop = train_size(len(source), self.config.valid_fraction)
        if split == "valid":
            logger.info("no valid split in %s: the last %d pairs of train are taken", folder, len(source) - stop)
            return source.part(stop, len(source)), target.part(stop, len(target))
        return source.part(0, stop), target.part(0, stop)

    def text_splits(self) -> list[str]:
        """See `TextTask`; the validation split is called valid, whatever its files are."""
        source, target = self.layout.languages
        names = set(text_names(self.folder))
        stems = [name.removesuffix(f".{source}") for name in sorted(names) if name.endswith(f".{source}")]
        splits = [stem for stem in stems if f"{stem}.{target}" in names]
        others = [split for split in splits if split not in _VALID_NAMES]
        has_valid = len(others) < len(splits) or self.config.valid_fraction > 0
        return [*others, "valid"] if has_valid and others else others

    def _find_files(self, folder: Path, split: str) -> tuple[TextFile, TextFile] | None:
        """The two files of a split; the validation split may have another of its usual names."""
        for name in _VALID_NAMES if split == "valid" else (split,):
            paths = [find_text(folder, f"{name}.{language}") for language in self.layout.languages]
            if paths[0] is not None and paths[1] is not None:
                return TextFile(paths[0], records=self.records), TextFile(paths[1], records=self.records)
        return None

    def _what_is_there(self, folder: Path) -> str:
        splits = self.text_splits()
        if splits:
            return f"its splits are: {', '.join(splits)}"
        names = text_names(folder)
        return f"files in the folder: {', '.join(names[:20])}" + (" ..." if len(names) > 20 else "")


def _pairs_of_text(folder: Path) -> list[tuple[str, str]]:
    """The directions in which the training files of a folder can be translated."""
    names = [name.split(".") for name in text_names(folder)] if folder.is_dir() else []
    languages = sorted(parts[1] for parts in names if len(parts) == 2 and parts[0] == "train")
    return [(source, target) for source in languages for target in languages if source != target]


def _complete(given: tuple[str | None, str | None], pairs: list[tuple[str, str]], place: str) -> Layout:
    """The one direction that agrees with what is given.

    Raises:
        DataError: There is none, or there are several.
    """
    fitting = [
        pair
        for pair in {*pairs, *((target, source) for source, target in pairs if any(given))}
        if all(language is None or language == side for language, side in zip(given, pair, strict=True))
    ]
    if len(fitting) != 1:
        there = ", ".join(f"{source}-{target}" for source, target in sorted(fitting or pairs))
        raise DataError(
            f"{place}: the languages to translate cannot be told from the names of its files"
            + (f": there are {there}" if there else ", which has no train.SOURCE and train.TARGET"),
            remedy="set task.source_lang and task.target_lang",
        )
    return Layout(fitting[0])
