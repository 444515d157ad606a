"""What YAML read as a boolean or a number, for the keys where it belongs to a text.

OmegaConf turns `target_lang: no` into the text 'False' while it composes; what stood in the file is known only here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.plugins.config_source import ConfigResult
from omegaconf import OmegaConf

from seqtrain.config.convert import Faults, join, quoting, shown


@dataclass(frozen=True)
class RawValue:
    """A boolean or a number in a YAML file."""

    value: bool | int | float
    file: str


_taken_down: dict[str, RawValue] = {}


def take_down(config_path: str, result: ConfigResult, folder: str) -> None:
    """Remember the booleans and numbers of a YAML file by their keys in the whole config."""
    package = result.header.get("package")
    if package is None:
        package = config_path.rpartition("/")[0].replace("/", ".")
    elif package == "_global_":
        package = ""
    values = OmegaConf.to_container(result.config, resolve=False)
    for key, value in _leaves(values, package, bool, int, float):
        _taken_down[key] = RawValue(value, f"{folder}/{config_path}.yaml")


def check_texts(container: Any, overrides: Iterable[str], faults: Faults) -> None:
    """Take down each text of a config that was a boolean or a number where it was written.

    Args:
        container: The composed config as plain values: what has become a text, belongs to one.
        overrides: Of the command line. There, whole numbers pass: `run_name=3` can mean one thing only.
        faults: Takes them down.
    """
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    written = {override.key_or_group: override for override in parsed if not override.is_sweep_override()}
    for key, text in _leaves(container, "", str):
        if key in written:
            value = written[key].value()
            line = str(written[key].input_line).partition("=")[2]
            if isinstance(value, bool | int | float) and str(value) == text != line:
                faults.add(key, f"must be text, but {line} is the {_kind(value)} {text}", f"write \"{key}='{line}'\"")
        elif key in _taken_down and str(_taken_down[key].value) == text:
            raw = _taken_down[key]
            faults.add(key, f"must be text, but is {shown(raw.value)} in {raw.file}", quoting(raw.value))


def _kind(value: bool | int | float) -> str:
    return "boolean" if isinstance(value, bool) else "number"


def _leaves(value: Any, path: str, *kinds: type) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, join(path, key), *kinds)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _leaves(item, f"{path}[{index}]", *kinds)
    elif isinstance(value, kinds):
        yield path, value
