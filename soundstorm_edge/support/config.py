"""Configurations: frozen dataclasses built strictly from TOML tables, checkpoints or keywords."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from soundstorm_runtime.support import serde
from soundstorm_runtime.support.serde import to_dict

from ..errors import ConfigError

__all__ = ["LONGEST_WINDOW", "MOST_LAYERS", "check_positive", "from_dict", "from_fields", "to_dict"]

MOST_LAYERS = 256  # of any network: each one takes time to build, whatever its size
LONGEST_WINDOW = 1 << 16  # samples of a spectrum; its filters take memory, and are in no file

T = TypeVar("T")


def from_dict(cls: type[T], data: object, where: str) -> T:
    """Build the dataclass `cls` from a mapping.

    Args:
        cls: a frozen dataclass.
        data: its fields by name, nested dataclasses as mappings.
        where: what the mapping is, for messages.

    Raises:
        ConfigError: a key is unknown (the valid ones are listed) or missing, or a value is wrong.
    """
    try:
        return serde.from_dict(cls, data, where)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def from_fields(cls: type[T], config: T | None, fields: Mapping[str, object]) -> T:
    """Return the configuration that a constructor was called with.

    Args:
        cls: the dataclass of the configuration.
        config: the configuration, where it was given as one.
        fields: its fields, where they were given by keyword; a field that is a dataclass may be a mapping.

    Raises:
        ConfigError: as `from_dict`, and where both a configuration and fields are given.
    """
    if config is None:
        return from_dict(cls, to_dict(fields), cls.__name__)
    if not isinstance(config, cls):
        raise ConfigError(
            f"a configuration of type {type(config).__name__} was given, expected {cls.__name__}; "
            "give its fields by keyword"
        )
    if fields:
        raise ConfigError(
            f"{cls.__name__} and the fields {', '.join(fields)} were given, expected one or the other; "
            "put the fields into the configuration"
        )
    return config


def check_positive(config: object, *names: str, most: int = serde.LARGEST) -> None:
    """Raise `ConfigError` unless each of these fields of `config` is 1 or more, and `most` at most."""
    try:
        serde.check_positive(config, *names, most=most)
    except ValueError as error:
        raise ConfigError(str(error)) from error
