"""Forms of a graph for ONNX Runtime on CPUs, with its own operators: fused attention, and 8-bit products.

In the int8 form weights are int8, symmetric, with one scale a column; activations are quantised at run time,
symmetric, with one scale a row: a frame's codes depend neither on the length of its sample nor on the other
samples of a batch. Attention always has a mask there, so that its sums are the same in a longer batch, to the
last bit: rounding to 8 bits would multiply a difference. All other products stay in float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from onnxscript.rewriter import RewriteRule

from .attention import CHOSEN, DOMAIN, MASKED, with_attention
from .constants import constant, keep
from .products import quantised, weight_of_product
from .simplify import apply

_TINY = np.finfo(np.float32).tiny


def to_cpu(model: ir.Model) -> ir.Model:
    """Rewrite a simplified model with fused attention in float32, for ONNX Runtime alone."""
    return with_attention(model, CHOSEN)


def to_int8(model: ir.Model) -> ir.Model:
    """Rewrite a simplified model with fused attention and 8-bit products, for ONNX Runtime alone."""
    model = with_attention(model, MASKED)
    for rule in (PRODUCT_WITH_BIAS, PRODUCT):
        model = apply(model, [rule])
    return model


# Products with weights.


def _product_with_bias(op: Any, x: Any, weight: Any, bias: Any) -> Any:
    return op.Add(op.MatMul(x, weight), bias)


def _product(op: Any, x: Any, weight: Any) -> Any:
    return op.MatMul(x, weight)


def _int8_product(op: Any, x: ir.Value, weight: ir.Value, bias: ir.Value | None = None) -> ir.Value | None:
    w = weight_of_product(weight)
    if w is None or (bias is not None and constant(bias) is None):
        return None
    scale = np.maximum(np.abs(w).max(axis=0), _TINY).astype(np.float32) / 127
    whole = keep(op, weight, "int8", quantised(w, scale, ir.DataType.INT8))
    rows, largest = _in_rows(op, x)
    step, zero = (
        op.Constant(value=ir.tensor(np.float32(1 / 127))),
        op.Constant(value=ir.tensor(np.uint8(128))),
    )
    product = op.MatMulIntegerToFloat(
        op.QuantizeLinear(rows, step, zero),
        whole,
        step,
        keep(op, weight, "scale", scale),
        zero,
        _domain=DOMAIN,
    )
    scaled = op.Mul(product, largest)
    return scaled if bias is None else op.Add(scaled, bias)


def _in_rows(op: Any, x: ir.Value) -> tuple[ir.Value, ir.Value]:
    """Divide each row by its largest magnitude; return both. ONNX Runtime merges equal ones when it loads."""
    magnitude = op.ReduceMax(op.Abs(x), op.Constant(value_ints=[-1]), keepdims=1)
    largest = op.Max(magnitude, op.Constant(value=ir.tensor(_TINY)))
    return op.Div(x, largest), largest


PRODUCT_WITH_BIAS = RewriteRule(_product_with_bias, _int8_product)
PRODUCT = RewriteRule(_product, _int8_product)
