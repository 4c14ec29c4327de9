"""Configuration as frozen dataclasses, read strictly from plain data (TOML tables, checkpoints)."""

from __future__ import annotations

from typing import TypeVar

from soundstorm_runtime import plain
from soundstorm_runtime.plain import check_positive, to_plain

from .errors import RecipeError

__all__ = ["check_positive", "from_plain", "to_plain"]

T = TypeVar("T")


def from_plain(cls: type[T], data: object, where: str) -> T:
    """Build the dataclass `cls` from a mapping; `where` names the place in messages.

    Raises `RecipeError` for an unknown key (valid ones are listed), a missing one, or a wrong value.
    """
    try:
        return plain.from_plain(cls, data, where)
    except ValueError as error:
        raise RecipeError(str(error)) from error
