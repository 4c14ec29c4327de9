"""Products with weights that are worth 8 bits, and their weights in them: int8 or float8."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from .simplify import constant

NARROWEST = 16  # columns; a thinner product costs little, and its few outputs steer a lot


def weight_of_product(weight: ir.Value) -> np.ndarray | None:
    """Give the weight float32 `[in, out]` of a product that is worth quantising.

    None stands for products of two activations, and for weights that are looked up (the heads of a level).
    """
    array = constant(weight)
    return array if array is not None and array.ndim == 2 and array.shape[1] >= NARROWEST else None


def quantised(array: np.ndarray, scale: np.ndarray, dtype: ir.DataType) -> np.ndarray:
    """Divide by the scale, and round symmetrically to int8 or float8."""
    largest = float(dtype.max)
    scaled = np.clip(array / scale, -largest, largest)
    return (np.round(scaled) if dtype == ir.DataType.INT8 else scaled).astype(dtype.numpy())
