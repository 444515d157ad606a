"""Real processes for tests of what several do together: as torchrun starts them, on one machine, over gloo."""

from __future__ import annotations

import multiprocessing
import os
import socket
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

import torch

from seqtrain.config.ranks import this_rank
from seqtrain.config.root import DistributedConfig
from seqtrain.training.distributed import Processes, join_processes

__all__ = ["joined_processes", "run_in_processes"]


def run_in_processes(
    function: Callable[..., Any], num_processes: int, *arguments: Any, limit_seconds: float = 120.0
) -> list[Any]:
    """Call a function of a module's top level in new processes, which find each other by their environment.

    Args:
        function: Called with the arguments in each process; a warning is an error there, too.
        num_processes: How many.
        arguments: The same for all.
        limit_seconds: All are killed after so long.

    Returns:
        What each returned, in the order of their ranks.

    Raises:
        AssertionError: Some failed: with their tracebacks, or that they ended or hung without one.
    """
    context = multiprocessing.get_context("spawn")
    environment = {"WORLD_SIZE": str(num_processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
    processes: list[BaseProcess] = []
    connections: list[Connection] = []
    try:
        for rank in range(num_processes):
            ours, theirs = context.Pipe()
            own = {**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)}
            process: BaseProcess = context.Process(target=_call, args=(theirs, own, function, arguments))
            process.start()
            theirs.close()
            processes.append(process)
            connections.append(ours)
        end = time.monotonic() + limit_seconds
        answers = [_answer(connection, end) for connection in connections]
    finally:
        for process in processes:
            process.kill()
            process.join()
        for connection in connections:
            connection.close()
    failures = [f"process {rank}:\n{text}" for rank, (text, _) in enumerate(answers) if text]
    if failures:
        raise AssertionError("\n".join(failures))
    return [value for _, value in answers]


@contextmanager
def joined_processes(timeout_seconds: float = 60.0) -> Iterator[Processes]:
    """The processes of `run_in_processes`, for the function that runs in each of them."""
    processes = join_processes(this_rank(), DistributedConfig(timeout_seconds=timeout_seconds), torch.device("cpu"))
    yield processes
    processes.close()


def _answer(connection: Connection, end: float) -> tuple[str, Any]:
    """The failure of a process, or what it returned."""
    if not connection.poll(max(0.0, end - time.monotonic())):
        return "did not end in time", None
    try:
        answer: tuple[str, Any] = connection.recv()
    except EOFError:
        return "ended without an answer", None
    return answer


def _call(connection: Connection, environment: dict[str, str], function: Callable[..., Any], arguments: Any) -> None:
    os.environ.update(environment)
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    try:
        connection.send(("", function(*arguments)))
    except BaseException:  # noqa: BLE001, RUF100 - whatever it was, the test shall show it
        connection.send((traceback.format_exc(), None))
        return
    connection.poll(None)  # a tensor lies in memory of this process until the other one has taken it


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
