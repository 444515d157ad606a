"""The trainer stops where it should and goes on as if it had never stopped."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from seqtrain.config.root import CheckpointConfig, LoggingConfig, TrainBatchingConfig, TrainConfig, TrainingConfig
from seqtrain.config.root import ValidationConfig as Validation
from seqtrain.criterions.cross_entropy import CrossEntropy, CrossEntropyConfig
from seqtrain.data.batch import Batch
from seqtrain.errors import ConfigError, TrainingError
from seqtrain.lr_schedulers.inverse_sqrt import InverseSqrt, InverseSqrtConfig
from seqtrain.testing.fakes import TinyModel, TinyTask
from seqtrain.training.distributed import SingleProcess
from seqtrain.training.keeper import CheckpointKeeper, KeepPolicy
from seqtrain.training.loop import Surroundings, Trainer
from seqtrain.training.precision import MixedPrecision
from seqtrain.training.progress import Display
from seqtrain.training.randomness import seed_everything
from seqtrain.training.recorder import Outputs
from seqtrain.training.reduction import LocalSum
from seqtrain.training.rows import RowsFile, rewind
from seqtrain.training.run_folder import RunPaths
from seqtrain.training.saving import Saver
from seqtrain.training.signals import SharedStop, StopRequest
from seqtrain.training.step import Learner, TrainableModule
from seqtrain.training.validation import Validator
from seqtrain.training.weights import named_tensors

CPU = torch.device("cpu")


class DropoutModel(TinyModel):
    """Draws random numbers in training, so that a run that draws others does not go unnoticed."""

    def features(self, source_tokens: Tensor, source_lengths: Tensor, previous_tokens: Tensor) -> Tensor:
        features = super().features(source_tokens, source_lengths, previous_tokens)
        return torch.nn.functional.dropout(features, 0.2, self.training)


class StopAfter(StopRequest):
    """A stop that is asked for when it was looked at so many times: at any point of a run."""

    def __init__(self, num_looks: int) -> None:
        super().__init__()
        self.num_looks = num_looks

    def __bool__(self) -> bool:
        self.num_looks -= 1
        if self.num_looks <= 0:
            self.signal_name = "SIGTERM"
        return super().__bool__()


@dataclass
class Run:
    """The pieces of a run in a folder, made anew at each start as a new process would."""

    folder: Path
    config: TrainConfig
    stop: StopRequest = field(default_factory=StopRequest)
    break_batch: Callable[[Batch], None] = lambda _: None

    def start(self) -> tuple[Trainer, str]:
        seed_everything(self.config.training.seed, "initial weights")
        task = TinyTask(num_examples=40)
        module = TrainableModule(DropoutModel(task), CrossEntropy(CrossEntropyConfig(), task))
        optimizer = torch.optim.AdamW(module.parameters(), lr=0.05)
        learner = Learner(
            task=task,
            module=module,
            optimizer=optimizer,
            precision=MixedPrecision(torch.float32, CPU),
            reduction=LocalSum(module),
            processes=SingleProcess(),
            device=CPU,
        )
        shared_stop = SharedStop(self.stop, learner.processes)
        metrics = RowsFile(self.folder / "metrics.jsonl")
        limits = (100, 100)
        validator = Validator(
            losses=learner,
            processes=learner.processes,
            batching=self.config.batching,
            max_positions=limits,
            decode=None,
            must_stop=lambda: shared_stop.agree() is None or bool(shared_stop),
        )
        checkpoint = self.config.checkpoint
        keeper = CheckpointKeeper(self.folder, KeepPolicy(checkpoint.keep_last, checkpoint.keep_best, maximize=False))
        trainer = Trainer(
            self.config,
            Saver(learner, InverseSqrt(InverseSqrtConfig(warmup_updates=4), optimizer), keeper, config_yaml=""),
            Surroundings(outputs=Outputs([metrics], Display()), stop=shared_stop, validator=validator),
            max_positions=limits,
        )
        trainer.state.micro_batches_per_update = self.config.training.update_freq
        if (newest := keeper.newest_intact()) is not None:
            trainer.resume(newest)
        rewind(RunPaths(self.folder), trainer.state)
        return trainer, trainer.fit()

    def rows(self, split: str) -> list[Mapping[str, Any]]:
        lines = (self.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        return [
            {key: value for key, value in row.items() if key not in {"tokens_per_second", "mfu"}}
            for row in rows
            if row["split"] == split
        ]


def config(**training: Any) -> TrainConfig:
    return TrainConfig(
        training=TrainingConfig(**{"max_updates": 17, "update_freq": 2, "clip_norm": 1.0, **training}),
        batching=TrainBatchingConfig(max_tokens=24, required_batch_size_multiple=1, num_prefetch=2),
        validation=Validation(interval_updates=5),
        checkpoint=CheckpointConfig(save_interval_updates=3),
        logging=LoggingConfig(interval_updates=4),
    )


def test_a_run_that_was_stopped_anywhere_ends_as_one_that_never_was(tmp_path: Path) -> None:
    whole = Run(tmp_path / "whole", config())
    whole.folder.mkdir()
    expected, reason = whole.start()
    assert reason == "training.max_updates=17"

    for num_looks in (1, 2, 7, 11, 23, 40, 57):  # before the first update, between updates, inside validations
        run = Run(tmp_path / f"stopped{num_looks}", config(), StopAfter(num_looks))
        run.folder.mkdir()
        _, reason = run.start()
        while reason == "SIGTERM":
            run.stop = StopAfter(num_looks + 40)  # enough for a whole validation: each start gets further
            trainer, reason = run.start()
        tensors = named_tensors(expected.learner.module)
        for name, tensor in named_tensors(trainer.learner.module).items():
            assert torch.equal(tensor, tensors[name]), f"{name} after stops every {num_looks} looks"
        assert run.rows("train") == whole.rows("train")
        assert run.rows("valid") == whole.rows("valid")
        assert {**trainer.state.state_dict(), "training_seconds": 0.0} == {
            **expected.state.state_dict(),
            "training_seconds": 0.0,
        }


def test_a_finished_run_does_nothing_and_one_with_more_updates_goes_on(tmp_path: Path) -> None:
    settings = config()
    settings.validation = Validation(interval_updates=17)  # the last update is validated, saved and logged at once
    Run(tmp_path, settings).start()
    before = (tmp_path / "metrics.jsonl").read_text(encoding="utf-8")
    trainer, reason = Run(tmp_path, config()).start()
    assert (reason, trainer.state.num_updates) == ("training.max_updates=17", 17)
    assert (tmp_path / "metrics.jsonl").read_text(encoding="utf-8") == before
    trainer, _ = Run(tmp_path, config(max_updates=20)).start()
    assert trainer.state.num_updates == 20


def test_epochs_are_counted_and_limit_a_run(tmp_path: Path) -> None:
    trainer, reason = Run(tmp_path, config(max_updates=None, max_epochs=2)).start()
    assert reason == "training.max_epochs=2"
    assert (trainer.state.epoch, trainer.state.next_batch) == (3, 0)
    assert trainer.state.num_sentences == 2 * 40


def test_patience_ends_a_run_that_no_longer_improves(tmp_path: Path) -> None:
    settings = config(max_updates=1000)
    settings.validation = Validation(interval_updates=1, interval_epochs=None, patience=2)
    trainer, reason = Run(tmp_path, settings).start()
    assert reason == "validation.patience=2"
    assert trainer.state.num_validations_since_best == 2
    best = min(row["loss"] for row in Run(tmp_path, settings).rows("valid"))
    assert trainer.state.best_metric == best


def test_the_rate_of_an_update_is_the_schedule_of_the_one_before(tmp_path: Path) -> None:
    settings = config(max_updates=6)
    settings.logging = LoggingConfig(interval_updates=1)
    run = Run(tmp_path, settings)
    run.start()
    expected = [0.05 * n / 4 for n in (1, 2, 3)] + [0.05 * (4 / n) ** 0.5 for n in (4, 5, 6)]
    assert [row["learning_rate"] for row in run.rows("train")] == pytest.approx(expected)


def test_a_model_that_is_no_number_ends_the_run_before_it_is_saved(tmp_path: Path) -> None:
    settings = config(max_updates=8)
    settings.checkpoint = CheckpointConfig(save_interval_updates=4)
    settings.validation = Validation(interval_epochs=None)
    run = Run(tmp_path, settings)
    trainer, _ = run.start()
    with torch.no_grad():
        next(trainer.learner.module.parameters()).fill_(torch.nan)
    trainer.config.training.max_updates = 12
    with pytest.raises(TrainingError, match=r"the parameter model\.source_embedding\.weight is not finite"):
        trainer.fit()
    assert (tmp_path / "last").readlink() == Path("update_00000008")


def test_an_unknown_metric_is_told_after_the_run_is_saved(tmp_path: Path) -> None:
    settings = config()
    settings.validation = Validation(interval_updates=5, metric="los")
    with pytest.raises(ConfigError, match=r"validation\.metric=los is not among what was measured: loss") as caught:
        Run(tmp_path, settings).start()
    assert caught.value.remedy == "did you mean loss?"
    assert (tmp_path / "last").readlink() == Path("update_00000005")


def test_what_is_left_out_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="seqtrain")
    settings = config(max_updates=1)
    settings.batching.max_tokens = 5
    Run(tmp_path, settings).start()
    assert any("examples are left out" in message for message in caplog.messages)
