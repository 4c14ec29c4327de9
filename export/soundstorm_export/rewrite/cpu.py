"""Forms of a graph for ONNX Runtime on CPUs, with its own operators: fused attention, and 8-bit products.

In the int8 form weights are int8, symmetric, with one scale a column; activations are quantised at run time,
symmetric, with one scale a row: a frame's codes depend neither on the length of its sample nor on the other
samples of a batch. Attention always has a mask there, so that its sums are the same in a longer batch, to the
last bit: rounding to 8 bits would multiply a difference. All other products stay in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
from onnxscript.rewriter import RewriteRule

from .constants import constant, keep
from .products import quantised, weight_of_product
from .simplify import BY_HEAD, apply

DOMAIN = "com.microsoft"
_TINY = np.finfo(np.float32).tiny


def to_cpu(model: ir.Model) -> ir.Model:
    """Rewrite a simplified model with fused attention in float32, for ONNX Runtime alone."""
    return _with_attention(model, ATTENTION)


def _with_attention(model: ir.Model, attention: RewriteRule) -> ir.Model:
    for rule in (ROTARY, attention):  # the second matches the result of the first
        model = apply(model, [rule])
    return model


def to_int8(model: ir.Model) -> ir.Model:
    """Rewrite a simplified model with fused attention and 8-bit products, for ONNX Runtime alone."""
    model = _with_attention(model, MASKED_ATTENTION)
    for rule in (PRODUCT_WITH_BIAS, PRODUCT):
        model = apply(model, [rule])
    return model


# Rotary positions, applied to queries or keys before they are transposed by head.


def _rotary(op: Any, x: Any, shape: Any, cosine: Any, sine: Any) -> Any:
    heads = op.Transpose(op.Reshape(x, shape, _allow_other_attributes=True), perm=BY_HEAD, _outputs=["heads"])
    first, second = op.Split(heads, axis=3, num_outputs=2, _outputs=2)
    return op.Concat(
        op.Sub(op.Mul(first, cosine), op.Mul(second, sine)),
        op.Add(op.Mul(second, cosine), op.Mul(first, sine)),
        axis=-1,
    )


def _rotary_operator(
    op: Any, x: ir.Value, shape: ir.Value, cosine: ir.Value, sine: ir.Value, heads: ir.Value
) -> ir.Value | None:
    if heads.shape is None or not isinstance(heads.shape[1], int):
        return None
    begin = op.Constant(value_ints=[0])
    count = heads.shape[1]
    turned = op.RotaryEmbedding(x, begin, cosine, sine, num_heads=count, interleaved=0, _domain=DOMAIN)
    return op.Transpose(op.Reshape(turned, shape), perm=BY_HEAD)


# Attention in one operator. Long samples are faster without a mask, which float32 passes only where a sample
# of the batch is shorter than the others.


def _attended(
    op: Any, q: Any, k: Any, v: Any, shape: Any, shape_of_k: Any, scale: Any, places: Any, lengths: Any,
    lengths_axis: Any, zero: Any, unseen: Any, bias_axes: Any,
) -> Any:  # fmt: skip
    queries = op.Transpose(
        op.Reshape(q, shape, _allow_other_attributes=True), perm=BY_HEAD, _outputs=["heads"]
    )
    keys = op.Transpose(op.Reshape(k, shape_of_k, _allow_other_attributes=True), perm=BY_HEAD)
    scores = op.MatMul(op.Mul(queries, scale), op.Transpose(keys, perm=[0, 1, 3, 2]))
    seen = op.Less(places, op.Unsqueeze(lengths, lengths_axis))
    bias = op.Unsqueeze(op.Where(seen, zero, unseen), bias_axes)
    weights = op.Softmax(op.Add(scores, bias), axis=-1)
    return op.Transpose(op.MatMul(weights, op.Transpose(v, perm=BY_HEAD)), perm=BY_HEAD)


def _attention_operator(always_masked: bool) -> Callable[..., ir.Value | None]:
    def attention(
        op: Any, q: ir.Value, k: ir.Value, v: ir.Value, shape: ir.Value, scale: ir.Value, lengths: ir.Value,
        heads: ir.Value, **_: Any,
    ) -> ir.Value | None:  # fmt: skip
        factor = constant(scale)
        if factor is None or heads.shape is None or not isinstance(heads.shape[1], int):
            return None
        settings = {"num_heads": heads.shape[1], "scale": factor.item()}
        keys_seen = op.Cast(lengths, to=ir.DataType.INT32)
        v = op.Reshape(v, op.Constant(value_ints=[0, 0, -1]))
        if always_masked:
            masked = op.MultiHeadAttention(q, k, v, None, keys_seen, **settings, _domain=DOMAIN)
            return op.Reshape(masked, shape)
        frames = op.Shape(q, start=1, end=2)
        whole = op.Squeeze(op.Equal(op.ReduceMin(lengths, keepdims=1), frames))
        attended = op.If(
            whole,
            then_branch=_branch("whole", [q, k, v], settings),
            else_branch=_branch("padded", [q, k, v, None, keys_seen], settings),
        )
        return op.Reshape(attended, shape)

    return attention


def _branch(name: str, inputs: list[ir.Value | None], settings: dict[str, Any]) -> ir.Graph:
    node = ir.node("MultiHeadAttention", inputs, settings, domain=DOMAIN)
    node.outputs[0].name = name
    node.outputs[0].dtype = ir.DataType.FLOAT
    return ir.Graph([], node.outputs, nodes=[node], name=name)


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


ROTARY = RewriteRule(_rotary, _rotary_operator)
ATTENTION = RewriteRule(_attended, _attention_operator(always_masked=False), remove_nodes=False)
MASKED_ATTENTION = RewriteRule(_attended, _attention_operator(always_masked=True), remove_nodes=False)
PRODUCT_WITH_BIAS = RewriteRule(_product_with_bias, _int8_product)
PRODUCT = RewriteRule(_product, _int8_product)
