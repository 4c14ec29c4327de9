"""How far one engine is from another on the same inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .graphs import Graph


@dataclass(frozen=True)
class Difference:
    """What two engines give differently.

    largest: of numbers, absolute where they are below 1, relative above; those that speak for an integer
    (the confidence of a code) count where it is equal. agreement: share of the integers that are equal.
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
            errors = np.abs(want - have) / np.maximum(1.0, np.abs(want))
            counts = equal if equal.shape == errors.shape else np.ones(1, bool)
            largest = max(largest, float(np.nan_to_num(errors * counts, nan=np.inf).max(initial=0.0)))
    return Difference(largest, float(equal.mean()))
