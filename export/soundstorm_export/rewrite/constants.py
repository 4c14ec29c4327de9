"""The constants of a graph: reading their arrays, and adding new ones."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

SMALLEST_HALVED = 1024  # numbers; smaller weights stay as they are


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


def load_graph(path: Path) -> ir.Model:
    """Read a graph with all of its weights, in float32 where they are stored as halves."""
    model = ir.external_data.load_to_model(ir.load(path))
    for node in list(model.graph):
        array = constant(node.inputs[0]) if node.op_type == "Cast" and len(node.inputs) == 1 else None
        if array is None or array.dtype != np.float16 or node.attributes["to"].as_int() != ir.DataType.FLOAT:
            continue
        whole = ir.Value(name=node.outputs[0].name, const_value=ir.tensor(array.astype(np.float32)))
        whole.dtype, whole.shape = ir.DataType.FLOAT, ir.Shape(array.shape)
        halves = node.inputs[0]
        ir.convenience.replace_all_uses_with(node.outputs[0], whole)
        model.graph.remove(node, safe=True)
        model.graph.register_initializer(whole)
        if halves is not None and not halves.uses():
            model.graph.initializers.pop(str(halves.name))
    return model


def store_as_halves(model: ir.Model) -> None:
    """Store large weights as float16 where that is exact: the engine converts them when it loads them.

    The weights of a checkpoint are float16, so that this halves the file and changes no number.
    """
    for value in list(model.graph.initializers.values()):
        tensor = value.const_value
        if tensor is None or tensor.dtype != ir.DataType.FLOAT or tensor.size < SMALLEST_HALVED:
            continue
        array = tensor.numpy()
        with np.errstate(over="ignore"):
            halves = array.astype(np.float16)
        if not np.array_equal(halves, array):
            continue
        stored = ir.Value(name=f"{value.name}.float16", const_value=ir.tensor(halves))
        stored.dtype, stored.shape = ir.DataType.FLOAT16, value.shape
        cast = ir.node("Cast", [stored], {"to": int(ir.DataType.FLOAT)})
        cast.outputs[0].dtype, cast.outputs[0].shape = ir.DataType.FLOAT, value.shape
        name = str(value.name)
        ir.convenience.replace_all_uses_with(value, cast.outputs[0])
        model.graph.initializers.pop(name)
        cast.outputs[0].name = name
        model.graph.register_initializer(stored)
        model.graph.insert_before(model.graph[0], cast)


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
