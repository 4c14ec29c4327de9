"""Fill feeds up to whole buckets, so that an engine that is quick in shapes it knows meets few of them."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from .graphs import Axis, Graph, Tensor

BUCKET = 64  # places of an axis: a tile of a GPU's matrix units, so that filling one up costs little

Shapes = dict[str, tuple[int, ...]]


def whole_buckets(length: int) -> int:
    """Round a length up to whole buckets."""
    return math.ceil(length / BUCKET) * BUCKET


def filled_lengths(graph: Graph, lengths: Mapping[str, int], axes: Mapping[str, Axis]) -> dict[str, int]:
    """Round the axis of padding up to a whole bucket, or to the longest it may be."""
    return {
        axis: min(whole_buckets(length), axes[axis].max) if axis == graph.padding else length
        for axis, length in lengths.items()
    }


def shapes_of(tensors: tuple[Tensor, ...], lengths: Mapping[str, int]) -> Shapes:
    """Return the shape of each tensor by name."""
    return {t.name: tuple(lengths[a] if isinstance(a, str) else a for a in t.axes) for t in tensors}


def fill(room: np.ndarray, feed: np.ndarray) -> None:
    """Put a feed at the beginning of all axes of `room`, and zeros where it ends before."""
    if room.shape != feed.shape:
        room[...] = 0
    room[tuple(map(slice, feed.shape))] = feed


def cropped(result: np.ndarray, tensor: Tensor, lengths: Mapping[str, int]) -> np.ndarray:
    """Copy an output without what belongs to the padding."""
    kept = (slice(lengths.get(axis) if isinstance(axis, str) else None) for axis in tensor.axes)
    return result[tuple(kept)].copy()
