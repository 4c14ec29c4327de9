"""Pad inputs to whole buckets, so that an engine that is fast in shapes it knows meets few of them."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from .graphs import Axis, Graph, Tensor

BUCKET = 64  # a tile of a GPU's matrix units, so that the padding costs little

Shapes = dict[str, tuple[int, ...]]


def whole_buckets(length: int) -> int:
    """Round a length up to whole buckets."""
    return math.ceil(length / BUCKET) * BUCKET


def filled_lengths(graph: Graph, lengths: Mapping[str, int], axes: Mapping[str, Axis]) -> dict[str, int]:
    """Return the lengths with `graph.padding` rounded up to a whole bucket, at most to its limit.

    Args:
        graph: The graph.
        lengths: Length of each symbolic axis.
        axes: Limits of the axes.
    """
    return {
        axis: min(whole_buckets(length), axes[axis].max) if axis == graph.padding else length
        for axis, length in lengths.items()
    }


def shapes_of(tensors: tuple[Tensor, ...], lengths: Mapping[str, int]) -> Shapes:
    """Return the shape of each tensor by name."""
    return {t.name: tuple(lengths[a] if isinstance(a, str) else a for a in t.axes) for t in tensors}


def fill(buffer: np.ndarray, feed: np.ndarray) -> None:
    """Copy an input to the start of every axis of `buffer`, and set the rest to 0."""
    if buffer.shape != feed.shape:
        buffer[...] = 0
    buffer[tuple(map(slice, feed.shape))] = feed


def cropped(result: np.ndarray, tensor: Tensor, lengths: Mapping[str, int]) -> np.ndarray:
    """Return a copy of an output without the padding.

    Args:
        result: The padded output.
        tensor: Its description.
        lengths: Length of each symbolic axis without padding.
    """
    kept = (slice(lengths.get(axis) if isinstance(axis, str) else None) for axis in tensor.axes)
    return result[tuple(kept)].copy()
