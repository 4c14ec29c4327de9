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


def share(model: ir.Model, other: ir.Model) -> ir.Model:
    """Let a model use the file of weights of another, for the weights that both have; return the model."""
    tensors = [value.const_value for value in other.graph.initializers.values()]
    theirs = {_content(tensor): tensor for tensor in tensors if isinstance(tensor, ir.ExternalTensor)}
    for name, value in model.graph.initializers.items():
        if value.const_value is not None and (tensor := theirs.get(_content(value.const_value))):
            value.const_value = ir.ExternalTensor(
                tensor.location, tensor.offset, tensor.length, tensor.dtype,
                shape=tensor.shape, name=name, base_dir=tensor.base_dir,
            )  # fmt: skip
    return model


def _content(tensor: ir.TensorProtocol) -> tuple[ir.DataType, tuple[int, ...], str]:
    return tensor.dtype, tuple(tensor.shape.numpy()), hashlib.sha256(tensor.tobytes()).hexdigest()


def keep(op: Any, like: ir.Value, name: str, array: np.ndarray) -> ir.Value:
    """Add a weight derived from `like`, called `<like>.<name>`; one of that name is reused."""
    full, graph = f"{like.name}.{name}", like.graph
    if graph is not None and full in graph.initializers:
        return graph.initializers[full]
    return op.initializer(ir.tensor(array.copy(order="C")), name=full)
