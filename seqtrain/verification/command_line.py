"""The command lines of what is no Hydra command."""

from __future__ import annotations

import argparse
from typing import NoReturn

from seqtrain.errors import ConfigError


class Parser(argparse.ArgumentParser):
    """Flags and words of one word of `python -m seqtrain.verify`, whose errors are shown as all others are."""

    def __init__(self, word: str, description: str, words: str) -> None:
        """Name the command.

        Args:
            word: Of the command.
            description: For `--help`.
            words: What the words that are no flags are, for `--help`.
        """
        super().__init__(
            prog=f"python -m seqtrain.verify {word}",
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        self.add_argument("words", nargs="*", metavar="word", help=words)

    def parse_args(self, args: list[str]) -> argparse.Namespace:  # type: ignore[override]
        """Read the arguments, flags and words in any order."""
        return self.parse_intermixed_args(args)

    def error(self, message: str) -> NoReturn:
        """Raise what is wrong, to be shown on one screen.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(message, remedy=f"{self.prog} --help")
