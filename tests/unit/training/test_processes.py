from __future__ import annotations

import os
import warnings

import pytest

from tests.unit.training.processes import joined_processes, run_in_processes


def add_ranks(addend: int) -> list[float]:
    with joined_processes() as processes:
        return processes.sum([processes.rank + addend])


def fail_in_one(how: str) -> None:
    if os.environ["RANK"] == "1":
        if how == "dies":
            os._exit(3)
        warnings.warn("one that nobody expects", UserWarning, stacklevel=1)


def test_each_process_answers_in_the_order_of_the_ranks() -> None:
    assert run_in_processes(add_ranks, 2, 10) == [[21.0], [21.0]]


@pytest.mark.parametrize(("how", "message"), [("dies", "ended without an answer"), ("warns", "nobody expects")])
def test_the_failure_of_one_process_is_told(how: str, message: str) -> None:
    with pytest.raises(AssertionError, match=rf"process 1:\n(.|\n)*{message}"):
        run_in_processes(fail_in_one, 2, how)
