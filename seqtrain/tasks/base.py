"""What a task promises to the rest of seqtrain: the data, its vocabularies, a step, a generator, its measures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqtrain.config import CHANGES_NOTHING, MISSING, PluginConfig

if TYPE_CHECKING:
    import numpy as np
    from torch.optim import Optimizer

    from seqtrain.config.root import GenerationConfig
    from seqtrain.criterions.base import LossOutput
    from seqtrain.data.batch import Batch
    from seqtrain.data.dataset import Dataset, IterationOptions
    from seqtrain.data.loader import BatchIterator
    from seqtrain.data.vocabulary import Vocabulary
    from seqtrain.generation.generator import Generator
    from seqtrain.models.base import Model


@dataclass(kw_only=True)
class TaskConfig(PluginConfig):
    """What every task can be told."""

    data: str = field(default=MISSING, metadata=CHANGES_NOTHING)
    """The folder of the data: raw text or a data-bin folder. demo:numbers is a corpus that seqtrain makes itself."""


class Task(ABC):
    """The base of all tasks: built with its config, which touches no file.

    After `setup` (from the data) or `load_assets` (from a checkpoint) the vocabularies are there.

    Attributes:
        source_vocabulary: Of the sources; None where there are none.
        target_vocabulary: Of the targets.
    """

    source_vocabulary: Vocabulary | None
    target_vocabulary: Vocabulary

    def __init__(self, config: Any) -> None:
        self.config = config
        self.source_vocabulary = None
        self._datasets: dict[str, Dataset] = {}

    # Vocabularies and data

    @abstractmethod
    def setup(self) -> None:
        """Make tokenizer and vocabularies ready, from the data.

        Raises:
            DataError: The data folder is missing, empty or malformed.
        """

    @abstractmethod
    def save_assets(self, folder: Path) -> None:
        """Write vocabularies and tokenizer into a checkpoint folder: all that generation needs beside the weights."""

    @abstractmethod
    def load_assets(self, folder: Path) -> None:
        """Take vocabularies and tokenizer from a checkpoint folder instead of the data.

        Raises:
            CheckpointError: A file is missing or malformed.
        """

    @abstractmethod
    def load_dataset(self, split: str) -> Dataset:
        """Read a split: train, valid, test, or any other that has files.

        Raises:
            DataError: There is no such split, or it is malformed.
        """

    def dataset(self, split: str) -> Dataset:
        """A split, read when it is first asked for."""
        if split not in self._datasets:
            self._datasets[split] = self.load_dataset(split)
        return self._datasets[split]

    @property
    def max_positions(self) -> tuple[int, int]:
        """The longest source and target that the task takes, in tokens, the end symbol included."""
        return (2**31 - 1, 2**31 - 1)

    def get_batch_iterator(self, dataset: Dataset, options: IterationOptions) -> BatchIterator:
        """One epoch of updates, each a list of this rank's micro-batches."""
        from seqtrain.data.loader import BatchIterator

        return BatchIterator(dataset, options)

    # Steps

    def train_step(
        self, batch: Batch, model: Model, criterion: Callable[[Model, Batch], LossOutput], optimizer: Optimizer
    ) -> LossOutput:
        """Add the gradient of one micro-batch to the parameters' gradients.

        The criterion that is handed in runs inside the module that distributed training wraps, under the run's
        precision; a task that makes several losses calls it several times.
        """
        output = criterion(model, batch)
        output.loss_sum.backward()
        return output

    def valid_step(self, batch: Batch, model: Model, criterion: Callable[[Model, Batch], LossOutput]) -> LossOutput:
        """The loss of one validation batch; the caller has switched gradients off."""
        return criterion(model, batch)

    # Generation and measures

    def build_generator(self, models: Sequence[Model], config: GenerationConfig) -> Generator:
        """What writes with trained models (several: an ensemble); see `seqtrain.generation`.

        Raises:
            ConfigError: The task generates nothing.
        """
        from seqtrain.errors import ConfigError

        raise ConfigError(f"the task {self.config._name} generates no text")

    def inference_dataset(self, lines: Sequence[str], targets: Sequence[str] | None = None) -> Dataset:
        """The examples that lines of text make, in their order: the inputs of a generator.

        Args:
            lines: Sources of a translation, beginnings of a text for a language model.
            targets: Their references, where they are to be scored or forced.
        """
        from seqtrain.errors import ConfigError

        raise ConfigError(f"the task {self.config._name} takes no lines of text")

    def decode(self, tokens: np.ndarray) -> str:
        """The text that target tokens (T,) stand for, without special symbols, tokenization undone."""
        from seqtrain.errors import ConfigError

        raise ConfigError(f"the task {self.config._name} has no text")

    def references(self, split: str) -> list[str] | None:
        """The target text of a split, in its order, as `measure_text` wants it; None where there is none."""
        return None

    def measure_text(self, hypotheses: Sequence[str], references: Sequence[str]) -> dict[str, float]:
        """The measures of decoded text against its references, by name: bleu, chrf."""
        return {}

    def measure_sums(self, sums: dict[str, float]) -> dict[str, float]:
        """Measures made from the criterion's sums over a split, beside loss and nll_loss.

        Args:
            sums: `loss`, `nll_loss` and what else the criterion logged, in nats, with `sample_size`, `num_tokens` and
                `num_sentences`.
        """
        return {}
