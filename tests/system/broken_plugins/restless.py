"""task=restless and task=beginner: translation whose batches are not those that a resumed run needs."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass

from seqtrain.data.dataset import Dataset, IterationOptions
from seqtrain.data.loader import BatchIterator
from seqtrain.tasks import register_task
from seqtrain.tasks.translation import TranslationConfig, TranslationTask


@dataclass(kw_only=True)
class RestlessConfig(TranslationConfig):
    """Translation in an order that the clock decides."""


@register_task("restless", RestlessConfig)
class Restless(TranslationTask):
    """Draws the order of each epoch anew."""

    def get_batch_iterator(self, dataset: Dataset, options: IterationOptions) -> BatchIterator:
        """See `Task`."""
        return super().get_batch_iterator(dataset, dataclasses.replace(options, seed=time.time_ns() % 2**32))


@dataclass(kw_only=True)
class BeginnerConfig(TranslationConfig):
    """Translation that begins each epoch from its first batch, wherever the run was left."""


@register_task("beginner", BeginnerConfig)
class Beginner(TranslationTask):
    """Passes over where in the epoch it is to begin."""

    def get_batch_iterator(self, dataset: Dataset, options: IterationOptions) -> BatchIterator:
        """See `Task`."""
        return super().get_batch_iterator(dataset, dataclasses.replace(options, first_batch=0))
