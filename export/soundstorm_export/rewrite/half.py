"""The fp16 and bf16 forms of a graph: 16 bits, with float32 where the range or a sum needs it.

The available converters do not keep such operators whole: `onnxruntime.transformers.float16` rounds to half
precision between two operators that it was told to leave in float32, and returns nodes out of order.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass, ShapeInferencePass

from soundstorm_runtime.bundle.manifest import Precision

from ..errors import ExportError
from .constants import constant
from .products import is_cumulative_sum

FLOAT = ir.DataType.FLOAT
HALVES: Mapping[Precision, ir.DataType] = MappingProxyType(
    {"fp16": ir.DataType.FLOAT16, "bf16": ir.DataType.BFLOAT16}
)
FILLER = 1e30  # masks replace scores by numbers beyond this, for which the limit of half precision will do

# Operators that stay in float32: sums over many values, exponentials, and divisions by what may be small
# (the statistics of norms, softmax, cumulative sums).
WHOLE = frozenset(
    "LayerNormalization GroupNormalization InstanceNormalization Softmax LogSoftmax CumSum Exp Log Sqrt "
    "Reciprocal Pow ReduceMean ReduceSum ReduceSumSquare ReduceL2 Sin Cos Div".split()
)
PRODUCTS = frozenset(("MatMul", "Gemm", "Conv", "ConvTranspose"))


def to_half(model: ir.Model, dtype: ir.DataType) -> ir.Model:
    """Convert a simplified model in place to one of `HALVES`; its inputs and outputs stay float32.

    These nodes stay in float32: operators of `WHOLE`; operators that ONNX does not define for the type
    (convolutions take no bfloat16 before opset 22); nodes with a constant that the type rounds to 0, such as
    the bound 1e-12 of a norm in fp16; cumulative sums; and all nodes from the last products to the outputs,
    which compute logits, probabilities and confidences.

    Raises:
        ExportError: half precision cannot hold a weight.
    """
    model = ShapeInferencePass()(model).model
    opset = model.graph.opset_imports[""]
    whole = {
        node
        for node in model.graph
        if node.op_type in WHOLE
        or not _takes(node, dtype, opset)
        or is_cumulative_sum(node)
        or any(_vanishes(value, dtype) for value in node.inputs)
    }
    whole |= _last_nodes(model.graph)
    casts = _Casts(model.graph, dtype)
    for node in list(model.graph):
        if node.op_type == "Cast" and node not in whole and node.attributes["to"].as_int() == FLOAT:
            node.attributes["to"] = ir.AttrInt64("to", dtype)
        wanted = FLOAT if node in whole else dtype
        for place, value in enumerate(node.inputs):
            if value is not None and value.dtype in (FLOAT, dtype) and node.op_type != "Cast":
                node.replace_input_with(place, casts.cast(value, wanted, node))
        for value in node.outputs:
            if value.dtype == FLOAT and node.op_type != "Constant":
                value.dtype = wanted
    return RemoveUnusedNodesPass()(model).model


def _takes(node: ir.Node, dtype: ir.DataType, opset: int) -> bool:
    """Whether ONNX defines an operator for a type."""
    constraints = onnx.defs.get_schema(node.op_type, opset, node.domain).type_constraints
    return any(f"tensor({dtype.name.lower()})" in constraint.allowed_type_strs for constraint in constraints)


def _vanishes(value: ir.Value | None, dtype: ir.DataType) -> bool:
    """Whether a value is a constant scalar that is 0 in a type, and is not in float32."""
    if value is None or value.dtype != FLOAT:
        return False
    array = constant(value)
    if array is None or array.size != 1:
        return False
    with np.errstate(over="ignore"):
        return bool(array.any() and not array.astype(dtype.numpy()).any())


def _last_nodes(graph: ir.Graph) -> set[ir.Node]:
    """Collect the last products of trained weights before the outputs, and all nodes after them."""
    found: set[ir.Node] = set()
    waiting = [value.producer() for value in graph.outputs]
    while waiting:
        node = waiting.pop()
        if node is None or node in found:
            continue
        found.add(node)
        if node.op_type not in PRODUCTS or is_cumulative_sum(node):
            waiting += [value.producer() for value in node.inputs if value is not None]
    return found


class _Casts:
    """Inserts casts between half and single precision where they are needed, each once."""

    def __init__(self, graph: ir.Graph, half: ir.DataType) -> None:
        self.graph = graph
        self.half = half
        self.made: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}

    def cast(self, value: ir.Value, dtype: ir.DataType, before: ir.Node) -> ir.Value:
        """Return `value` in another precision; a weight is converted now, all else by the graph."""
        if value.dtype == dtype:
            return value
        if (value, dtype) not in self.made:
            weight = value.const_value if value.is_initializer() else None
            self.made[value, dtype] = (
                self._node(value, dtype, before) if weight is None else self._weight(value)
            )
        return self.made[value, dtype]

    def _weight(self, value: ir.Value) -> ir.Value:
        array = value.const_value.numpy() if value.const_value is not None else np.zeros(0)
        largest = float(self.half.max)
        array = np.where(np.abs(array) >= FILLER, np.copysign(largest, array), array)
        if array.size and np.abs(array).max() > largest:
            raise ExportError(
                f"the weight {value.name} reaches {np.abs(array).max():.3g}, {self.half.name} {largest:.3g}; "
                "export with --precision fp32 alone"
            )
        half = ir.Value(
            name=f"{value.name}.half", type=ir.TensorType(self.half), shape=value.shape,
            const_value=ir.tensor(array.astype(self.half.numpy()), name=f"{value.name}.half"),
        )  # fmt: skip
        self.graph.register_initializer(half)
        return half

    def _node(self, value: ir.Value, dtype: ir.DataType, before: ir.Node) -> ir.Value:
        node = ir.node("Cast", [value], {"to": dtype})
        cast = node.outputs[0]
        cast.name = f"{value.name}.{'whole' if dtype == FLOAT else 'half'}"
        cast.dtype, cast.shape = dtype, value.shape
        self.graph.insert_before(before, node)
        return cast
