"""Replace operators that GPU engines lack, or run badly, with ones that all engines run well.

- `DFT`: TensorRT's ONNX parser lacks it.
- `CumSum`: TensorRT 10.3 runs it as a loop over the axis, which a CUDA graph cannot capture.
- `Pad`: ONNX Runtime has no CUDA kernel for it in opsets 19 to 23; the tensor would be copied to the CPU.
- `Equal`: ONNX Runtime has CUDA kernels for opset 13, but none for 19.
- `Clip` of integers: TensorRT clips floating point alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from onnxscript.rewriter import RewriteRule

from .constants import constant, keep

INTEGERS = (ir.DataType.INT32, ir.DataType.INT64)


def _transform(op: Any, x: Any, last: Any, length: Any, axis: Any) -> Any:
    return op.DFT(op.Unsqueeze(x, last), length, axis, onesided=1, inverse=0)


def _transform_as_products(op: Any, x: ir.Value, **_: Any) -> ir.Value | None:
    """Compute the onesided transform of `x` `[..., size]`, `[..., size // 2 + 1, 2]`, with two products.

    The matrices are computed by the graph when it is loaded: they are not stored in the file. Products of
    indices are reduced modulo `size` as integers, so that float32 angles stay exact.
    """
    size = x.shape[-1] if x.shape is not None else None
    if not isinstance(size, int):
        return None
    sample, bin_ = np.arange(size)[:, None], np.arange(size // 2 + 1)[None]
    turns = op.Mod(
        op.Mul(op.Constant(value=ir.tensor(sample)), op.Constant(value=ir.tensor(bin_))),
        op.Constant(value_int=size),
    )
    angle = op.Mul(op.Cast(turns, to=ir.DataType.FLOAT), op.Constant(value_float=-2 * np.pi / size))
    last = op.Constant(value_ints=[-1])
    parts = [op.Unsqueeze(op.MatMul(x, wave), last) for wave in (op.Cos(angle), op.Sin(angle))]
    return op.Concat(*parts, axis=-1)


def _cumulative_sum(op: Any, x: Any, axis: Any) -> Any:
    return op.CumSum(x, axis, _allow_other_attributes=True, _outputs=["sums"])


def _cumulative_sum_as_product(op: Any, x: ir.Value, axis: ir.Value, sums: ir.Value) -> ir.Value | None:
    """Multiply by a triangular matrix of ones, for a fixed length of one of the last two axes."""
    place, node = constant(axis), sums.producer()
    if place is None or x.shape is None or node is None or x.dtype != ir.DataType.FLOAT:
        return None
    if any(node.attributes[name].as_int() for name in ("exclusive", "reverse") if name in node.attributes):
        return None
    index = int(place.item()) % len(x.shape) - len(x.shape)
    size = x.shape[index]
    if index not in (-1, -2) or not isinstance(size, int):
        return None
    ones = np.ones((size, size), np.float32)
    if index == -1:
        return op.MatMul(x, keep(op, x, "triangle", np.triu(ones)))
    return op.MatMul(keep(op, x, "triangle", np.tril(ones)), x)


def _padding(op: Any, x: Any, pads: Any) -> Any:
    return op.Pad(x, pads, _allow_other_inputs=True, _allow_other_attributes=True, _outputs=["padded"])


def _padding_as_concatenation(op: Any, x: ir.Value, pads: ir.Value, padded: ir.Value) -> ir.Value | None:
    """Concatenate what a padding of one axis adds: zeros, or in constant widths the edge or a reflection."""
    node, widths = padded.producer(), _widths(pads)
    if node is None or widths is None or x.shape is None or len(widths) != 2 * len(x.shape):
        return None
    mode = node.attributes["mode"].as_string() if "mode" in node.attributes else "constant"
    given = [value for value in node.inputs[2:] if value is not None]
    if mode == "constant" and any((array := constant(value)) is None or array.any() for value in given):
        return None
    rank = len(x.shape)
    axes = {place % rank for place, width in enumerate(widths) if not _is_zero(width)}
    if not axes:
        return op.Identity(x)
    if len(axes) != 1 or mode not in ("constant", "edge", "reflect"):
        return None
    (axis,) = axes
    before, after = widths[axis], widths[axis + rank]
    if mode == "constant":
        first, last = ([] if _is_zero(w) else [_zeros(op, x, axis, w)] for w in (before, after))
    elif not isinstance(before, int) or not isinstance(after, int):
        return None
    elif mode == "edge":
        first, last = ([_part(op, x, axis, at, at + 1 or _END)] * w for at, w in ((0, before), (-1, after)))
    else:
        first = [_part(op, x, axis, before, 0, step=-1)] if before else []
        last = [_part(op, x, axis, -2, -2 - after, step=-1)] if after else []
    return op.Concat(*first, x, *last, axis=axis)


_END = np.iinfo(np.int64).max  # of an axis, for Slice


def _zeros(op: Any, x: ir.Value, axis: int, width: int | ir.Value) -> ir.Value:
    """Make zeros of so many places in one axis, and the shape of `x` in the others."""
    rank = len(x.shape or ())
    length = op.Constant(value_ints=[width]) if isinstance(width, int) else width
    shape = [op.Shape(x, start=0, end=axis)] if axis else []
    shape += [length, *([op.Shape(x, start=axis + 1, end=rank)] if axis + 1 < rank else [])]
    return op.Expand(op.Constant(value_float=0.0), op.Concat(*shape, axis=0))


def _part(op: Any, x: ir.Value, axis: int, start: int, end: int, step: int = 1) -> ir.Value:
    return op.Slice(x, *(op.Constant(value_ints=[number]) for number in (start, end, axis, step)))


def _widths(pads: ir.Value) -> Sequence[int | ir.Value] | None:
    """Return the input of a Pad element by element, where it is constant or a Concat of single elements."""
    array = constant(pads)
    if array is not None:
        return [int(width) for width in array]
    node = pads.producer()
    if node is None or node.op_type != "Concat":
        return None
    widths: list[int | ir.Value] = []
    for value in node.inputs:
        array = constant(value)
        if array is not None:
            widths += [int(width) for width in array]
        elif value is not None and value.shape is not None and value.shape.dims == (1,):
            widths.append(value)
        else:
            return None
    return widths


def _is_zero(width: int | ir.Value) -> bool:
    return isinstance(width, int) and width == 0


def _clip(op: Any, x: Any, low: Any, high: Any) -> Any:
    return op.Clip(x, low, high)


def _clip_as_extremes(op: Any, x: ir.Value, low: ir.Value, high: ir.Value) -> ir.Value | None:
    return op.Min(op.Max(x, low), high) if x.dtype in INTEGERS else None


def _equality(op: Any, x: Any, y: Any) -> Any:
    return op.Equal(x, y)


def _equality_as_comparisons(op: Any, x: ir.Value, y: ir.Value) -> ir.Value | None:
    if x.dtype not in (*INTEGERS, ir.DataType.FLOAT):
        return None
    return op.And(op.LessOrEqual(x, y), op.LessOrEqual(y, x))


UNSUPPORTED = [
    RewriteRule(_transform, _transform_as_products),
    RewriteRule(_cumulative_sum, _cumulative_sum_as_product),
    RewriteRule(_padding, _padding_as_concatenation),
    RewriteRule(_equality, _equality_as_comparisons),
    RewriteRule(_clip, _clip_as_extremes),
]
