"""One-screen messages for what a person can mend, in place of tracebacks."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import yaml
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from seqtrain.config.job import JobFailedError
from seqtrain.errors import ConfigError, PreemptedError, SeqtrainError


@contextmanager
def composing() -> Iterator[None]:
    """Turn what Hydra, OmegaConf and YAML raise into a ConfigError."""
    try:
        yield
    except (HydraException, OmegaConfBaseException, yaml.YAMLError, RecursionError) as error:
        raise ConfigError(str(error).strip() or str(error.__cause__)) from error


def report(error: Exception, *, show_all: bool) -> int:
    """Show an error on stderr, and say with which status to leave.

    Args:
        error: What a command raised.
        show_all: Show the traceback of a person's mistake too.
    """
    if isinstance(error, JobFailedError):
        print(f"seqtrain: error: {error}; the other jobs of the sweep ran", file=sys.stderr)
        return 1
    if not isinstance(error, SeqtrainError) or show_all:
        traceback.print_exception(error)
    if isinstance(error, SeqtrainError):
        word = "stopped" if isinstance(error, PreemptedError) else "error"
        print(f"seqtrain: {word}: {error}", file=sys.stderr)
        return error.exit_status
    return 1
