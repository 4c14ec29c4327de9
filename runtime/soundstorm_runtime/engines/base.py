"""An engine maps named arrays to named arrays: PyTorch, ONNX Runtime, TensorRT."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np

from .graphs import AXES, Axis, Graph, check_feeds, check_results


class Engine(ABC):
    """Runs one graph.

    `run` is the guarded entrance: it checks names, dtypes and shapes on both sides, once for all
    engines. A subclass overrides `_run` alone and may trust what it is given.
    """

    def __init__(self, graph: Graph, axes: Mapping[str, Axis] = AXES) -> None:
        self.graph = graph
        self.axes = axes

    def __str__(self) -> str:
        """Name what computes, for people."""
        return type(self).__name__

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the graph once.

        Raises `EngineError` for feeds that the graph does not take, and for results that are not
        what it gives.
        """
        check_feeds(self.graph, feeds, self.axes)
        results = self._run(feeds)
        check_results(self.graph, feeds, results)
        return results

    @abstractmethod
    def _run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Compute the outputs by name; the feeds have been checked."""
