"""Processes that tokenize: fresh interpreters, which know nothing of the process that starts them.

A fork would copy the locks of its threads, and multiprocessing's other ways of starting run the main script again,
which surprises whoever calls seqtrain from a script of their own.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Self

from seqtrain.data.chunk import Chunk, tokenize_chunk
from seqtrain.data.tokenizers import Tokenizer


class Worker:
    """One process; used in a `with` block, behind which it is gone."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._connection, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", f"from {__name__} import main; main({theirs.fileno()})"],
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            )
        self._connection.send(tokenizer)

    def __enter__(self) -> Self:
        """Nothing to prepare: the constructor has started the process."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Let the process end: it does when there is nothing more to read."""
        self._connection.close()
        self._process.wait()

    def send(self, lines: list[str]) -> None:
        """Give the process work; its answer must be received before it is given more."""
        self._connection.send(lines)

    def receive(self) -> Chunk:
        """Wait for the answer.

        Raises:
            RuntimeError: The process died.
        """
        try:
            answer = self._connection.recv()
        except EOFError as error:
            raise RuntimeError(
                f"a process that tokenizes died with status {self._process.wait()} (out of memory?)"
            ) from error
        if isinstance(answer, Failure):
            raise answer.error
        assert isinstance(answer, Chunk)
        return answer


@dataclass(frozen=True)
class Failure:
    """What a process answers when the tokenizer raised."""

    error: Exception


def tokenize_in_processes(chunks: Iterable[list[str]], tokenizer: Tokenizer, count: int) -> Iterator[Chunk]:
    """Tokenize lists of lines in some processes; the answers come in the order of the lists."""
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(tokenizer)) for _ in range(count)]
        num_sent = 0
        for chunk in chunks:
            worker = workers[num_sent % count]
            if num_sent >= count:
                yield worker.receive()
            worker.send(chunk)
            num_sent += 1
        for number in range(max(0, num_sent - count), num_sent):
            yield workers[number % count].receive()


def main(descriptor: int) -> None:
    """What a process does until the other end of its connection is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is told too, and ends this process
    with Connection(descriptor) as connection:
        try:
            tokenizer = connection.recv()
            while True:
                lines = connection.recv()
                try:
                    connection.send(tokenize_chunk(lines, tokenizer))
                except Exception as error:  # whatever it is, it belongs to the parent
                    connection.send(Failure(error))
        except (EOFError, ConnectionError):
            return
