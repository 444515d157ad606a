"""The exceptions that seqtrain raises for what a person can mend.

A command shows such an error on one screen, without a traceback, and leaves with the error's exit status. Anything else
that is raised (a defect of ours, an exception inside a plug-in) keeps its traceback.
"""

from __future__ import annotations


class SeqtrainError(Exception):
    """A mistake that a person can mend.

    Args:
        message: What is wrong, naming the file, the line or the config key.
        remedy: What to do about it; shown on one line of its own, never wrapped.
    """

    exit_status = 2

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        super().__init__(message)  # the message alone, so that the exception can be pickled by a sweep's child process
        self.remedy = remedy

    def __str__(self) -> str:
        """The message, then the remedy on a line of its own."""
        message = str(self.args[0])
        return message if self.remedy is None else f"{message}\n{self.remedy}"


class ConfigError(SeqtrainError):
    """A config key, value or option is wrong."""


class PluginError(SeqtrainError):
    """A plug-in cannot be found, imported or registered."""


class DataError(SeqtrainError):
    """A text, vocabulary or index file is missing or malformed."""


class CheckpointError(SeqtrainError):
    """A checkpoint is missing, truncated, altered, or belongs to another model."""


class RunFolderError(SeqtrainError):
    """A run folder cannot be used: another run holds it, or another config made it."""


class DiskError(SeqtrainError):
    """A disk is full, or cannot be written or read any more."""

    exit_status = 1


class TrainingError(SeqtrainError):
    """Training cannot go on: the numbers are no longer finite, or memory ran out."""

    exit_status = 1


class PreemptedError(SeqtrainError):
    """A signal asked the run to stop; its state is saved, and the same command goes on from it."""

    exit_status = 75
