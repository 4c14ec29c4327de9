"""An engine maps named arrays to named arrays: PyTorch, ONNX Runtime, TensorRT."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np

from .graphs import AXES, Axis, Graph, check_feeds, check_results


class Engine(ABC):
    """Runs one graph.

    `run` checks names, dtypes and shapes of inputs and outputs, for all engines. A subclass overrides `_run`
    alone, whose inputs have been checked.

    Args:
        graph: The graph that it runs.
        axes: Limits of the symbolic axes.
    """

    def __init__(self, graph: Graph, axes: Mapping[str, Axis] = AXES) -> None:
        self.graph = graph
        self.axes = axes

    def __str__(self) -> str:
        """Return the name of the engine, for people."""
        return type(self).__name__

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the graph once.

        Args:
            feeds: Its inputs by name.

        Returns:
            Its outputs by name.

        Raises:
            EngineError: The graph does not take these inputs, or the engine returned what it does not have.
        """
        check_feeds(self.graph, feeds, self.axes)
        results = self._run(feeds)
        check_results(self.graph, feeds, results)
        return results

    def padded(self, frames: int) -> int:
        """Return the length, at least `frames`, in which the engine runs fastest."""
        return frames

    def keep(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Put arrays where `run` takes them without a copy from the host; here they stay as they are."""
        return list(arrays)

    @abstractmethod
    def _run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Compute the outputs by name; the inputs have been checked."""
