"""Which products of a graph have trained weights, and those weights in 8 bits."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from .constants import constant

NARROWEST = 16  # columns; a narrower product costs little, and its few outputs influence many values


def is_cumulative_sum(node: ir.Node) -> bool:
    """Whether a node is a product with a constant triangular matrix of ones, which sums along an axis.

    Codes are sampled from such sums (`rewrite.unsupported` makes the products): they stay in float32 in
    every precision.
    """
    return node.op_type == "MatMul" and any(_is_triangle(constant(value)) for value in node.inputs)


def weight_of_product(weight: ir.Value) -> np.ndarray | None:
    """Return the weight of a product that is worth quantising, float32 `[in, out]`.

    Returns None for products of two activations, for weights that are looked up (the heads of a level), for
    narrow weights, and for cumulative sums.
    """
    array = constant(weight)
    if array is None or array.ndim != 2 or array.shape[1] < NARROWEST or _is_triangle(array):
        return None
    return array


def _is_triangle(matrix: np.ndarray | None) -> bool:
    if matrix is None or matrix.ndim != 2 or not 1 < len(matrix) == matrix.shape[1]:
        return False
    ones = np.ones_like(matrix)
    return np.array_equal(matrix, np.triu(ones)) or np.array_equal(matrix, np.tril(ones))


def quantised(array: np.ndarray, scale: np.ndarray, dtype: ir.DataType) -> np.ndarray:
    """Divide by the scale, and round symmetrically to int8 or float8."""
    largest = float(dtype.max)
    scaled = np.clip(array / scale, -largest, largest)
    return (np.round(scaled) if dtype == ir.DataType.INT8 else scaled).astype(dtype.numpy())
