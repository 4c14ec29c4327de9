"""Rotary positions and attention as operators that ONNX Runtime alone has: com.microsoft, version 1.

The forms differ in how they mask frames that a sample does not have:

- `CHOSEN`: a mask only where a sample is shorter than the others, by an `If`: without one, a CPU is faster.
- `MASKED`: always a mask, so that sums over frames are the same in a longer batch, to the last bit.
- `BIASED`: numbers that are added to the scores, for graphs in fp16 (`rewrite.cuda`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from onnxscript.rewriter import RewriteRule

from .constants import constant
from .simplify import BY_HEAD, apply

DOMAIN = "com.microsoft"
ALIGNED = 8  # keys that `BIASED` attends to are a multiple of this


def with_attention(model: ir.Model, form: Sequence[RewriteRule]) -> ir.Model:
    """Rewrite a simplified model with these operators, in one of the forms."""
    for rule in (ROTARY, *form):  # the others match the result of the first
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
    if any(table.shape is None or len(table.shape) != 2 for table in tables):
        return None
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


# Attention.


def _softmax(op: Any, scores: Any) -> Any:
    return op.Softmax(scores, axis=-1)


def _softmax_of_halves(op: Any, scores: Any) -> Any:
    """Softmax as `rewrite.half` leaves it."""
    whole = op.Softmax(op.Cast(scores, to=ir.DataType.FLOAT), axis=-1)
    return op.Cast(whole, to=ir.DataType.FLOAT16)


def _attended(softmax: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """Make the pattern of attention to the frames of each sample."""

    def pattern(
        op: Any, q: Any, k: Any, v: Any, shape: Any, shape_of_k: Any, scale: Any, places: Any, lengths: Any,
        lengths_axis: Any, zero: Any, unseen: Any, bias_axes: Any,
    ) -> Any:  # fmt: skip
        queries = op.Transpose(
            op.Reshape(q, shape, _allow_other_attributes=True), perm=BY_HEAD, _outputs=["heads"]
        )
        keys = op.Transpose(op.Reshape(k, shape_of_k, _allow_other_attributes=True), perm=BY_HEAD)
        scores = op.MatMul(op.Mul(queries, scale), op.Transpose(keys, perm=[0, 1, 3, 2]))
        seen = op.Less(places, op.Unsqueeze(lengths, lengths_axis))
        bias = op.Unsqueeze(op.Where(seen, zero, unseen), bias_axes, _outputs=["bias"])
        weights = softmax(op, op.Add(scores, bias))
        return op.Transpose(op.MatMul(weights, op.Transpose(v, perm=BY_HEAD)), perm=BY_HEAD)

    return pattern


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


def _biased_attention(
    op: Any, q: ir.Value, k: ir.Value, v: ir.Value, shape: ir.Value, scale: ir.Value, heads: ir.Value,
    bias: ir.Value, **_: Any,
) -> ir.Value | None:  # fmt: skip
    settings = _settings(scale, heads)
    if settings is None:
        return None
    v = op.Reshape(v, op.Constant(value_ints=[0, 0, -1]))
    return op.Reshape(_multi_head_with_bias(op, [q, k, v], bias, settings), shape)


# The same with keys and values of frames before these, in front of their own.


def _attended_after(softmax: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """Make the pattern of attention to the frames before a block, and to its own."""

    def pattern(
        op: Any, q: Any, k: Any, v: Any, past_k: Any, past_v: Any, shape: Any, shape_of_k: Any,
        shape_of_past: Any, scale: Any, places: Any, lengths: Any, past_places: Any, past_lengths: Any,
        axis: Any, zero: Any, unseen: Any, bias_axes: Any,
    ) -> Any:  # fmt: skip
        def by_head(x: Any, shape: Any, **names: Any) -> Any:
            return op.Transpose(op.Reshape(x, shape, _allow_other_attributes=True), perm=BY_HEAD, **names)

        queries = by_head(q, shape, _outputs=["heads"])
        keys = op.Concat(by_head(past_k, shape_of_past), by_head(k, shape_of_k), axis=2)
        values = op.Concat(by_head(past_v, shape_of_past), op.Transpose(v, perm=BY_HEAD), axis=2)
        scores = op.MatMul(op.Mul(queries, scale), op.Transpose(keys, perm=[0, 1, 3, 2]))
        before = op.Less(past_places, op.Unsqueeze(past_lengths, axis))
        seen = op.Concat(before, op.Less(places, op.Unsqueeze(lengths, axis)), axis=1, _outputs=["seen"])
        bias = op.Unsqueeze(op.Where(seen, zero, unseen), bias_axes, _outputs=["bias"])
        weights = softmax(op, op.Add(scores, bias))
        return op.Transpose(op.MatMul(weights, values), perm=BY_HEAD)

    return pattern


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


def _biased_attention_after(
    op: Any, q: ir.Value, k: ir.Value, v: ir.Value, past_k: ir.Value, past_v: ir.Value, shape: ir.Value,
    scale: ir.Value, heads: ir.Value, bias: ir.Value, unseen: ir.Value, **_: Any,
) -> ir.Value | None:  # fmt: skip
    """Attend to keys of an aligned number: after the two parts come keys that no frame sees."""
    settings = _settings(scale, heads)
    if settings is None:
        return None
    v = op.Reshape(v, op.Constant(value_ints=[0, 0, -1]))
    batch, one = op.Shape(q, start=0, end=1), op.Constant(value_ints=[1])
    frames = op.Add(op.Shape(past_k, start=1, end=2), op.Shape(k, start=1, end=2))
    more = op.Mod(op.Neg(frames), op.Constant(value_ints=[ALIGNED]))
    zero = op.Constant(value=ir.tensor(np.zeros((1, 1, 1), np.float16)))
    zeros = op.Expand(zero, op.Concat(batch, more, op.Shape(q, start=2, end=3), axis=0))
    keys, values = op.Concat(past_k, k, zeros, axis=1), op.Concat(past_v, v, zeros, axis=1)
    bias = op.Concat(bias, op.Expand(unseen, op.Concat(batch, one, one, more, axis=0)), axis=3)
    return op.Reshape(_multi_head_with_bias(op, [q, keys, values], bias, settings), shape)


def _settings(scale: ir.Value, heads: ir.Value) -> dict[str, Any] | None:
    factor = constant(scale)
    if factor is None or heads.shape is None or not isinstance(heads.shape[1], int):
        return None
    return {"num_heads": heads.shape[1], "scale": float(factor.item())}


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


def _multi_head_with_bias(
    op: Any, inputs: list[ir.Value], bias: ir.Value, settings: dict[str, Any]
) -> ir.Value:
    """Attend with a bias `[batch, 1, 1, keys]`, which the operator takes for each query."""
    one, queries = op.Constant(value_ints=[1]), op.Shape(inputs[0], start=1, end=2)
    bias = op.Expand(bias, op.Concat(one, one, queries, one, axis=0))
    return op.MultiHeadAttention(*inputs, None, None, bias, **settings, _domain=DOMAIN)


ROTARY = RewriteRule(_rotary, _rotary_operator)
CHOSEN = (
    RewriteRule(_attended(_softmax), _attention_operator(always_masked=False), remove_nodes=False),
    RewriteRule(
        _attended_after(_softmax), _attention_after_operator(always_masked=False), remove_nodes=False
    ),
)
MASKED = (
    RewriteRule(_attended(_softmax), _attention_operator(always_masked=True), remove_nodes=False),
    RewriteRule(_attended_after(_softmax), _attention_after_operator(always_masked=True), remove_nodes=False),
)
BIASED = (
    RewriteRule(_attended(_softmax_of_halves), _biased_attention, remove_nodes=False),
    RewriteRule(_attended_after(_softmax_of_halves), _biased_attention_after, remove_nodes=False),
)
