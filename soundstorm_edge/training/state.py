"""The state of a training on disk: all that is needed to resume at the exact step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import CheckpointError, ConfigError
from ..support.config import from_dict, to_dict
from ..support.tensor_files import load_tensors

STATE = "training state"
AVERAGE = "module."  # prefix of the averaged weights in the state of torch's AveragedModel
_FORMER_AVERAGE = "ema_model."  # in that of ema-pytorch, which version 0.1 used


def read_state(path: Path, config: Any, remedy: str) -> dict[str, Any]:
    """Read the state of a training.

    Args:
        path: of the file.
        config: of the model; fields that the state does not know have to have their defaults.
        remedy: what to do about another configuration, for the message.

    Raises:
        CheckpointError: the file cannot be read, or is of another configuration.
    """
    state = load_tensors(path, STATE, ("config", "step", "model"))
    if not _is_same(state["config"], config):
        raise CheckpointError(f"{path.parent} was trained with another recipe; {remedy}")
    return state


def _is_same(kept: Any, config: Any) -> bool:
    if kept == to_dict(config):
        return True
    try:
        return bool(from_dict(type(config), kept, "config") == config)
    except (ConfigError, TypeError):  # fields that no longer exist, or no dataclass
        return False


def trained_weights(state: dict[str, Any]) -> dict[str, Any]:
    """Return the weights to use: the averaged ones where the training kept them."""
    average = averaged_state(state.get("ema") or {})
    return {
        name.removeprefix(AVERAGE): value for name, value in average.items() if name.startswith(AVERAGE)
    } or state["model"]


def averaged_state(saved: dict[str, Any]) -> dict[str, Any]:
    """Return the state of a moving average with the names of torch, from a state of version 0.1 too."""
    if not any(name.startswith(_FORMER_AVERAGE) for name in saved):
        return saved
    weights = {
        AVERAGE + name.removeprefix(_FORMER_AVERAGE): value
        for name, value in saved.items()
        if name.startswith(_FORMER_AVERAGE)
    }
    return {"n_averaged": saved["step"], **weights}
