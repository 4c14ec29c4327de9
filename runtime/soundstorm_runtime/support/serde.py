"""Conversion between frozen dataclasses and plain data (JSON objects, TOML tables), with strict checks."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ..errors import SoundStormError

LARGEST = 1 << 28  # of any size: more elements than one tensor of a voice has

T = TypeVar("T")


def from_dict(cls: type[T], data: object, where: str) -> T:
    """Build the dataclass `cls` from a mapping; `where` names the place in messages.

    Raises `ValueError` for an unknown key (valid ones are listed), a missing one, a wrong type, or
    a value that the dataclass itself refuses.
    """
    if not isinstance(data, Mapping):
        raise ValueError(f"{where} is {_short(data)}, expected an object with keys")
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    if unknown := [key for key in data if key not in fields]:
        raise ValueError(f"{where} has the unknown key {unknown[0]!r}; valid keys: {', '.join(fields)}")
    missing = [name for name, field in fields.items() if name not in data and _is_required(field)]
    if missing:
        raise ValueError(f"{where} lacks the key {missing[0]!r}; expected keys: {', '.join(fields)}")
    values = {name: _convert(hints[name], value, f"{where}.{name}") for name, value in data.items()}
    try:
        return cls(**values)
    except (ValueError, SoundStormError) as error:  # raised by the dataclass itself
        raise ValueError(f"{where}: {error}") from error


def to_dict(value: Any) -> Any:
    """Turn dataclasses into plain dicts, lists, strings and numbers: the inverse of `from_dict`."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_dict(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: to_dict(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [to_dict(item) for item in value]
    return value


def check_positive(record: object, *names: str, most: int = LARGEST) -> None:
    """Raise `ValueError` unless each of these attributes of `record` is 1 or more, and `most` at most."""
    for name in names:
        value = getattr(record, name)
        if value < 1:
            raise ValueError(f"{name} is {value}, expected 1 or more")
        if value > most:
            raise ValueError(f"{name} is {value}, expected at most {most}")


def check_printable(what: str, text: str) -> None:
    """Raise `ValueError` for a text with characters that control a terminal or change its direction."""
    if not text.isprintable():
        raise ValueError(f"{what} has {text[:100]!r}, expected no control characters")


def check_name(what: str, text: str) -> None:
    """Raise `ValueError` for a name that is no name of a file in one folder, as a path is not."""
    check_printable(what, text)
    if not text or text.startswith(".") or set(text) & set("/\\:") or len(text) > 200:
        raise ValueError(f"{what} is {text[:100]!r}, expected a name that a file can have, such as 'anna'")


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _convert(hint: Any, value: object, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if dataclasses.is_dataclass(hint):
        return from_dict(typing.cast(type, hint), value, where)
    if origin in (types.UnionType, typing.Union):
        return _convert(_choose(arguments, value, where), value, where)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ValueError(f"{where} is {_short(value)}, expected a list")
        return tuple(_convert(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin in (dict, Mapping):
        if not isinstance(value, Mapping):
            raise ValueError(f"{where} is {_short(value)}, expected an object with keys")
        return {key: _convert(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if not _matches(hint, value):
        raise ValueError(f"{where} is {_short(value)}, expected {_describe(hint)}")
    return float(value) if hint is float else value  # type: ignore[arg-type]


def _choose(hints: tuple[Any, ...], value: object, where: str) -> Any:
    """Return the member of a union that fits `value`; dataclasses are distinguished by their field `kind`."""
    if value is None and types.NoneType in hints:
        return types.NoneType
    hints = tuple(hint for hint in hints if hint is not types.NoneType)
    if len(hints) > 1 and all(dataclasses.is_dataclass(hint) for hint in hints):
        kinds = {
            kind: hint for hint in hints for kind in typing.get_args(typing.get_type_hints(hint)["kind"])
        }
        kind = value.get("kind") if isinstance(value, Mapping) else None
        if not isinstance(kind, str) or kind not in kinds:
            raise ValueError(f"{where}.kind is {_short(kind)}, expected {' or '.join(map(repr, kinds))}")
        return kinds[kind]
    for hint in hints:
        if _matches(hint, value):
            return hint
    return hints[0]  # no member fits: its error message names the first


def _matches(hint: Any, value: object) -> bool:
    """Whether `value` is of a simple type; booleans do not count as numbers."""
    origin = typing.get_origin(hint)
    if origin is typing.Literal:
        return any(value == option and type(value) is type(option) for option in typing.get_args(hint))
    if origin is Callable:
        return callable(value)
    if isinstance(value, bool) and hint is not bool:
        return False
    return isinstance(value, int | float if hint is float else hint)


def _describe(hint: Any) -> str:
    if typing.get_origin(hint) is typing.Literal:
        return " or ".join(repr(option) for option in typing.get_args(hint))
    return {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}.get(
        hint, str(hint)
    )


def _short(value: object) -> str:
    try:
        text = repr(value)
    except RecursionError:
        return f"a {type(value).__name__} that is nested too deeply"
    return text if len(text) <= 60 else f"{text[:57]}..."
