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
    return _with_attention(model, [ATTENTION, ATTENTION_AFTER])


def _with_attention(model: ir.Model, attention: list[RewriteRule]) -> ir.Model:
    for rule in (ROTARY, *attention):  # the others match the result of the first
        model = apply(model, [rule])
    return model


def to_int8(model: ir.Model) -> ir.Model:
    """Rewrite a simplified model with fused attention and 8-bit products, for ONNX Runtime alone."""
    model = _with_attention(model, [MASKED_ATTENTION, MASKED_ATTENTION_AFTER])
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
    positions, tables = op.Constant(value_ints=[0]), (cosine, sine)
    looked_up = [_looked_up(cosine), _looked_up(sine)]
    if looked_up[0] is not None and looked_up[1] is not None:  # positions of each sample
        positions, tables = looked_up[0][1], (looked_up[0][0], looked_up[1][0])
    count = heads.shape[1]
    turned = op.RotaryEmbedding(x, positions, *tables, num_heads=count, interleaved=0, _domain=DOMAIN)
    return op.Transpose(op.Reshape(turned, shape), perm=BY_HEAD)


def _looked_up(value: ir.Value) -> tuple[ir.Value, ir.Value] | None:
    """Return table `[positions, numbers]` and positions, where a value was looked up and then unsqueezed."""
    node = value.producer()
    if node is None or node.op_type != "Unsqueeze" or node.inputs[0] is None:
        return None
    gather = node.inputs[0].producer()
    if gather is None or gather.op_type != "Gather":
        return None
    table, positions = gather.inputs
    if table is None or positions is None or table.shape is None or len(table.shape) != 2:
        return None
    return table, positions


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
        settings = _settings(scale, heads)
        if settings is None:
            return None
        whole = None if always_masked else _is_whole(op, lengths, q)
        v = op.Reshape(v, op.Constant(value_ints=[0, 0, -1]))
        attended = _multi_head(op, whole, [q, k, v], op.Cast(lengths, to=ir.DataType.INT32), settings)
        return op.Reshape(attended, shape)

    return attention


# The same with keys and values of frames before these, in front of their own.


def _attended_after(
    op: Any, q: Any, k: Any, v: Any, past_k: Any, past_v: Any, shape: Any, shape_of_k: Any,
    shape_of_past: Any, scale: Any, places: Any, lengths: Any, past_places: Any, past_lengths: Any, axis: Any,
    zero: Any, unseen: Any, bias_axes: Any,
) -> Any:  # fmt: skip
    def by_head(x: Any, shape: Any, **names: Any) -> Any:
        return op.Transpose(op.Reshape(x, shape, _allow_other_attributes=True), perm=BY_HEAD, **names)

    queries = by_head(q, shape, _outputs=["heads"])
    keys = op.Concat(by_head(past_k, shape_of_past), by_head(k, shape_of_k), axis=2)
    values = op.Concat(by_head(past_v, shape_of_past), op.Transpose(v, perm=BY_HEAD), axis=2)
    scores = op.MatMul(op.Mul(queries, scale), op.Transpose(keys, perm=[0, 1, 3, 2]))
    before = op.Less(past_places, op.Unsqueeze(past_lengths, axis))
    seen = op.Concat(before, op.Less(places, op.Unsqueeze(lengths, axis)), axis=1, _outputs=["seen"])
    weights = op.Softmax(op.Add(scores, op.Unsqueeze(op.Where(seen, zero, unseen), bias_axes)), axis=-1)
    return op.Transpose(op.MatMul(weights, values), perm=BY_HEAD)


def _attention_after_operator(always_masked: bool) -> Callable[..., ir.Value | None]:
    def attention(
        op: Any, q: ir.Value, k: ir.Value, v: ir.Value, past_k: ir.Value, past_v: ir.Value, shape: ir.Value,
        scale: ir.Value, lengths: ir.Value, past_lengths: ir.Value, seen: ir.Value, heads: ir.Value, **_: Any,
    ) -> ir.Value | None:  # fmt: skip
        settings = _settings(scale, heads)
        if settings is None:
            return None
        whole = None
        if not always_masked:
            whole = op.And(_is_whole(op, past_lengths, past_k), _is_whole(op, lengths, q))
        v = op.Reshape(v, op.Constant(value_ints=[0, 0, -1]))
        keys, values = op.Concat(past_k, k, axis=1), op.Concat(past_v, v, axis=1)
        attended = _multi_head(op, whole, [q, keys, values], op.Cast(seen, to=ir.DataType.INT32), settings)
        return op.Reshape(attended, shape)

    return attention


def _settings(scale: ir.Value, heads: ir.Value) -> dict[str, Any] | None:
    factor = constant(scale)
    if factor is None or heads.shape is None or not isinstance(heads.shape[1], int):
        return None
    return {"num_heads": heads.shape[1], "scale": factor.item()}


def _is_whole(op: Any, lengths: ir.Value, x: ir.Value) -> ir.Value:
    """Whether no sample of `x` `[batch, frames, dim]` is shorter than the others."""
    frames = op.Shape(x, start=1, end=2)
    return op.Squeeze(op.Equal(op.ReduceMin(lengths, keepdims=1), frames))


def _multi_head(
    op: Any, whole: ir.Value | None, inputs: list[ir.Value | None], mask: ir.Value, settings: dict[str, Any]
) -> ir.Value:
    """Attend with a mask, or without one where the graph finds that all samples are whole."""
    if whole is None:
        return op.MultiHeadAttention(*inputs, None, mask, **settings, _domain=DOMAIN)
    return op.If(
        whole,
        then_branch=_branch("whole", inputs, settings),
        else_branch=_branch("padded", [*inputs, None, mask], settings),
    )


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
ATTENTION_AFTER = RewriteRule(
    _attended_after, _attention_after_operator(always_masked=False), remove_nodes=False
)
MASKED_ATTENTION_AFTER = RewriteRule(
    _attended_after, _attention_after_operator(always_masked=True), remove_nodes=False
)
PRODUCT_WITH_BIAS = RewriteRule(_product_with_bias, _int8_product)
PRODUCT = RewriteRule(_product, _int8_product)
