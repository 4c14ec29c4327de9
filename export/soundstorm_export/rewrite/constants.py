"""The constants of a graph: reading their arrays, and adding new ones."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import onnx_ir as ir


def constant(value: ir.Value | None) -> np.ndarray | None:
    """Return the array of a constant or a weight; None for a value that depends on the inputs."""
    tensor = ir.convenience.get_const_tensor(value) if value is not None else None
    return None if tensor is None else tensor.numpy()


def keep(op: Any, like: ir.Value, name: str, array: np.ndarray) -> ir.Value:
    """Add a weight derived from `like`, called `<like>.<name>`; one of that name is reused."""
    full, graph = f"{like.name}.{name}", like.graph
    if graph is not None and full in graph.initializers:
        return graph.initializers[full]
    return op.initializer(ir.tensor(array.copy(order="C")), name=full)


def share_weights(model: ir.Model, other: ir.Model) -> None:
    """Take the weights of a model from the file of another one, where that has equal ones."""
    stored = {
        _identity(tensor): tensor
        for tensor in (value.const_value for value in other.graph.initializers.values())
        if isinstance(tensor, ir.ExternalTensor)
    }
    for value in model.graph.initializers.values():
        tensor = stored.get(_identity(value.const_value)) if value.const_value is not None else None
        if tensor is not None:
            value.const_value = ir.ExternalTensor(
                tensor.location, tensor.offset, tensor.length, tensor.dtype, shape=tensor.shape,
                name=str(value.name), base_dir=tensor.base_dir,
            )  # fmt: skip


def _identity(tensor: ir.TensorProtocol) -> tuple[ir.DataType, str, bytes]:
    return tensor.dtype, str(tensor.shape), hashlib.sha256(tensor.tobytes()).digest()
