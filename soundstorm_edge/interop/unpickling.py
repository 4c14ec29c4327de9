"""Pickled configuration, read without running anybody's code."""

from __future__ import annotations

import io
import pickle
from typing import Any

from ..errors import CheckpointError

PLAIN = (str, int, float, bool, type(None))


def read_plain_pickle(data: bytes, where: str) -> Any:
    """Read pickled dicts, lists, tuples, texts, numbers, true, false and None; `where` names the place.

    Raises `CheckpointError` for anything else, before anything of it is run.
    """
    try:
        content = _PlainUnpickler(io.BytesIO(data)).load()
        _check_plain(content, where)
    except CheckpointError as error:
        raise CheckpointError(f"{where}: {error}") from error
    except RecursionError as error:
        raise CheckpointError(f"{where} is nested too deeply, expected a configuration") from error
    except Exception as error:  # a damaged pickle raises nearly anything
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise CheckpointError(f"{where} cannot be read ({reason}); the file is damaged") from error
    return content


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> Any:
        raise CheckpointError(
            f"it holds {module_name}.{global_name}, expected plain data alone; give the configuration by name"
        )

    def persistent_load(self, pid: Any) -> Any:
        raise CheckpointError(f"it refers to {pid!r} outside of itself, expected plain data alone")


def _check_plain(value: Any, where: str) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            _check_plain(key, where)
            _check_plain(item, where)
    elif isinstance(value, list | tuple):
        for item in value:
            _check_plain(item, where)
    elif not isinstance(value, PLAIN):
        raise CheckpointError(f"it holds a {type(value).__name__}, expected plain data alone")
