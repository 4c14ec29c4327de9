"""The constants of a graph: reading their arrays, and adding new ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir


def constant(value: ir.Value | None) -> np.ndarray | None:
    """Return the array of a constant or a weight; None for a value that depends on the inputs."""
    tensor = ir.convenience.get_const_tensor(value) if value is not None else None
    return None if tensor is None else tensor.numpy()


def share(model: ir.Model, other: ir.Model) -> ir.Model:
    """Let a model use the file of weights of another, for those that both have; return the model."""
    theirs = other.graph.initializers
    for name, value in model.graph.initializers.items():
        weight = theirs[name].const_value if name in theirs else None
        if isinstance(weight, ir.ExternalTensor) and _are_equal(weight, value.const_value):
            value.const_value = weight
    return model


def _are_equal(one: ir.TensorProtocol, other: ir.TensorProtocol | None) -> bool:
    return (
        other is not None
        and (one.dtype, one.shape) == (other.dtype, other.shape)
        and one.tobytes() == other.tobytes()
    )


def keep(op: Any, like: ir.Value, name: str, array: np.ndarray) -> ir.Value:
    """Add a weight derived from `like`, called `<like>.<name>`; one of that name is reused."""
    full, graph = f"{like.name}.{name}", like.graph
    if graph is not None and full in graph.initializers:
        return graph.initializers[full]
    return op.initializer(ir.tensor(array.copy(order="C")), name=full)
