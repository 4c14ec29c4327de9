"""How long functions and engines take."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np

from .base import Engine

T = TypeVar("T")


def quickest(work: Callable[[], T], runs: int = 3, seconds: float = 0.03) -> tuple[T, float]:
    """Call a function several times, the first as a warm-up; return a result and the fewest seconds.

    Args:
        work: The function.
        runs: How often at least.
        seconds: How long at least: what takes milliseconds is timed more often, since other work on the
            machine delays it most.
    """
    taken: list[float] = []
    while len(taken) < runs or sum(taken) < seconds:
        started = time.perf_counter()
        result = work()
        taken.append(time.perf_counter() - started)
    return result, min(taken)


class TimedEngine(Engine):
    """Runs another engine and measures it, for one thread at a time.

    Args:
        engine: The engine to measure.

    Attributes:
        seconds: Seconds that all runs took since the last `reset`.
        calls: Number of those runs.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine.graph, engine.axes)
        self.seconds = 0.0
        self.calls = 0
        self._engine = engine

    def reset(self) -> None:
        """Set both counts to 0."""
        self.seconds, self.calls = 0.0, 0

    def _run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        started = time.perf_counter()
        results = self._engine.run(feeds)
        self.seconds += time.perf_counter() - started
        self.calls += 1
        return results
