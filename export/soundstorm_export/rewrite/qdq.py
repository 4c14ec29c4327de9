"""Forms of the step in 8 bits for TensorRT: QuantizeLinear and DequantizeLinear around products with weights.

TensorRT's explicit quantisation requires zero points of 0, scales that are positive constants of the type of
the other operators, and one scale for an activation; weights may be quantised already. int8 weights have one
scale a column; float8, whose numbers have exponents, has one for a whole weight, the most widely supported
form.

Sources: TensorRT's guide to quantised types; ONNX's operators of opset 19, the first with float8.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx_ir as ir
from onnxscript.rewriter import RewriteRule

from soundstorm_runtime.bundle.manifest import Precision

from .constants import keep
from .products import quantised, weight_of_product
from .simplify import apply

EIGHTS: Mapping[Precision, ir.DataType] = MappingProxyType(
    {"int8-qdq": ir.DataType.INT8, "fp8-qdq": ir.DataType.FLOAT8E4M3FN}
)
SCALE = np.float16  # of the scales, as of all else: weights are divided by the numbers that fp16 holds


def quantised_inputs(model: ir.Model) -> list[ir.Value]:
    """Return the activations of a simplified model that `to_qdq` quantises, each once."""
    products = (node for node in model.graph if node.op_type == "MatMul")
    pairs = (node.inputs for node in products)
    found = [x for x, weight in pairs if x and weight and weight_of_product(weight) is not None]
    return list(dict.fromkeys(found))


def to_qdq(model: ir.Model, dtype: ir.DataType, largest: Mapping[str, float]) -> ir.Model:
    """Quantise the products with weights of a simplified model in float32.

    Args:
        model: the model.
        dtype: one of `EIGHTS`.
        largest: the largest magnitude of each of `quantised_inputs`, by name.
    """

    def pattern(op: Any, x: Any, weight: Any) -> Any:
        return op.MatMul(x, weight)

    def in_8_bits(op: Any, x: ir.Value, weight: ir.Value) -> ir.Value | None:
        array = weight_of_product(weight)
        if array is None:
            return None
        scale = _scale(np.abs(array).max(axis=0 if dtype == ir.DataType.INT8 else None), dtype)
        kept = keep(op, weight, "quantised", quantised(array, scale, dtype))
        weights = op.DequantizeLinear(kept, keep(op, weight, "scale", scale), axis=1)
        x_scale = keep(op, x, "scale", _scale(np.array(largest[str(x.name)]), dtype))
        zero = keep(op, x, "zero", np.zeros((), dtype.numpy()))
        return op.MatMul(op.DequantizeLinear(op.QuantizeLinear(x, x_scale, zero), x_scale), weights)

    return apply(model, [RewriteRule(pattern, in_8_bits)])


def _scale(largest: np.ndarray, dtype: ir.DataType) -> np.ndarray:
    """Return the scale that maps `largest` to the largest number of the type: float32 that fp16 holds."""
    scale = np.maximum(largest / float(dtype.max), np.finfo(SCALE).tiny)
    return scale.astype(SCALE).astype(np.float32)
