"""How far the outputs of one engine are from those of another for the same inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .graphs import Graph


@dataclass(frozen=True)
class Difference:
    """How the outputs of two engines differ.

    Attributes:
        largest: Largest error of the floats (see `errors`). One that belongs to an integer, such as the
            confidence of a code, counts where the integers are equal.
        agreement: Share of the integers that are equal, 1 where there are none.
    """

    largest: float
    agreement: float


def compare(graph: Graph, expected: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray]) -> Difference:
    """Compare the outputs of a graph by name; a value that is not finite on one side differs infinitely."""
    equal = np.ones(1, bool)
    for tensor in graph.outputs:
        if tensor.dtype == "int64":
            equal = np.asarray(expected[tensor.name]) == np.asarray(found[tensor.name])
    largest = 0.0
    for tensor in graph.outputs:
        if tensor.dtype == "float32":
            want, have = np.asarray(expected[tensor.name]), np.asarray(found[tensor.name])
            counts = equal if equal.shape == want.shape else np.ones(1, bool)
            found_errors = np.nan_to_num(errors(want, have) * counts, nan=np.inf)
            largest = max(largest, float(found_errors.max(initial=0.0)))
    return Difference(largest, float(equal.mean()))


def errors(expected: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return the error of each number: absolute in a row that stays below 1, else relative to its largest.

    A row is a vector along the last axis, such as a frame's spectrum. Its values are sums of the same
    numbers, so that a rounding error that is small for the largest may be large for a small one beside it.
    """
    return np.abs(expected - found) / np.abs(expected).max(axis=-1, keepdims=True, initial=1.0)
