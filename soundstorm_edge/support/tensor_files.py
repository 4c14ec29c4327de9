"""Files of tensors and plain data, written atomically and read without executing code."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from soundstorm_runtime.support.atomic import atomic_file
from soundstorm_runtime.support.files import check_file, reason

from ..errors import CheckpointError

FORMAT = "soundstorm-edge"
VERSION = 1

CONTAINERS = ("model", "state_dict")
COMPILED, AVERAGED, ONLINE = "_orig_mod.", "ema_model.", "online_model."
PREFIXES = ("module.", AVERAGED)


def save_tensors(path: Path, kind: str, content: Mapping[str, Any]) -> None:
    """Write `content` (tensors and plain data) to `path`; a killed process leaves the old file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as work:
            torch.save({"format": FORMAT, "version": VERSION, "kind": kind, **content}, work)
    except (OSError, RuntimeError) as error:  # PyTorch's own for a full disk is the latter
        raise CheckpointError(
            f"cannot write {path} ({error}); free some space or choose another folder"
        ) from error


def load_tensors(path: Path, kind: str, keys: tuple[str, ...]) -> dict[str, Any]:
    """Read what `save_tensors` wrote, on the CPU; only tensors and plain data are read, never code.

    Raises:
        CheckpointError: the file is missing or truncated, or `check_content` refuses it.
    """
    return check_content(read_tensors(path, kind), path, kind, keys)


def check_content(content: Any, path: Path, kind: str, keys: tuple[str, ...]) -> dict[str, Any]:
    """Return what `read_tensors` read from `path` if `save_tensors` wrote it.

    Raises:
        CheckpointError: another program wrote it, it has another version or kind, or lacks one of `keys`.
    """
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path} was not written by soundstorm-edge; expected a {kind}")
    if content.get("version") != VERSION:
        raise CheckpointError(f"{path} has version {content.get('version')}, expected {VERSION}; train again")
    if content.get("kind") != kind:
        raise CheckpointError(f"{path} is a {content.get('kind')}, expected a {kind}")
    if missing := [key for key in keys if key not in content]:
        raise CheckpointError(f"{path} lacks {missing[0]!r}; it has {', '.join(content)}")
    return content


def unwrap_weights(content: Any) -> Any:
    """Return weights by name without what training wraps around them; other content as it is.

    Wrappers are the keys `model` and `state_dict` of a file, and in names the prefixes `module.` (data
    parallelism), `_orig_mod.` (`torch.compile`, of submodules too) and `ema_model.` (ema-pytorch, whose file
    also has the weights that were not averaged; the averaged ones are returned).
    """
    while isinstance(content, Mapping):
        inner = next((content[key] for key in CONTAINERS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, Mapping) or not all(isinstance(name, str) for name in content):
        return content
    weights = {name.replace(COMPILED, ""): value for name, value in content.items()}
    # Beside prefixed weights, wrappers keep counters, which have no prefix: `step`, `initted`, `n_averaged`.
    while prefix := next((p for p in PREFIXES if any(name.startswith(p) for name in weights)), None):
        own = {name.removeprefix(prefix): v for name, v in weights.items() if name.startswith(prefix)}
        others = [name for name in weights if not name.startswith((prefix, ONLINE))]
        if prefix != AVERAGED and any("." in name for name in others):
            break
        weights = own
    return weights


def read_tensors(path: Path, kind: str) -> Any:
    """Read a file of tensors and plain data that anybody wrote with PyTorch, on the CPU; `kind` names it.

    Raises `CheckpointError` where the file is missing, truncated, damaged, or holds anything else.
    """
    try:
        check_file(path)
    except OSError as error:
        raise CheckpointError(
            f"no file at {path}, expected a {kind} ({reason(error)}); check the path"
        ) from error
    try:
        _check_records(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"cannot read {path} as a {kind}: it holds more than tensors and plain data, or was not written "
            "by PyTorch"
        ) from error
    except Exception as error:  # a damaged file raises nearly anything
        short = reason(error)[:120]
        raise CheckpointError(f"cannot read {path} as a {kind} ({short}); it may be truncated") from error


def _check_records(path: Path) -> None:
    """Raise `ValueError` for records that are damaged, or would take more memory than they have bytes.

    PyTorch checks neither: it reads damaged weights as they are.
    """
    if not zipfile.is_zipfile(path):
        return  # the form of before PyTorch 1.6, which is read in order
    with zipfile.ZipFile(path) as archive:
        records = archive.infolist()
        if any(record.compress_type != zipfile.ZIP_STORED for record in records):
            raise ValueError("its records are compressed, expected them as PyTorch writes them")
        if sum(record.file_size for record in records) > path.stat().st_size:
            raise ValueError("its records overlap")
        if damaged := archive.testzip():
            raise ValueError(f"its record {damaged!r} is damaged")
