"""The fp16 form of a graph: half precision, with float32 where the range or the sum needs it.

Written by hand, for the converters at hand do not keep such places whole: `onnxruntime.transformers.float16`
rounds to half precision between two operators that it was told to leave alone, and gives nodes out of order.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass, ShapeInferencePass

from .errors import ExportError

FLOAT, HALF = ir.DataType.FLOAT, ir.DataType.FLOAT16
LARGEST = float(np.finfo(np.float16).max)
FILLER = 1e30  # what masks put in the place of a score; the farthest number of half precision serves as well

# Sums over many values, exponentials, and what divides by small numbers: the statistics of norms, softmax,
# cumulative sums.
WHOLE = frozenset(
    "LayerNormalization GroupNormalization InstanceNormalization Softmax LogSoftmax CumSum Exp Log Sqrt "
    "Reciprocal Pow ReduceMean ReduceSum ReduceSumSquare ReduceL2 Sin Cos Div".split()
)
PRODUCTS = frozenset(("MatMul", "Gemm", "Conv", "ConvTranspose"))


def to_fp16(model: ir.Model) -> ir.Model:
    """Convert a simplified model in place; inputs and outputs stay float32.

    Float32 stay the operators of `WHOLE`, and all from the last products to the outputs: logits,
    probabilities and confidences. Raises `ExportError` for a weight that half precision cannot hold.
    """
    model = ShapeInferencePass()(model).model
    whole = {node for node in model.graph if node.op_type in WHOLE} | _last_nodes(model.graph)
    casts = _Casts(model.graph)
    for node in list(model.graph):
        if node.op_type == "Cast" and node not in whole and node.attributes["to"].as_int() == FLOAT:
            node.attributes["to"] = ir.AttrInt64("to", HALF)
        wanted = FLOAT if node in whole else HALF
        for place, value in enumerate(node.inputs):
            if value is not None and value.dtype in (FLOAT, HALF) and node.op_type != "Cast":
                node.replace_input_with(place, casts.cast(value, wanted, node))
        for value in node.outputs:
            if value.dtype == FLOAT and node.op_type != "Constant":
                value.dtype = wanted
    return RemoveUnusedNodesPass()(model).model


def _last_nodes(graph: ir.Graph) -> set[ir.Node]:
    """Collect the nodes that lead from the last products to the outputs, the products among them."""
    found: set[ir.Node] = set()
    waiting = [value.producer() for value in graph.outputs]
    while waiting:
        node = waiting.pop()
        if node is None or node in found:
            continue
        found.add(node)
        if node.op_type not in PRODUCTS:
            waiting += [value.producer() for value in node.inputs if value is not None]
    return found


class _Casts:
    """Puts casts between half and single precision where they are needed, each once."""

    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph
        self.made: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}

    def cast(self, value: ir.Value, dtype: ir.DataType, before: ir.Node) -> ir.Value:
        """Give `value` in another precision; a weight is cast here, all else in the graph."""
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
        array = np.where(np.abs(array) >= FILLER, np.copysign(LARGEST, array), array)
        if array.size and np.abs(array).max() > LARGEST:
            raise ExportError(
                f"the weight {value.name} reaches {np.abs(array).max():.3g}, half precision {LARGEST:.3g}; "
                "export with --precision fp32 alone"
            )
        half = ir.Value(
            name=f"{value.name}.half", type=ir.TensorType(HALF), shape=value.shape,
            const_value=ir.tensor(array.astype(np.float16), name=f"{value.name}.half"),
        )  # fmt: skip
        self.graph.register_initializer(half)
        return half

    def _node(self, value: ir.Value, dtype: ir.DataType, before: ir.Node) -> ir.Value:
        node = ir.node("Cast", [value], {"to": dtype})
        cast = node.outputs[0]
        cast.name = f"{value.name}.{'half' if dtype == HALF else 'whole'}"
        cast.dtype, cast.shape = dtype, value.shape
        self.graph.insert_before(before, node)
        return cast
