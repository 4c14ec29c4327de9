"""Configuration as frozen dataclasses, read strictly from plain data (TOML tables, checkpoints)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from soundstorm_runtime.support import serde as plain
from soundstorm_runtime.support.serde import check_positive, to_dict

from ..errors import RecipeError

__all__ = ["check_positive", "from_dict", "from_fields", "to_dict"]

T = TypeVar("T")


def from_dict(cls: type[T], data: object, where: str) -> T:
    """Build the dataclass `cls` from a mapping; `where` names the place in messages.

    Raises `RecipeError` for an unknown key (valid ones are listed), a missing one, or a wrong value.
    """
    try:
        return plain.from_dict(cls, data, where)
    except ValueError as error:
        raise RecipeError(str(error)) from error


def from_fields(cls: type[T], config: T | None, fields: Mapping[str, object]) -> T:
    """Give the configuration that a network was called with: `config` itself, or made of `fields`.

    A field that is a dataclass may be given as one or as a mapping. Raises `RecipeError` as
    `from_dict` does, and where both a configuration and fields are given.
    """
    if config is None:
        return from_dict(cls, to_dict(fields), cls.__name__)
    if not isinstance(config, cls):
        raise RecipeError(
            f"a configuration of type {type(config).__name__} was given, expected {cls.__name__}; "
            "give its fields by keyword"
        )
    if fields:
        raise RecipeError(
            f"{cls.__name__} and the fields {', '.join(fields)} were given, expected one or the other; "
            "put the fields into the configuration"
        )
    return config
