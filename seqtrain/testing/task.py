"""What every task promises."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from seqtrain.config.root import BatchingConfig
from seqtrain.criterions import LossOutput
from seqtrain.data.batch import Batch
from seqtrain.data.dataset import IterationOptions
from seqtrain.data.vocabulary import Vocabulary
from seqtrain.errors import DataError
from seqtrain.models import Model
from seqtrain.tasks import Task
from seqtrain.testing.fakes import TinyLanguageModel, TinyModel
from seqtrain.testing.plugin import PluginContract

SPLITS = {"train": 30, "valid": 8, "test": 5}
LANGUAGES = ("en", "de")
WORDS = ("red", "green", "blue", "seven", "houses", "a", "the", "of", "cat", "dogs")


class TaskContract(PluginContract):
    """The suite of a task: its vocabularies, its data, the batches made of them, a step, what a checkpoint keeps."""

    kind: ClassVar[str] = "task"

    def write_data(self, folder: Path) -> None:
        """Write what `task.data` names; override it if the task reads something else.

        Args:
            folder: An empty folder. By default it gets a few lines of words for train, valid and test: `train.en` and
                `train.de`, which are a translation, and the same text once more in `train.txt`.
        """
        generator = random.Random(1)
        for split, num_lines in SPLITS.items():
            lines = [" ".join(generator.choices(WORDS, k=generator.randint(1, 9))) for _ in range(num_lines)]
            for suffix in (*LANGUAGES, "txt"):
                text = "".join(f"{line.upper() if suffix == 'de' else line}\n" for line in lines)
                (folder / f"{split}.{suffix}").write_text(text, encoding="utf-8")

    def settings(self, folder: Path | None = None) -> dict[str, Any]:
        """The overrides, the data in a folder, and nothing written outside of it."""
        folder = Path("folder") if folder is None else folder
        fields = {field.name for field in dataclasses.fields(self.entry().schema)}
        cache = {"cache": str(folder / "cache")} if "cache" in fields else {}
        return {"data": str(folder / "data"), **cache, **super().settings()}

    def task(self, folder: Path) -> Any:
        """A new task, set up from the data, which are written at first."""
        data = folder / "data"
        if not data.exists():
            data.mkdir()
            self.write_data(data)
        task = self.without_setup(folder)
        task.setup()
        return task

    def without_setup(self, folder: Path) -> Any:
        """A new task that has seen no data."""
        task = self.entry().load()(self.config(folder))
        assert isinstance(task, Task), f"{self.name} does not derive from seqtrain.tasks.Task"
        return task

    # Data

    def test_setup_gives_vocabularies(self, tmp_path: Path) -> None:
        """Models are built for them."""
        task = self.task(tmp_path)
        assert len(task.target_vocabulary) > len(SPECIAL)
        assert task.source_vocabulary is None or len(task.source_vocabulary) > len(SPECIAL)

    def test_a_split_is_read_once(self, tmp_path: Path) -> None:
        """`dataset` gives the same object each time."""
        task = self.task(tmp_path)
        assert len(task.dataset("train")) > 0
        assert task.dataset("train") is task.dataset("train")

    def test_a_fingerprint_tells_data_apart(self, tmp_path: Path) -> None:
        """The same data have the same one in another process; other data have another."""
        first, second = self.task(tmp_path), self.task(tmp_path)
        assert first.dataset("train").fingerprint == second.dataset("train").fingerprint
        assert first.dataset("train").fingerprint != first.dataset("valid").fingerprint

    def test_a_missing_folder_is_a_data_error(self, tmp_path: Path) -> None:
        """A person's mistake gets a message, not a traceback."""
        with pytest.raises(DataError):
            self.without_setup(tmp_path / "nowhere").setup()

    def test_a_missing_split_is_a_data_error(self, tmp_path: Path) -> None:
        """Likewise."""
        task = self.task(tmp_path)
        with pytest.raises(DataError):
            task.dataset("no_such_split")

    # Batches

    def test_lengths_come_in_slices(self, tmp_path: Path) -> None:
        """A plan reads the table of lengths in slices; all of it is what `lengths` is."""
        dataset = self.task(tmp_path).dataset("train")
        table, middle = dataset.length_table, len(dataset) // 2
        assert len(table) == len(dataset)
        parts = [table[slice(0, middle)], table[slice(middle, len(dataset))]]
        assert_close(torch.from_numpy(np.concatenate(parts).astype(np.int64)), torch.from_numpy(dataset.lengths))

    def test_batches_are_sound(self, tmp_path: Path) -> None:
        """Shapes, padding and counts agree, and every token is in its vocabulary."""
        task = self.task(tmp_path)
        dataset = task.dataset("train")
        for batch in _batches(task, "train"):
            _check_targets(batch, len(task.target_vocabulary))
            assert_close(_num_tokens_of_rows(batch.targets), torch.from_numpy(dataset.lengths[batch.ids.numpy(), 1]))
            if task.source_vocabulary is not None:
                _check_sources(batch, len(task.source_vocabulary))
            else:
                assert batch.source_tokens is None

    def test_an_epoch_visits_every_example_once(self, tmp_path: Path) -> None:
        """Each in its own order."""
        task = self.task(tmp_path)
        epochs = [_ids(_batches(task, "train", epoch=epoch)) for epoch in (1, 2)]
        for ids in epochs:
            assert sorted(ids) == list(range(len(task.dataset("train"))))
        assert epochs[0] != epochs[1]
        assert epochs[0] == _ids(_batches(task, "train", epoch=1))

    def test_ranks_share_an_epoch(self, tmp_path: Path) -> None:
        """What two processes visit is together what one would."""
        task = self.task(tmp_path)
        shares = [_ids(_batches(task, "train", rank=rank, world_size=2)) for rank in (0, 1)]
        assert sorted(shares[0] + shares[1]) == list(range(len(task.dataset("train"))))

    # Steps

    def test_a_train_step_adds_to_the_gradients(self, tmp_path: Path) -> None:
        """Two micro-batches of an update add up: the same one twice gives twice the gradient."""
        task = self.task(tmp_path)
        model = _model_for(task)
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        batch = next(iter(_batches(task, "train")))
        task.train_step(batch, model, _log_likelihood, optimizer)
        once = [_gradient(parameter) for parameter in model.parameters()]
        task.train_step(batch, model, _log_likelihood, optimizer)
        for parameter, gradient in zip(model.parameters(), once, strict=True):
            assert_close(_gradient(parameter), 2 * gradient)
        assert any(gradient.abs().sum() > 0 for gradient in once)

    def test_a_valid_step_gives_the_loss_without_a_gradient(self, tmp_path: Path) -> None:
        """Validation changes nothing."""
        task = self.task(tmp_path)
        model = _model_for(task)
        with torch.no_grad():
            output = task.valid_step(next(iter(_batches(task, "valid"))), model, _log_likelihood)
        assert torch.isfinite(output.loss_sum)
        assert all(parameter.grad is None for parameter in model.parameters())

    # What a checkpoint keeps

    def test_assets_replace_the_data(self, tmp_path: Path) -> None:
        """A task that loads what another saved has its vocabularies and reads text as it does, without the data."""
        trained = self.task(tmp_path)
        assets = tmp_path / "assets"
        assets.mkdir()
        trained.save_assets(assets)
        loaded = self.without_setup(tmp_path / "elsewhere")
        loaded.load_assets(assets)
        assert loaded.target_vocabulary.fingerprint == trained.target_vocabulary.fingerprint
        assert (loaded.source_vocabulary is None) == (trained.source_vocabulary is None)
        if type(trained).inference_dataset is not Task.inference_dataset:
            lines = [" ".join(WORDS[:4]), WORDS[4]]
            batches = [_all_of(task.inference_dataset(lines)) for task in (trained, loaded)]
            assert torch.equal(batches[0].previous_tokens, batches[1].previous_tokens)

    def test_text_that_is_encoded_and_decoded_is_the_text(self, tmp_path: Path) -> None:
        """`decode` undoes what reading did, for a line that occurs in the training text."""
        task = self.task(tmp_path)
        if type(task).decode is Task.decode or task.references("train") is None:
            pytest.skip("the task has no text")
        reference = task.references("train")[0]
        batch = task.dataset("train").collate(np.arange(1))
        assert task.decode(batch.targets[0].numpy()).strip() == reference.strip()


SPECIAL = (Vocabulary.bos, Vocabulary.pad, Vocabulary.eos, Vocabulary.unk)


def _batches(task: Task, split: str, *, epoch: int = 1, rank: int = 0, world_size: int = 1) -> Iterator[Batch]:
    """This rank's batches of an epoch."""
    options = IterationOptions(
        batching=BatchingConfig(max_tokens=None, max_sentences=4),
        max_positions=task.max_positions,
        epoch=epoch,
        rank=rank,
        world_size=world_size,
    )
    for update in task.get_batch_iterator(task.dataset(split), options):
        yield from update


def _ids(batches: Iterator[Batch]) -> list[int]:
    return [number for batch in batches if not batch.is_filler for number in batch.ids.tolist()]


def _all_of(dataset: Any) -> Batch:
    batch: Batch = dataset.collate(np.arange(len(dataset)))
    return batch


def _num_tokens_of_rows(tokens: Tensor) -> Tensor:
    return tokens.ne(Vocabulary.pad).sum(dim=1)


def _check_targets(batch: Batch, vocabulary_size: int) -> None:
    assert batch.previous_tokens.shape == batch.targets.shape
    assert len(batch) == len(batch.targets)
    positions = batch.targets.flatten().ne(Vocabulary.pad).nonzero().squeeze(-1)
    assert torch.equal(batch.target_positions, positions)
    assert batch.num_tokens == len(positions)
    for tokens in (batch.previous_tokens, batch.targets):
        assert tokens.dtype == torch.int64
        assert int(tokens.min()) >= 0
        assert int(tokens.max()) < vocabulary_size


def _check_sources(batch: Batch, vocabulary_size: int) -> None:
    assert batch.source_tokens is not None
    assert batch.source_lengths is not None
    assert len(batch.source_tokens) == len(batch)
    assert torch.equal(batch.source_lengths, _num_tokens_of_rows(batch.source_tokens)), "padding is on the right"
    assert int(batch.source_tokens.min()) >= 0
    assert int(batch.source_tokens.max()) < vocabulary_size


def _model_for(task: Task) -> Model:
    torch.manual_seed(1)
    return TinyLanguageModel(task) if task.source_vocabulary is None else TinyModel(task)


def _log_likelihood(model: Model, batch: Batch) -> LossOutput:
    """A criterion of no plug-in: cross-entropy."""
    logits = model.forward_batch(batch).flatten(0, 1)[batch.target_positions]
    targets = batch.targets.flatten()[batch.target_positions]
    return LossOutput(torch.nn.functional.cross_entropy(logits, targets, reduction="sum"), batch.num_tokens)


def _gradient(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad.clone()
