"""`verify data`: a report on the quality of a text or a data-bin folder, split by split."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from seqtrain.config.command import Job
from seqtrain.config.root import VerifyDataConfig
from seqtrain.data.batching import Plan
from seqtrain.data.dataset import IterationOptions
from seqtrain.data.text import Lines
from seqtrain.data.tokens import IntArray, TokenTable
from seqtrain.errors import ConfigError
from seqtrain.tasks.text import TextTask
from seqtrain.verification import figures
from seqtrain.verification.examples import (
    Example,
    Found,
    Limits,
    find_known,
    find_lines,
    find_pairs,
    texts_of_lines,
    texts_of_tokens,
)
from seqtrain.verification.figures import BatchFigures, Overlap, PairFigures, SideFigures
from seqtrain.verification.lines import Marks, count_unknown, first_line, marks_of_text, marks_of_tokens, pair_digests

logger = logging.getLogger(__name__)

TRAIN = "train"


@dataclass(frozen=True, kw_only=True)
class SplitReport:
    """What there is to say of one split.

    Attributes:
        name: Of the split.
        sides: A language each.
        pairs: None for a text in one language.
        overlap: With train; None for train itself, and where there is none.
        batches: Of an epoch.
        examples: Lines to look at.
    """

    name: str
    sides: list[SideFigures]
    pairs: PairFigures | None
    overlap: Overlap | None
    batches: BatchFigures
    examples: list[Example]


@dataclass(frozen=True, kw_only=True)
class DataReport:
    """What there is to say of a corpus.

    Attributes:
        data: Its folder.
        form: "text" or "data-bin".
        tokenizers: The kind of tokenizer of each language.
        vocabularies: The number of symbols of each language's vocabulary.
        splits: train and valid first.
    """

    data: str
    form: str
    tokenizers: dict[str, str]
    vocabularies: dict[str, int]
    splits: list[SplitReport] = field(default_factory=list)


def run(config: VerifyDataConfig, _job: Job) -> None:
    """Print the report."""
    from seqtrain.assemble import build_task
    from seqtrain.console import configure_logging, print_result
    from seqtrain.verification.data_tables import print_report

    configure_logging()
    task = build_task(config.task)
    if not isinstance(task, TextTask):
        raise ConfigError(f"task={config.task._name} has no text to report on")
    task.setup()
    report = DataReporter(task, config).report()
    if config.json:
        print_result(json.dumps(dataclasses.asdict(report), ensure_ascii=False, indent=1))
    else:
        print_report(report)


class DataReporter:
    """Reads the splits of a task one after the other, and keeps of train what the others are compared with."""

    def __init__(self, task: TextTask, config: VerifyDataConfig) -> None:
        self._task = task
        self._config = config
        self._limits = Limits(config.num_shown, config.max_length_ratio)
        self._train: list[IntArray] = []  # digests by language, then of the pairs

    def report(self) -> DataReport:
        """The report on all splits.

        Raises:
            DataError: A file is missing or malformed.
        """
        task = self._task
        named = list(zip(task.layout.languages, task.codecs, strict=True))
        report = DataReport(
            data=task.config.data,
            form="data-bin" if task.is_data_bin else "text",
            tokenizers={language: codec.tokenizer.kind.name for language, codec in named},
            vocabularies={language: len(codec.vocabulary) for language, codec in named},
        )
        for split in task.splits():
            report.splits.append(self._report_split(split))
        return report

    def _report_split(self, split: str) -> SplitReport:
        logger.info("reading %s", split)
        task = self._task
        tables = task.load_tables(split)
        lines = None if task.is_data_bin else task.lines(split)
        marks = self._marks(tables, lines)
        lengths = [table.lengths for table in tables]
        found = [
            one
            for side, (mark, sizes) in enumerate(zip(marks, lengths, strict=True))
            for one in find_lines(mark, sizes, side, self._limits)
        ]
        if len(marks) > 1:
            found += find_pairs(marks, lengths, self._limits)
        overlap, known = self._compare_with_train(split, marks)
        found += known
        sides = zip(task.layout.languages, marks, lengths, tables, strict=True)
        return SplitReport(
            name=split,
            sides=[figures.side_figures(name, mark, sizes, count_unknown(table)) for name, mark, sizes, table in sides],
            pairs=self._pairs(marks, lengths) if len(marks) > 1 else None,
            overlap=overlap,
            batches=self._batches(split),
            examples=self._examples(found, tables, lines),
        )

    def _marks(self, tables: Sequence[TokenTable], lines: Sequence[Lines] | None) -> list[Marks]:
        if lines is not None:
            return [marks_of_text(side) for side in lines]
        return [marks_of_tokens(table, codec) for table, codec in zip(tables, self._task.codecs, strict=True)]

    def _pairs(self, marks: Sequence[Marks], lengths: Sequence[IntArray]) -> PairFigures:
        source, target = marks
        uneven = figures.unevenness(*lengths) > self._limits.max_ratio
        return PairFigures(
            num_duplicates=int(figures.repeats(pair_digests(source.digests, target.digests)).sum()),
            num_copies=int(figures.copies(source, target).sum()),
            median_ratio=figures.median_ratio(*lengths),
            num_uneven=int(uneven.sum()),
        )

    def _compare_with_train(self, split: str, marks: Sequence[Marks]) -> tuple[Overlap | None, list[Found]]:
        """What a split has in common with train, and examples of it; of train itself only note what it is."""
        digests = [mark.digests for mark in marks]
        if len(digests) > 1:
            digests.append(pair_digests(digests[0], digests[1]))
        if split == TRAIN:
            self._train = digests
        if split == TRAIN or not self._train:
            return None, []
        known = [figures.is_in(mine, trained) for mine, trained in zip(digests, self._train, strict=True)]
        counts = [int(flags.sum()) for flags in known]
        languages = self._task.layout.languages
        overlap = Overlap(
            lines=dict(zip(languages, counts, strict=False)), pairs=counts[-1] if len(languages) > 1 else None
        )
        sides = [(0,), (1,), (0, 1)]
        found = [
            one for flags, side in zip(known, sides, strict=False) for one in find_known(flags, side, self._limits)
        ]
        return overlap, found

    def _batches(self, split: str) -> BatchFigures:
        dataset = self._task.dataset(split)
        options = IterationOptions(batching=self._config.batching, max_positions=self._task.max_positions)
        return figures.batch_figures(dataset.lengths, Plan(dataset.lengths, options))

    def _examples(
        self, found: Sequence[Found], tables: Sequence[TokenTable], lines: Sequence[Lines] | None
    ) -> list[Example]:
        task = self._task
        texts: list[dict[int, str]] = []
        for side, table in enumerate(tables):
            numbers = {one.number for one in found if side in one.sides}
            if lines is not None:
                texts.append(texts_of_lines(lines[side], numbers))
            else:
                texts.append(texts_of_tokens(table, task.codecs[side], numbers))
        first = 1 if lines is None else first_line(lines[0])
        return [
            Example(
                what=one.what,
                language=task.layout.languages[one.sides[0]] if len(one.sides) == 1 else "",
                line=first + one.number,
                texts=[texts[side][one.number] for side in one.sides],
            )
            for one in found
        ]
