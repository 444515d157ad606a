"""What processes tell each other."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from seqtrain.errors import TrainingError
from seqtrain.training.distributed import SingleProcess, collective, require_same, sum_by_name
from tests.unit.training.processes import joined_processes, run_in_processes


def talk(folder: Path) -> dict[str, Any]:
    with joined_processes() as processes:
        rank = processes.rank
        built = processes.first_then_others(lambda: _build(folder))
        return {
            "sum": processes.sum([rank + 1, 0.5]),
            "max": processes.max([rank, -rank]),
            "gather": processes.gather({"rank": rank, "text": "x" * 10 * rank}),
            "tensors": torch.cat(processes.gather_tensor(torch.tensor([float(rank)]))).tolist(),
            "first": processes.from_first("the first" if rank == 0 else "not asked"),
            "any": (processes.any(rank == 1), processes.any(False)),
            "names": sum_by_name(processes, {"all": 1.0, f"only {rank}": math.inf if rank else 2.0}),
            "built": built,
        }


def _build(folder: Path) -> bool:
    """Whether this process is the one that had to make the file."""
    existed = (folder / "made").exists()
    (folder / "made").touch()
    return not existed


def test_all_processes_hear_the_same(tmp_path: Path) -> None:
    answers = run_in_processes(talk, 3, tmp_path)
    for rank, answer in enumerate(answers):
        assert answer == {
            "sum": [6.0, 1.5],
            "max": [2.0, 0.0],
            "gather": [{"rank": other, "text": "x" * 10 * other} for other in range(3)],
            "tensors": [0.0, 1.0, 2.0],
            "first": "the first",
            "any": (True, False),
            "names": {"all": 3.0, "only 0": 2.0, "only 1": math.inf, "only 2": math.inf},
            "built": rank == 0,
        }


def test_one_process_is_the_same_interface() -> None:
    process = SingleProcess()
    assert (process.rank, process.world_size, process.is_first) == (0, 1, True)
    assert process.sum([1, 2.5]) == process.max([1, 2.5]) == [1, 2.5]
    assert process.gather({"a": 1}) == [{"a": 1}]
    assert process.from_first("x") == "x"
    assert (process.any(True), process.any(False)) == (True, False)


def compare_vocabularies() -> str:
    with joined_processes() as processes:
        try:
            require_same(processes, {"config": "same", "vocabulary": f"of {min(processes.rank, 1)}"})
        except TrainingError as error:
            return str(error)
        return "no error"


def test_another_vocabulary_in_one_process_is_named_in_all() -> None:
    expected = (
        "process 1 has another vocabulary than process 0\nstart all processes with the same command, code and files"
    )
    assert run_in_processes(compare_vocabularies, 3) == [expected] * 3


def lose_the_other() -> str:
    with joined_processes() as processes:
        if processes.rank == 1:
            os._exit(0)
        try:
            processes.sum([1.0])
        except TrainingError as error:
            return str(error.remedy)
        return "no error"


def test_a_process_that_is_gone_ends_the_others_with_a_message() -> None:
    with pytest.raises(AssertionError) as raised:  # the one that is gone gives no answer
        run_in_processes(lose_the_other, 2)
    assert "process 1:\nended without an answer" in str(raised.value)
    assert "no error" not in str(raised.value)


def test_errors_of_a_model_are_not_taken_for_those_of_other_processes() -> None:
    with pytest.raises(RuntimeError, match="shapes"), collective():
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    with pytest.raises(TrainingError, match="another process of this run ended"), collective():
        raise RuntimeError("[gloo/transport/tcp/pair.cc:537] Read error: Connection reset by peer")
    with pytest.raises(TrainingError, match="another process of this run ended"), collective():
        raise torch.distributed.DistBackendError("NCCL error")
