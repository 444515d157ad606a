"""Independent pieces of work, side by side in threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

__all__ = ["side_by_side"]

_PIECES_PER_THREAD = 2  # one at work, one waiting
_MOST_THREADS = 8  # each has the memory of a batch, and all have one Python interpreter

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def side_by_side(work: Callable[[Piece], Result], pieces: Iterator[Piece], *, num_threads: int) -> Iterator[Result]:
    """The results of the pieces, in their order, by some threads, which share out torch's threads.

    Few pieces are taken ahead of the results. torch frees Python's lock while it computes.
    """
    waiting: deque[Future[Result]] = deque()
    num_before = torch.get_num_threads()
    num_workers = min(num_threads, _MOST_THREADS)
    executor = ThreadPoolExecutor(
        num_workers, initializer=torch.set_num_threads, initargs=(num_threads // num_workers,)
    )
    try:
        for piece in pieces:
            waiting.append(executor.submit(work, piece))
            if len(waiting) >= num_workers * _PIECES_PER_THREAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        executor.shutdown(cancel_futures=True)
        torch.set_num_threads(num_before)  # what a thread sets is also the default of threads to come
