"""The state of a training on disk: all that is needed to resume at the exact step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import CheckpointError, ConfigError
from ..support.config import from_dict, to_dict
from ..support.tensor_files import load_tensors

STATE = "training state"
AVERAGE = "ema_model."  # prefix of the averaged weights in the state of ema-pytorch


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
    average = state.get("ema") or {}
    return {
        name.removeprefix(AVERAGE): value for name, value in average.items() if name.startswith(AVERAGE)
    } or state["model"]
