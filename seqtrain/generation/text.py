"""Text in, text out: a task's lines or a dataset through a generator, in batches, in the order of the input."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Generator as PythonGenerator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from seqtrain.data.dataset import IterationOptions
from seqtrain.errors import ConfigError
from seqtrain.generation.generator import Generator, Hypothesis, Scorer, evaluating
from seqtrain.generation.threads import side_by_side

if TYPE_CHECKING:
    from seqtrain.config.root import BatchingConfig, GenerationConfig
    from seqtrain.data.batch import Batch
    from seqtrain.data.dataset import Dataset
    from seqtrain.models.base import Model
    from seqtrain.tasks.base import Task

logger = logging.getLogger(__name__)

Written = list[list[Hypothesis]]


@dataclass(frozen=True)
class TextHypothesis:
    """What a model wrote for one input, as text.

    Attributes:
        text: Tokenization undone. A language model's holds the given beginning too.
        score: What hypotheses of one input are ranked by; minus infinity where there is none.
        tokens: (T,) int64 on the CPU, the end symbol included; of a language model only what follows the beginning.
        positional_scores: (T,) float32 on the CPU, the log-probability (natural) of each token.
    """

    text: str
    score: float
    tokens: Tensor
    positional_scores: Tensor


def no_hypothesis() -> TextHypothesis:
    """Stands for a text that could not be written."""
    return TextHypothesis("", -math.inf, torch.empty(0, dtype=torch.long), torch.empty(0))


class TextGenerator:
    """Writes text with trained models.

    Args:
        task: Knows the text.
        models: One model, or several that decide together.
        generation: How to write.
        batching: The limits of a batch.
        device: Where the models are.
        autocast: Makes the context in which the models run, which sets the number format.
    """

    def __init__(
        self,
        task: Task,
        models: Sequence[Model],
        *,
        generation: GenerationConfig,
        batching: BatchingConfig,
        device: torch.device,
        autocast: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self.task = task
        self.models = models
        self.generation = generation
        self.batching = batching
        self.device = device
        self.autocast = autocast
        self.generator: Generator = task.build_generator(models, generation)

    def translate(self, lines: Sequence[str]) -> list[str]:
        """The best text for each line."""
        return [hypotheses[0].text for hypotheses in self.generate_lines(lines)]

    def continue_(self, lines: Sequence[str]) -> list[str]:
        """Each line and the best that a language model wrote after it."""
        return self.translate(lines)

    def generate_lines(self, lines: Sequence[str], targets: Sequence[str] | None = None) -> list[list[TextHypothesis]]:
        """Write for lines of text.

        Args:
            lines: Sources of a translation, beginnings of a text for a language model.
            targets: Their references, of which `generation.prefix_size` tokens are forced.

        Returns:
            `generation.nbest` hypotheses for each line, best first, in the order of the lines. What could not be
            written is an empty text.

        Raises:
            ConfigError: A prefix is to be forced, and there are no targets.
        """
        if self.generation.prefix_size > 0 and targets is None:
            raise ConfigError(
                f"generation.prefix_size={self.generation.prefix_size}, but there are no references to take it from",
                remedy="give references, or leave generation.prefix_size at 0",
            )
        return self.generate_dataset(self.task.inference_dataset(lines, targets))

    def generate_dataset(self, dataset: Dataset) -> list[list[TextHypothesis]]:
        """Write for the examples of a dataset; see `generate_lines`."""
        return self._run(self.generator, dataset, num_hypotheses=self.generation.nbest)

    def score_lines(self, lines: Sequence[str], targets: Sequence[str]) -> list[TextHypothesis]:
        """The score of each target: the mean log-probability of its tokens."""
        return self.score_dataset(self.task.inference_dataset(lines, targets))

    def score_dataset(self, dataset: Dataset) -> list[TextHypothesis]:
        """The score of each example's target: the mean log-probability of its tokens."""
        scorer = Scorer(self.models, self.task.target_vocabulary)
        return [hypotheses[0] for hypotheses in self._run(scorer, dataset, num_hypotheses=1)]

    def _run(self, generator: Generator, dataset: Dataset, *, num_hypotheses: int) -> list[list[TextHypothesis]]:
        results: list[list[TextHypothesis]] = [[] for _ in range(len(dataset))]
        self._warn_of_long_inputs(generator, dataset)
        with closing(self._generated(generator, self._batches(generator, dataset))) as generated:
            for batch, hypotheses in generated:
                for row, (example, found) in enumerate(zip(batch.ids.tolist(), hypotheses, strict=True)):
                    results[example] = [self._text(generator, one, batch.previous_tokens[row]) for one in found]
        for hypothesis_list in results:
            hypothesis_list.extend(no_hypothesis() for _ in range(num_hypotheses - len(hypothesis_list)))
        return results

    def _generated(
        self, generator: Generator, batches: Iterator[Batch]
    ) -> PythonGenerator[tuple[Batch, Written], None, None]:
        """Each batch and what was written for it.

        A step has few and small products, which two threads compute hardly faster than one. So each thread of a CPU
        decodes batches of its own, where the generator allows it. A batch that is alone gets all threads.
        """

        def generate(batch: Batch) -> tuple[Batch, Written]:
            with self.autocast():
                return batch, generator.generate(batch.to(self.device))

        first = list(islice(batches, 2))
        batches = chain(first, batches)
        num_threads = torch.get_num_threads()
        if len(first) > 1 and num_threads > 1 and self.device.type == "cpu" and generator.is_thread_safe:
            with evaluating(self.models):  # or a thread that is done would switch dropout on for the others
                yield from side_by_side(generate, batches, num_threads=num_threads)
        else:
            yield from map(generate, batches)

    @staticmethod
    def _warn_of_long_inputs(generator: Generator, dataset: Dataset) -> None:
        for side, lengths, limit in zip(
            ("sources", "targets"), dataset.lengths.T, generator.max_positions, strict=True
        ):
            if num_long := int((lengths > limit).sum()):
                logger.warning(
                    "%d of %d %s are longer than the %d tokens that the model reads: what is written for them is empty",
                    num_long,
                    len(dataset),
                    side,
                    limit,
                )

    def _batches(self, generator: Generator, dataset: Dataset) -> Iterator[Batch]:
        """The examples that the model can read, by length, then one by one those that are larger than a batch."""
        planned = _PlannedDataset(dataset, generator.planned_lengths(dataset.lengths))
        max_sentences = min(self.batching.max_sentences or generator.max_sentences, generator.max_sentences)
        batching = replace(self.batching, max_sentences=max_sentences, num_prefetch=0)
        options = IterationOptions(batching=batching, max_positions=generator.max_positions, shuffle=False)
        is_left: np.ndarray = np.all(dataset.lengths <= np.array(generator.max_positions), axis=1)
        for batches in self.task.get_batch_iterator(planned, options):
            for batch in batches:
                is_left[batch.ids.numpy()] = False
                yield batch
        for example in np.flatnonzero(is_left):
            yield dataset.collate(np.array([example]))

    def _text(self, generator: Generator, hypothesis: Hypothesis, previous_tokens: Tensor) -> TextHypothesis:
        text = self.task.decode(generator.whole_text(hypothesis, previous_tokens).numpy())
        return TextHypothesis(text, hypothesis.score, hypothesis.tokens, hypothesis.positional_scores)


class _PlannedDataset:
    """A dataset whose examples count with other lengths in the batching plan."""

    def __init__(self, dataset: Dataset, lengths: np.ndarray) -> None:
        self.lengths = self.length_table = lengths
        self._dataset = dataset

    @property
    def fingerprint(self) -> str:
        """See `Dataset`."""
        return self._dataset.fingerprint

    def __len__(self) -> int:
        return len(self._dataset)

    def collate(self, indices: np.ndarray) -> Batch:
        """See `Dataset`."""
        return self._dataset.collate(indices)
