"""A progress bar for what takes long before training starts; only where a person sees it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def track_lines(label: str, num_lines: int) -> Iterator[Callable[[int], None]]:
    """Show a bar on a terminal while the `with` block runs; the function that it gives advances the bar by lines."""
    if not sys.stderr.isatty():
        yield _ignore
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(label, total=num_lines)
        yield lambda count: progress.advance(task, count)


def _ignore(_: int) -> None:
    """Nobody watches."""
