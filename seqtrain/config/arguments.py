"""The command line of a seqtrain command: flags and overrides, in any order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from seqtrain.config.registry import suggest
from seqtrain.errors import ConfigError

_OURS = frozenset({"--check", "--resume"})
_WITH_VALUE = frozenset({"--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn"}) | {
    "--config-dir",
    "-cd",
}
_INFO = frozenset({"--info", "-i"})
_PLAIN = frozenset({"--help", "-h", "--hydra-help", "--version", "--resolve", "--run", "-r", "--multirun", "-m"}) | {
    "--shell-completion",
    "-sc",
}


@dataclass(frozen=True)
class CommandLine:
    """What a person typed.

    Attributes:
        flags: seqtrain's own flags, without their dashes: check, resume, rerun.
        rerun: The run folder of `--rerun`.
        hydra: What is for Hydra, its flags before the overrides (Hydra 1.3 refuses `a=1 -m b=2`).
    """

    flags: frozenset[str]
    rerun: Path | None
    hydra: list[str]


def parse_arguments(arguments: Sequence[str]) -> CommandLine:
    """Sort a command line.

    Raises:
        ConfigError: A flag is unknown or lacks its value, or a word is neither a flag nor an override.
    """
    flags: set[str] = set()
    rerun: Path | None = None
    hydra_flags: list[str] = []
    overrides: list[str] = []
    words = list(arguments)
    while words:
        word = words.pop(0)
        flag, has_value, value = word.partition("=")
        if not word.startswith("-"):
            overrides.append(_override(word))
        elif word in _OURS:
            flags.add(word.removeprefix("--"))
        elif flag == "--rerun":
            flags.add("rerun")
            rerun = Path(value if has_value else _value_of(flag, words))
        elif flag in _WITH_VALUE:
            hydra_flags += [flag, value if has_value else _value_of(flag, words)]
        elif flag in _INFO:
            is_followed = bool(words) and not words[0].startswith("-") and not _is_override(words[0])
            hydra_flags += [word, words.pop(0)] if is_followed else [word]
        elif word in _PLAIN:
            hydra_flags.append(word)
        else:
            near = suggest(flag, [*_OURS, *_WITH_VALUE, *_INFO, *_PLAIN, "--rerun"])
            raise ConfigError(f"unknown flag {flag}", remedy=near)
    return CommandLine(frozenset(flags), rerun, hydra_flags + overrides)


def _value_of(flag: str, words: list[str]) -> str:
    if not words or words[0].startswith("-"):
        raise ConfigError(f"{flag} needs a value")
    return words.pop(0)


def _is_override(word: str) -> bool:
    return "=" in word or word.startswith("~")


def _override(word: str) -> str:
    if not _is_override(word):
        raise ConfigError(f"{word!r} is neither a flag nor an override", remedy="write key=value, or group=option")
    return word
