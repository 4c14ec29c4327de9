"""Make a traced graph cheaper to run on every engine, with standard ONNX operators alone.

Each rule is a pattern in the trace and its replacement. A graph without the pattern is left as it is; the
parity check with PyTorch follows in either case.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common as passes
from onnxscript.rewriter import RewriteRule, rewrite

from .constants import constant, keep
from .unsupported import UNSUPPORTED

BY_HEAD = [0, 2, 1, 3]  # [batch, frames, heads, dim_head] to [batch, heads, frames, dim_head], and back


def simplify(model: ir.Model) -> ir.Model:
    """Apply all rules to a traced model, those of `unsupported` last."""
    model = apply(model, [SCALED_PRODUCT, SPLIT_PRODUCT, HEADS_OF_PRODUCT, SCORES, DEPTHWISE, DIVISOR])
    model = apply(model, [MIX])  # needs the products by head that the first pass makes
    return apply(model, UNSUPPORTED)


def apply(model: ir.Model, rules: list[RewriteRule]) -> ir.Model:
    """Apply rules, then remove unused and repeated nodes."""
    model = rewrite(model, rules)
    passes.CommonSubexpressionEliminationPass()(model)
    passes.RemoveUnusedNodesPass()(model)
    return model


# A layer whose output is halved (the feed-forwards of a Conformer) has smaller weights in its place.


def _scaled_product(op: Any, x: Any, weight: Any, bias: Any, scale: Any) -> Any:
    return op.Mul(op.Add(op.MatMul(x, weight), bias), scale)


def _product_of_scaled(
    op: Any, x: ir.Value, weight: ir.Value, bias: ir.Value, scale: ir.Value
) -> ir.Value | None:
    w, b, s = constant(weight), constant(bias), constant(scale)
    if w is None or b is None or s is None or s.size != 1:
        return None
    return op.Add(op.MatMul(x, keep(op, weight, "scaled", w * s)), keep(op, bias, "scaled", b * s))


# Two products are cheaper than one whose result has to be copied apart.


def _split_product(op: Any, x: Any, weight: Any, bias: Any) -> Any:
    return op.Split(op.Add(op.MatMul(x, weight), bias), axis=-1, num_outputs=2, _outputs=["first", "second"])


def _products_apart(
    op: Any, x: ir.Value, weight: ir.Value, bias: ir.Value, **_: Any
) -> list[ir.Value] | None:
    w, b = constant(weight), constant(bias)
    if w is None or b is None or w.shape[1] % 2:
        return None
    halves = zip(("first", "second"), np.split(w, 2, axis=1), np.split(b, 2), strict=True)
    return [
        op.Add(op.MatMul(x, keep(op, weight, name, part)), keep(op, bias, name, part_bias))
        for name, part, part_bias in halves
    ]


def _heads_of_product(op: Any, x: Any, weight: Any, shape: Any, start: Any, end: Any, axis: Any) -> Any:
    view = op.Reshape(op.MatMul(x, weight), shape, _allow_other_attributes=True)
    part = op.Slice(op.Transpose(view, perm=[2, 0, 3, 1, 4]), start, end, axis)
    return op.Squeeze(part, axis, _outputs=["heads"])


def _product_by_heads(
    op: Any, x: ir.Value, weight: ir.Value, start: ir.Value, heads: ir.Value, **_: Any
) -> ir.Value | None:
    w, place, shape = constant(weight), constant(start), heads.shape
    if w is None or place is None or shape is None:
        return None
    count, size = shape[1], shape[3]
    if not isinstance(count, int) or not isinstance(size, int):
        return None
    first = int(place.item()) * count * size
    part = op.MatMul(x, keep(op, weight, f"part{place.item()}", w[:, first : first + count * size]))
    view = op.Reshape(part, op.Constant(value_ints=[0, 0, count, size]))
    return op.Transpose(view, perm=BY_HEAD)


# A mixture of two values, which the tracer spells out for shares below and above a half. It is mixed before
# it is ordered by head.


def _mixture(op: Any, first: Any, second: Any, share: Any, half: Any, one: Any, axis: Any) -> Any:
    first, second = op.Transpose(first, perm=BY_HEAD), op.Transpose(second, perm=BY_HEAD)
    share = op.Unsqueeze(op.Transpose(share, perm=[0, 2, 1]), axis)
    difference = op.Sub(second, first)
    low = op.Add(first, op.Mul(share, difference))
    high = op.Sub(second, op.Mul(difference, op.Sub(one, share)))
    return op.Where(op.Less(share, half), low, high)


def _short_mixture(
    op: Any, first: ir.Value, second: ir.Value, share: ir.Value, axis: ir.Value, **_: Any
) -> ir.Value:
    mixed = op.Add(first, op.Mul(op.Unsqueeze(share, axis), op.Sub(second, first)))
    return op.Transpose(mixed, perm=BY_HEAD)


# Attention scores: queries alone are scaled, and keys transposed at once.


def _scores(op: Any, q: Any, k: Any, scale: Any, flat: Any, shape: Any) -> Any:
    turned = op.Transpose(op.Reshape(k, flat, _allow_other_attributes=True), perm=[0, 2, 1])
    keys = op.Reshape(turned, shape, _allow_other_attributes=True)
    return op.MatMul(op.Mul(q, scale), op.Mul(keys, scale))


def _short_scores(op: Any, q: ir.Value, k: ir.Value, scale: ir.Value, **_: Any) -> ir.Value | None:
    root = constant(scale)
    if root is None:
        return None
    return op.MatMul(op.Mul(q, keep(op, scale, "squared", root * root)), op.Transpose(k, perm=[0, 1, 3, 2]))


# A depthwise convolution over frames as one over pictures of a single row: engines have better ones for it,
# and take the transposes into it.


def _depthwise(op: Any, x: Any, weight: Any, bias: Any) -> Any:
    frames = op.Conv(
        op.Transpose(x, perm=[0, 2, 1]), weight, bias, _allow_other_attributes=True, _outputs=["convolved"]
    )
    return op.Transpose(frames, perm=[0, 2, 1])


def _depthwise_on_a_row(
    op: Any, x: ir.Value, weight: ir.Value, bias: ir.Value, convolved: ir.Value
) -> ir.Value | None:
    w, node = constant(weight), convolved.producer()
    if w is None or node is None:
        return None
    pads, group = list(node.attributes["pads"].as_ints()), node.attributes["group"].as_int()
    if group != w.shape[0] or w.shape[1] != 1:
        return None
    row = op.Transpose(op.Unsqueeze(x, op.Constant(value_ints=[1])), perm=[0, 3, 1, 2])
    kernel = keep(op, weight, "row", w[:, :, None])
    row = op.Conv(row, kernel, bias, group=group, kernel_shape=[1, w.shape[2]], pads=[0, pads[0], 0, pads[1]])
    return op.Squeeze(op.Transpose(row, perm=[0, 2, 3, 1]), op.Constant(value_ints=[1]))


# A divisor is broadcast anyway (the norms of `torch.nn.functional.normalize`).


def _expanded_divisor(op: Any, x: Any, divisor: Any, shape: Any) -> Any:
    return op.Div(x, op.Expand(divisor, shape, _outputs=["expanded"]))


def _broadcast_divisor(
    op: Any, x: ir.Value, divisor: ir.Value, expanded: ir.Value, **_: Any
) -> ir.Value | None:
    return op.Div(x, divisor) if x.shape is not None and x.shape == expanded.shape else None


SCALED_PRODUCT = RewriteRule(_scaled_product, _product_of_scaled)
SPLIT_PRODUCT = RewriteRule(_split_product, _products_apart)
HEADS_OF_PRODUCT = RewriteRule(_heads_of_product, _product_by_heads, remove_nodes=False)
MIX = RewriteRule(_mixture, _short_mixture, remove_nodes=False)
SCORES = RewriteRule(_scores, _short_scores)
DEPTHWISE = RewriteRule(_depthwise, _depthwise_on_a_row)
DIVISOR = RewriteRule(_expanded_divisor, _broadcast_divisor)
