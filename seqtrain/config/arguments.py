"""The command line of a seqtrain command: flags and overrides, in any order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from seqtrain.config.registry import suggest
from seqtrain.errors import ConfigError

_SEQTRAIN = ("--check", "--resume")
_CONFIG_KINDS = ("job", "hydra", "all")
_INFO_KINDS = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")

# Hydra's flags, with the values that each takes; anything is a value for ().
_PLAIN = ("--help", "-h", "--hydra-help", "--version", "--resolve", "--run", "-r", "--multirun", "-m")
_COMPLETION = ("--shell-completion", "-sc")
_WITH_VALUE: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("--cfg", "-c"), _CONFIG_KINDS),
    **dict.fromkeys(("--package", "-p", "--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd"), ()),
}
_WITH_OPTIONAL_VALUE = dict.fromkeys(("--info", "-i"), _INFO_KINDS)


@dataclass(frozen=True)
class CommandLine:
    """What a person typed.

    Attributes:
        flags: seqtrain's own flags, without their dashes: check, resume, rerun.
        rerun: The run folder of `--rerun`.
        allowed_changes: The keys of `--allow-changes`, or patterns of them.
        hydra: What is for Hydra, its flags before the overrides (Hydra 1.3 refuses `a=1 -m b=2`).
    """

    flags: frozenset[str]
    rerun: Path | None
    hydra: list[str]
    allowed_changes: frozenset[str] = frozenset()

    @property
    def is_completion(self) -> bool:
        """Whether a shell asks for what may follow, at a press of Tab."""
        return any(flag in self.hydra for flag in _COMPLETION)


def parse_arguments(arguments: Sequence[str]) -> CommandLine:
    """Sort a command line.

    Raises:
        ConfigError: A flag is unknown or lacks its value, or a word is neither a flag nor an override.
    """
    flags: set[str] = set()
    rerun: Path | None = None
    allowed: frozenset[str] = frozenset()
    hydra_flags: list[str] = []
    overrides: list[str] = []
    words = list(arguments)
    while words:
        word = words.pop(0)
        flag, has_value, value = word.partition("=")
        if not word.startswith("-"):
            overrides.append(_override(word))
        elif word in _SEQTRAIN:
            flags.add(word.removeprefix("--"))
        elif flag == "--rerun":
            flags.add("rerun")
            rerun = Path(value if has_value else _next_value(flag, words))
        elif flag == "--allow-changes":
            allowed |= _keys(flag, value) if has_value else {"*"}
        elif flag in _WITH_VALUE:
            hydra_flags += [flag, _checked(flag, value if has_value else _next_value(flag, words))]
        elif flag in _WITH_OPTIONAL_VALUE:
            is_followed = has_value or (words and not words[0].startswith("-") and not _is_override(words[0]))
            hydra_flags += [flag, _checked(flag, value or words.pop(0))] if is_followed else [flag]
        elif word in (*_PLAIN, *_COMPLETION):
            hydra_flags.append(word)
        else:
            known = [
                *_SEQTRAIN,
                "--rerun",
                "--allow-changes",
                *_PLAIN,
                *_COMPLETION,
                *_WITH_VALUE,
                *_WITH_OPTIONAL_VALUE,
            ]
            raise ConfigError(f"unknown flag {flag}", remedy=suggest(flag, known))
    if allowed == {"*"} and "resume" in flags:
        raise ConfigError(
            "--resume looks for a run of the same config, and --allow-changes would take any",
            remedy="name the keys that may differ: --allow-changes=KEY,KEY",
        )
    return CommandLine(frozenset(flags), rerun, hydra_flags + overrides, allowed)


def completion_line(line: str) -> str:
    """The line of a press of Tab as Hydra can read it: its flags first, seqtrain's own left out.

    Args:
        line: The program, the words so far, and the beginning of the one that is to be completed, which may be empty.
    """
    program, *words = line.split() or [""]
    beginning = "" if line.endswith(" ") or not words else words.pop()
    try:
        return " ".join([program, *parse_arguments(words).hydra, beginning])
    except ConfigError:
        return line


def _next_value(flag: str, words: list[str]) -> str:
    if not words or words[0].startswith("-"):
        raise ConfigError(f"{flag} needs a value")
    return words.pop(0)


def _keys(flag: str, value: str) -> frozenset[str]:
    keys = frozenset(filter(None, value.split(",")))
    if not keys:
        raise ConfigError(f"{flag} needs a value", remedy=f"write {flag}=KEY,KEY, or {flag} for all keys")
    return keys


def _checked(flag: str, value: str) -> str:
    if flag in ("--config-path", "-cp") and "://" not in value:
        return str(Path(value).absolute())  # to Hydra it would be relative to the file that calls it
    choices = _WITH_VALUE.get(flag, ()) or _WITH_OPTIONAL_VALUE.get(flag, ())
    if choices and value not in choices:
        raise ConfigError(f"{flag} takes {', '.join(choices)}, but is given {value}", remedy=suggest(value, choices))
    return value


def _is_override(word: str) -> bool:
    return "=" in word or word.startswith("~")


def _override(word: str) -> str:
    if not _is_override(word):
        raise ConfigError(f"{word!r} is neither a flag nor an override", remedy="write key=value, or group=option")
    return word
