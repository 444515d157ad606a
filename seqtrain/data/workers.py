"""Processes that prepare text: fresh interpreters, which know nothing of the process that starts them.

A fork would copy the locks of its threads, and multiprocessing's other ways of starting run the main script again,
which surprises whoever calls seqtrain from a script of their own.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from queue import SimpleQueue
from threading import Thread
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from seqtrain.data.chunk import Chunk, tokenize_chunk
from seqtrain.data.tokenizers import Tokenizer

Work = TypeVar("Work")
Answer = TypeVar("Answer")

_CHUNKS_AHEAD = 2  # that a process has, so that it need not wait for the next one
_CHUNKS_WAITING = 64  # for one before them, at most
_PIPE_BYTES = 2**20  # the most that Linux gives without being asked by root
_SWITCH_SECONDS = 1e-4  # how long the thread that reads, and keeps the parent waiting, itself waits for its turn


class Worker(Generic[Work, Answer]):
    """One process; used in a `with` block, behind which it is gone.

    Args:
        function: What the process calls with each piece of work.
    """

    def __init__(self, function: Callable[[Work], Answer]) -> None:
        their_works, self._works = _pipe()
        self._answers, their_answers = _pipe()
        with their_works, their_answers:
            descriptors = their_works.fileno(), their_answers.fileno()
            self._process = subprocess.Popen(
                [sys.executable, "-c", f"from {__name__} import main; main{descriptors}"],
                pass_fds=descriptors,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            )
        self._works.send(function)

    def __enter__(self) -> Self:
        """Nothing to prepare: the constructor has started the process."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Let the process end: it does when there is nothing more to read, and at once if something was raised."""
        if kind is not None:
            self._process.kill()
        self._works.close()
        self._answers.close()
        self._process.wait()

    def send(self, work: Work) -> None:
        """Give the process work, which it does after what it was given before."""
        with suppress(BrokenPipeError):  # a process that died is told of when its answer is wanted
            self._works.send(work)

    @property
    def has_answer(self) -> bool:
        """Whether `receive` need not wait."""
        return self._answers.poll()

    def receive(self) -> Answer:
        """Wait for the next answer; they come in the order of the work.

        Raises:
            RuntimeError: The process died.
        """
        try:
            answer = self._answers.recv()
        except (EOFError, OSError) as error:
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


@dataclass(eq=False)
class _Place:
    """Of a list of lines among the others, and what became of it."""

    chunk: Chunk | None = None


@dataclass(eq=False)
class _Tokenizing:
    """A process, and the places of what it was given."""

    worker: Worker[Sequence[str], Chunk]
    places: deque[_Place] = field(default_factory=deque)

    def give(self, lines: Sequence[str], place: _Place) -> None:
        self.worker.send(lines)
        self.places.append(place)

    def take(self) -> None:
        self.places.popleft().chunk = self.worker.receive()


def tokenize_in_processes(chunks: Iterable[Sequence[str]], tokenizer: Tokenizer, count: int) -> Iterator[Chunk]:
    """Tokenize lists of lines in some processes, of which this one is the last; they come in the order of the lists.

    What the others have no time for is done here, so that no core waits for this process to read and write.
    """
    function = partial(tokenize_chunk, tokenizer=tokenizer)
    waiting: deque[_Place] = deque()
    with ExitStack() as stack:
        others = [_Tokenizing(stack.enter_context(Worker(function))) for _ in range(count - 1)]
        for lines in chunks:
            for one in others:
                while one.places and one.worker.has_answer:
                    one.take()
            place = _Place()
            waiting.append(place)
            idle = min(others, key=lambda one: len(one.places), default=None)
            if idle is not None and len(idle.places) < _CHUNKS_AHEAD:
                idle.give(lines, place)
            else:
                place.chunk = function(lines)
            yield from _come_up(waiting, others, num_left=_CHUNKS_WAITING)
        yield from _come_up(waiting, others, num_left=0)


def _come_up(waiting: deque[_Place], others: list[_Tokenizing], *, num_left: int) -> Iterator[Chunk]:
    """The chunks that none is before, and as many more as must be waited for."""
    while waiting and (waiting[0].chunk is not None or len(waiting) > num_left):
        place = waiting.popleft()
        while place.chunk is None:
            next(one for one in others if place in one.places).take()
        yield place.chunk


def call_in_process(function: Callable[[Work], Answer], work: Work) -> Answer:
    """Call a function that may take long in another process: unlike compiled code in this one, a signal ends it."""
    with Worker(function) as worker:
        worker.send(work)
        return worker.receive()


def main(works: int, answers: int) -> None:
    """What a process does until the other ends of its two pipes, of which these are the descriptors, are closed."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)  # the parent is told too, and ends this process
    sys.setswitchinterval(_SWITCH_SECONDS)
    with Connection(works, writable=False) as reader, Connection(answers, readable=False) as writer:
        messages: SimpleQueue[Any] = SimpleQueue()
        # read at once: a parent that waits for its message to be read would not read answers
        Thread(target=_read, args=(reader, messages), daemon=True).start()
        function = messages.get()
        while function is not _END and (work := messages.get()) is not _END:
            try:
                answer = function(work)
            except Exception as error:  # whatever it is, it belongs to the parent
                answer = Failure(error)
            try:
                writer.send(answer)
            except OSError:  # the parent was stopped
                return


def _pipe() -> tuple[Connection, Connection]:
    """The ends of a pipe, to read from and to write to, with room for what is sent ahead where the system lends it."""
    reader, writer = Pipe(duplex=False)
    if sys.platform == "linux":
        with suppress(OSError):  # the pipes of this user have all the memory that they may have
            fcntl.fcntl(writer.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    return reader, writer


_END = object()


def _read(connection: Connection, messages: SimpleQueue[Any]) -> None:
    try:
        while True:
            messages.put(connection.recv())
    except (EOFError, OSError):  # in the middle of a message too, where the parent was stopped
        return
    finally:
        messages.put(_END)
