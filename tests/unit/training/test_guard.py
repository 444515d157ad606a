"""Bad updates are survived and counted; a run that has no others ends, and says which batch and layer broke it."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from seqtrain.errors import TrainingError
from seqtrain.testing.fakes import TinyTask
from seqtrain.training.guard import GuardOptions, UpdateGuard, WatchedUpdate
from seqtrain.training.loop import Trainer
from seqtrain.training.skipping import StepOutcome
from seqtrain.training.state import TrainState
from seqtrain.training.weights import named_tensors
from tests.unit.training.poisoned import ALL, NONE, PoisonedRun
from tests.unit.training.processes import joined_processes, run_in_processes

FORMATS = [torch.float32, torch.bfloat16]


def token_of(letter: str) -> int:
    return TinyTask().target_vocabulary.index(letter)


def state_of(trainer: Trainer) -> dict[str, object]:
    return {**trainer.state.state_dict(), "training_seconds": 0.0}


def num_bad(trainer: Trainer) -> int:
    return trainer.state.num_skipped


@pytest.mark.parametrize("forward_too", [True, False], ids=["the loss is bad", "the gradient alone is bad"])
@pytest.mark.parametrize("dtype", FORMATS, ids=["fp32", "bf16"])
def test_a_run_survives_bad_updates_and_counts_them(tmp_path: Path, dtype: torch.dtype, forward_too: bool) -> None:
    trainer, rows = PoisonedRun(tmp_path, token_of("a"), dtype, forward_too).start()
    assert 0 < num_bad(trainer) < 24
    assert trainer.state.num_updates == 24
    assert sum(row["num_skipped"] for row in rows.rows) == num_bad(trainer)
    assert all(math.isfinite(row["loss"]) for row in rows.rows if row["num_skipped"] < 4)
    assert all(torch.isfinite(tensor).all() for tensor in named_tensors(trainer.learner.module).values())


@pytest.mark.parametrize("dtype", FORMATS, ids=["fp32", "bf16"])
def test_a_run_that_is_resumed_between_bad_updates_ends_in_the_same_bits(tmp_path: Path, dtype: torch.dtype) -> None:
    expected, _ = PoisonedRun(tmp_path / "whole", token_of("a"), dtype).start()
    for max_updates in range(2, 26, 2):
        trainer, _ = PoisonedRun(tmp_path / "parts", token_of("a"), dtype, max_updates=min(max_updates, 24)).start()
    tensors = named_tensors(expected.learner.module)
    for name, tensor in named_tensors(trainer.learner.module).items():
        assert torch.equal(tensor, tensors[name]), name
    counters = ("num_skipped", "num_skipped_in_a_row", "num_updates", "epoch", "next_batch")
    assert {name: state_of(trainer)[name] for name in counters} == {name: state_of(expected)[name] for name in counters}


def test_the_schedule_moves_on_over_an_update_without_a_step(tmp_path: Path) -> None:
    poisoned, _ = PoisonedRun(tmp_path / "poisoned", token_of("a")).start()
    sound, _ = PoisonedRun(tmp_path / "sound", NONE).start()
    assert num_bad(sound) == 0
    assert poisoned.lr_scheduler.lr == sound.lr_scheduler.lr
    assert poisoned.state.num_sentences == sound.state.num_sentences


def break_after(folder: Path, num_good: int, *, forward_too: bool = True) -> TrainingError:
    """What a run says that makes so many good updates, and none then."""
    PoisonedRun(folder, NONE, max_updates=num_good).start()
    trainer, _ = PoisonedRun(folder, ALL, forward_too=forward_too, max_in_a_row=3).trainer()
    with pytest.raises(TrainingError) as caught:
        trainer.fit()
    return caught.value


def test_so_many_in_a_row_end_the_run_and_name_the_layer(tmp_path: Path) -> None:
    error = break_after(tmp_path, num_good=7)
    folder = tmp_path / "bad_batches" / "update_00000010"
    message = str(error.args[0])
    assert message.startswith("3 updates in a row had no finite gradient, the last of them update 10 in epoch 1. ")
    assert "its loss is nan, and the first layer with an output that is not finite is model.fragile" in message
    assert message.endswith(f". See {folder}")
    assert error.exit_status == 1
    assert error.remedy is not None
    assert error.remedy.startswith("lower optimizer.lr")


def test_the_bad_batch_is_written_aside_whole(tmp_path: Path) -> None:
    break_after(tmp_path, num_good=7)
    folder = tmp_path / "bad_batches" / "update_00000010"
    facts = json.loads((folder / "batch_9.json").read_text(encoding="utf-8"))
    expected = {"update": 10, "epoch": 1, "batch": 9, "process": 0, "seed": 1, "loss": "nan", "loss_scale": 1.0}
    assert {name: facts[name] for name in expected} == expected
    tensors = load_file(folder / "batch_9.safetensors")
    again = TinyTask(num_examples=60).dataset("train").collate(tensors["ids"].numpy())
    assert tensors["ids"].tolist() == facts["examples"]
    assert torch.equal(tensors["targets"], again.targets)
    assert again.source_tokens is not None
    assert torch.equal(tensors["source_tokens"], again.source_tokens)


def test_the_last_good_checkpoint_stays(tmp_path: Path) -> None:
    break_after(tmp_path, num_good=7)
    trainer, _ = PoisonedRun(tmp_path, NONE).trainer()
    assert trainer.state.num_updates == 9  # saved at an interval of 3, in the middle of the bad ones
    assert trainer.state.num_skipped_in_a_row == 2
    assert all(torch.isfinite(tensor).all() for tensor in named_tensors(trainer.learner.module).values())


def test_the_count_in_a_row_goes_on_where_a_run_goes_on(tmp_path: Path) -> None:
    break_after(tmp_path, num_good=7)
    with pytest.raises(TrainingError, match="the last of them update 10 "):
        PoisonedRun(tmp_path, ALL, max_in_a_row=3).start()


def test_the_gradient_that_breaks_is_named_where_the_loss_is_finite(tmp_path: Path) -> None:
    message = str(break_after(tmp_path, num_good=7, forward_too=False))
    assert "on the way back the first gradient that is not finite is that of model.fragile" in message
    assert "its loss is nan" not in message


def test_an_outcome_that_arrives_later_is_counted_at_the_same_update_and_before_a_save(tmp_path: Path) -> None:
    trainer, _ = PoisonedRun(tmp_path, NONE).trainer()
    guard = UpdateGuard(trainer.learner, GuardOptions(None, 1, tmp_path, num_behind=2))
    state, counted = TrainState(), []
    for number, is_bad in enumerate([True, True, False, True, False], start=1):
        flag = torch.tensor(is_bad)
        guard.watch(WatchedUpdate(number, 1, number, []), StepOutcome(counts=True, skipped=flag, is_bad=flag))
        guard.count(state)
        counted.append((state.num_skipped, state.num_skipped_in_a_row))
    assert counted == [(0, 0), (0, 0), (1, 1), (2, 2), (2, 0)]
    guard.count(state, is_all=True)
    assert (state.num_skipped, state.num_skipped_in_a_row) == (3, 0)


def test_each_bad_update_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="seqtrain"):
        trainer, _ = PoisonedRun(tmp_path, token_of("a")).start()
    warnings = [message for message in caplog.messages if "its step is left out" in message]
    assert len(warnings) == num_bad(trainer)
    assert warnings[0].endswith("the gradient is not finite, and its step is left out (1 in a row)")


def fail_together(folder: str) -> str:
    """Every batch of the second process is bad; what each process says."""
    with joined_processes() as processes:
        token = ALL if processes.rank == 1 else NONE
        trainer, _ = PoisonedRun(Path(folder), token, max_in_a_row=2, processes=processes).trainer()
        try:
            trainer.fit()
        except TrainingError as error:
            return str(error)
    return "trained"


def test_all_processes_end_together_and_name_the_one_whose_batch_was_bad(tmp_path: Path) -> None:
    first, second = run_in_processes(fail_together, 2, str(tmp_path))
    assert first == second
    assert "2 updates in a row had no finite gradient, the last of them update 2 " in first
    assert "Of its batch 3 (process 1), its loss is nan" in first
    written = sorted(path.name for path in (tmp_path / "bad_batches" / "update_00000002").iterdir())
    assert written == ["batch_3.json", "batch_3.safetensors"]
