"""From plain values (of a YAML file, a command line, a checkpoint) to what a dataclass says that it holds.

OmegaConf checks types too, while a config is composed; but it turns `no` into the text 'False', takes any number of
items for a pair, and stops at the first fault. Here every fault of a config is found, and named by its key.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Union

from seqtrain.config.registry import suggest
from seqtrain.config.schema import MISSING, Section

_SCALARS = {bool: "true or false", int: "a whole number", float: "a number", str: "text", Path: "a path"}

_PLURALS = {bool: "booleans", int: "whole numbers", float: "numbers", str: "texts"}


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with a config.

    Attributes:
        key: The whole key: `optimizer.lr`.
        text: What is wrong: "must be a number, but is 'fast'".
        remedy: What to do about it, if there is more to say.
    """

    key: str
    text: str
    remedy: str | None = None


@dataclass
class Faults:
    """What is wrong with a config, gathered while it is read.

    Attributes:
        found: The faults, in the order of the config.
        missing: The keys that have no value yet, with the schema that declares each.
    """

    found: list[Fault] = field(default_factory=list)
    missing: dict[str, type | None] = field(default_factory=dict)

    def add(self, key: str, text: str, remedy: str | None = None) -> None:
        """Take down a fault."""
        self.found.append(Fault(key, text, remedy))

    def __len__(self) -> int:
        """How many faults and missing keys there are."""
        return len(self.found) + len(self.missing)


def join(path: str, key: object) -> str:
    """The key of a key: `optimizer` and `lr` make `optimizer.lr`."""
    return f"{path}.{key}" if path else str(key)


def expectation(annotation: Any) -> str:
    """What a value of this type is called: "a whole number or null"."""
    members = _members(annotation)
    if members:
        names = [expectation(member) for member in members if member is not types.NoneType]
        if types.NoneType in members:
            names.append("null")
        return " or ".join(names)
    origin = typing.get_origin(annotation) or annotation
    if origin is tuple and _fixed_length(annotation) is not None:
        return f"a list of {_fixed_length(annotation)}"
    if origin in (list, tuple):
        (of, *_) = typing.get_args(annotation) or (Any,)
        return f"a list of {_PLURALS[of]}" if of in _PLURALS else "a list"
    if _is_enum(annotation):
        return f"one of {', '.join(member.name for member in annotation)}"
    if origin is dict or dataclasses.is_dataclass(annotation):
        return "a mapping of keys to values"
    return _SCALARS.get(annotation, getattr(annotation, "__name__", str(annotation)))


def shown(value: Any) -> str:
    """A value as YAML writes it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value)


def convert(annotation: Any, value: Any, path: str, faults: Faults) -> Any:
    """The value as its annotation has it; what does not fit is taken down as a fault.

    Args:
        annotation: A resolved type hint: `float`, `int | None`, `list[str]`, an enum, a dataclass.
        value: Plain: mappings, lists, scalars; `???` stands for a value that is still missing.
        path: The key, for the faults.
        faults: Takes down what is wrong.
    """
    if isinstance(value, str) and value == MISSING:
        faults.missing[path] = None
        return None
    if annotation is Any:
        return value
    members = _members(annotation)
    if members:
        return _convert_union(members, annotation, value, path=path, faults=faults)
    if dataclasses.is_dataclass(annotation):
        return convert_section(typing.cast(type, annotation), value, path, faults)
    origin = typing.get_origin(annotation) or annotation
    if origin in (list, tuple, dict):
        return _convert_container(annotation, value, path, faults)
    return _convert_scalar(annotation, value, path, faults)


def convert_section(schema: type[Any], value: Any, path: str, faults: Faults) -> Any:
    """An instance of a dataclass, with its own `problems()` taken down; None if it cannot be made."""
    if not isinstance(value, Mapping):
        faults.add(path, f"must be {expectation(schema)}, but is {shown(value)}")
        return None
    before = len(faults)
    values = convert_fields(schema, value, path, faults)
    return make_section(schema, values, path, faults) if len(faults) == before else None


def make_section(schema: type[Any], values: dict[str, Any], path: str, faults: Faults) -> Any:
    """An instance of a dataclass from converted values, with its own `problems()` taken down."""
    constructed = {field_.name for field_ in dataclasses.fields(schema) if field_.init}
    section = schema(**{name: value for name, value in values.items() if name in constructed})
    for name in values.keys() - constructed:
        setattr(section, name, values[name])
    if isinstance(section, Section):
        for problem in section.problems():
            faults.add(join(path, problem.key), problem.text)
    return section


def convert_fields(schema: type[Any], value: Mapping[Any, Any], path: str, faults: Faults) -> dict[str, Any]:
    """The converted value of each field that has one; a key that the schema does not have is a fault."""
    hints = hints_of(schema)
    fields = {field_.name: field_ for field_ in dataclasses.fields(schema)}
    for key in value:
        if key not in fields:
            near = suggest(str(key), fields, prefix=join(path, ""))
            faults.add(join(path, key), f"is no key of {schema.__name__}", near)
    values: dict[str, Any] = {}
    for name, field_ in fields.items():
        key = join(path, name)
        plain = value[name] if name in value else _default(field_)
        if isinstance(plain, str) and plain == MISSING:
            faults.missing[key] = schema
        elif name in value:
            values[name] = convert(hints[name], plain, key, faults)
    return values


def hints_of(schema: type[Any]) -> dict[str, Any]:
    """The resolved type of each field of a dataclass; nothing for other classes."""
    return typing.get_type_hints(schema) if dataclasses.is_dataclass(schema) else {}


def _default(field_: dataclasses.Field[Any]) -> Any:
    if field_.default is dataclasses.MISSING and field_.default_factory is dataclasses.MISSING:
        return MISSING
    return field_.default


def _members(annotation: Any) -> tuple[Any, ...]:
    is_union = typing.get_origin(annotation) in (Union, types.UnionType)
    return typing.get_args(annotation) if is_union else ()


def _is_enum(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Enum)


def _fixed_length(annotation: Any) -> int | None:
    arguments = typing.get_args(annotation)
    return len(arguments) if typing.get_origin(annotation) is tuple and Ellipsis not in arguments else None


def _convert_union(members: tuple[Any, ...], annotation: Any, value: Any, *, path: str, faults: Faults) -> Any:
    if value is None and types.NoneType in members:
        return None
    candidates = [member for member in members if member is not types.NoneType]
    if len(candidates) == 1:
        before = len(faults.found)
        converted = convert(candidates[0], value, path, faults)
        for index, fault in enumerate(faults.found[before:], before):
            if fault.key == path and types.NoneType in members:  # say that null would do as well
                text = fault.text.replace(expectation(candidates[0]), expectation(annotation), 1)
                faults.found[index] = dataclasses.replace(fault, text=text)
        return converted
    for member in candidates:
        attempt = Faults()
        converted = convert(member, value, path, attempt)
        if not attempt.found:
            return converted
    faults.add(path, f"must be {expectation(annotation)}, but is {shown(value)}")
    return None


def _convert_container(annotation: Any, value: Any, path: str, faults: Faults) -> Any:
    origin: Any = typing.get_origin(annotation) or annotation
    arguments = typing.get_args(annotation)
    length = _fixed_length(annotation)
    fits = isinstance(value, dict if origin is dict else list | tuple)
    if not fits or (length is not None and len(value) != length):
        faults.add(path, f"must be {expectation(annotation)}, but is {shown(value)}")
        return None
    if origin is dict:
        of_value = arguments[1] if arguments else Any
        return {key: convert(of_value, item, join(path, key), faults) for key, item in value.items()}
    kinds = list(arguments) if length is not None else [arguments[0] if arguments else Any] * len(value)
    converted = [
        convert(kind, item, f"{path}[{index}]", faults)
        for index, (kind, item) in enumerate(zip(kinds, value, strict=True))
    ]
    return origin(converted)


def _convert_scalar(annotation: Any, value: Any, path: str, faults: Faults) -> Any:
    if _is_enum(annotation):
        return _convert_enum(annotation, value, path, faults)
    if isinstance(annotation, type) and type(value) is annotation and not _is_nan(value):
        return value
    if annotation is float and type(value) is int:
        return float(value)
    if annotation is int and type(value) is float and value.is_integer():
        return int(value)
    if annotation is Path and isinstance(value, str):
        return Path(value)
    remedy = None
    if annotation is str and isinstance(value, bool | int | float):
        remedy = quoting(value)
    faults.add(path, f"must be {expectation(annotation)}, but is {shown(value)}", remedy)
    return None


def _is_nan(value: object) -> bool:
    """Whether a value is what no setting can mean; no comparison with a limit would find it."""
    return isinstance(value, float) and math.isnan(value)


def quoting(value: object) -> str:
    """How to write in YAML the text that was read as a boolean or a number."""
    if isinstance(value, bool):
        words = "'yes', 'on' or 'true'" if value else "'no', 'off' or 'false'"
        return f"YAML reads an unquoted {words.replace(chr(39), '')} so: quote the text ({words})"
    return f"quote it: '{value}'"


def _convert_enum(annotation: Any, value: Any, path: str, faults: Faults) -> Any:
    if isinstance(value, annotation):
        return value
    names = [member.name for member in annotation]
    if isinstance(value, str) and value in names:
        return annotation[value]
    near = suggest(str(value).lower(), names)
    faults.add(path, f"must be {expectation(annotation)}, but is {shown(value)}", near)
    return None
