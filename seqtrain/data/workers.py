"""Processes that prepare text: fresh interpreters, which know nothing of the process that starts them.

A fork would copy the locks of its threads, and multiprocessing's other ways of starting run the main script again,
which surprises whoever calls seqtrain from a script of their own.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Generic, Self, TypeVar

from seqtrain.data.chunk import Chunk, tokenize_chunk
from seqtrain.data.tokenizers import Tokenizer

Work = TypeVar("Work")
Answer = TypeVar("Answer")


class Worker(Generic[Work, Answer]):
    """One process; used in a `with` block, behind which it is gone.

    Args:
        function: What the process calls with each piece of work.
    """

    def __init__(self, function: Callable[[Work], Answer]) -> None:
        self._connection, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", f"from {__name__} import main; main({theirs.fileno()})"],
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            )
        self._connection.send(function)

    def __enter__(self) -> Self:
        """Nothing to prepare: the constructor has started the process."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Let the process end: it does when there is nothing more to read, and at once if something was raised."""
        if kind is not None:
            self._process.kill()
        self._connection.close()
        self._process.wait()

    def send(self, work: Work) -> None:
        """Give the process work; its answer must be received before it is given more."""
        self._connection.send(work)

    def receive(self) -> Answer:
        """Wait for the answer.

        Raises:
            RuntimeError: The process died.
        """
        try:
            answer = self._connection.recv()
        except EOFError as error:
            raise RuntimeError(
                f"a process that prepares text died with status {self._process.wait()} (out of memory?)"
            ) from error
        if isinstance(answer, Failure):
            raise answer.error
        result: Answer = answer
        return result


@dataclass(frozen=True)
class Failure:
    """What a process answers when its function raised."""

    error: Exception


def tokenize_in_processes(chunks: Iterable[list[str]], tokenizer: Tokenizer, count: int) -> Iterator[Chunk]:
    """Tokenize lists of lines in some processes; the answers come in the order of the lists."""
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(partial(tokenize_chunk, tokenizer=tokenizer))) for _ in range(count)]
        num_sent = 0
        for chunk in chunks:
            worker = workers[num_sent % count]
            if num_sent >= count:
                yield worker.receive()
            worker.send(chunk)
            num_sent += 1
        for number in range(max(0, num_sent - count), num_sent):
            yield workers[number % count].receive()


def call_in_process(function: Callable[[Work], Answer], work: Work) -> Answer:
    """Call a function that may take long in another process: unlike compiled code in this one, a signal ends it."""
    with Worker(function) as worker:
        worker.send(work)
        return worker.receive()


def main(descriptor: int) -> None:
    """What a process does until the other end of its connection is closed."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)  # the parent is told too, and ends this process
    with Connection(descriptor) as connection:
        try:
            function = connection.recv()
            while True:
                work = connection.recv()
                try:
                    connection.send(function(work))
                except Exception as error:  # whatever it is, it belongs to the parent
                    connection.send(Failure(error))
        except (EOFError, OSError):  # in the middle of a message too, where the parent was stopped
            return
