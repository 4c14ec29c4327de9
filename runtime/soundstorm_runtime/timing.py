"""An engine with a stopwatch."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np

from .engine import Engine


class TimedEngine(Engine):
    """Runs another engine, and adds up the `seconds` and the `calls`; for one thread at a time."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine.graph, engine.axes)
        self.seconds = 0.0
        self.calls = 0
        self._engine = engine

    def reset(self) -> None:
        """Begin at zero."""
        self.seconds, self.calls = 0.0, 0

    def _run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        started = time.perf_counter()
        results = self._engine.run(feeds)
        self.seconds += time.perf_counter() - started
        self.calls += 1
        return results
