"""How far one engine is from another on the same inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .graphs import Graph


@dataclass(frozen=True)
class Difference:
    """What two engines give differently.

    largest: of numbers (`errors`); those that speak for an integer (the confidence of a code) count where it
    is equal. agreement: share of the integers that are equal.
    """

    largest: float
    agreement: float


def compare(graph: Graph, expected: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray]) -> Difference:
    """Compare the outputs of a graph; what is not finite on one side differs infinitely."""
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
    """Give the error of each number: absolute in a row that stays below 1, else relative to its largest.

    A row is a vector along the last axis, such as a frame's spectrum: its parts are sums of the same
    numbers, so that what is rounded away of a large one may be much of a small one beside it.
    """
    return np.abs(expected - found) / np.abs(expected).max(axis=-1, keepdims=True, initial=1.0)
