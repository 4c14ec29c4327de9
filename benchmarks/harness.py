"""How times are measured: side by side, after a burn-in, as medians and as ratios within a round.

A machine is never quiet. What is compared therefore runs in turns, once each in every round, so that
all of it meets the same noise; a ratio is the median of the rounds' own ratios. Threads of a case wait
busily for a while after it; so each turn begins with a rest, lest they slow down the next.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

REST = 0.1  # seconds; threads of ONNX Runtime were seen to wait for 0.05

Taken = dict[str, list[float]]


@dataclass(frozen=True)
class Timing:
    """Seconds of one call: the median, and the quartiles around it."""

    seconds: float
    quartiles: tuple[float, float]
    repeats: int


def interleave(
    cases: Mapping[str, Callable[[], object]],
    repeats: int,
    burn_in: int = 2,
    *,
    lead_in: int = 0,
    rest: float = REST,
) -> Taken:
    """Time each case once in every round, `repeats` rounds after `burn_in` that do not count; in seconds.

    lead_in: calls in each turn before the one that counts: what runs in a loop never meets the cold caches
    and sleeping threads that others leave behind. rest: seconds before each turn.
    """
    taken: Taken = {name: [] for name in cases}
    for number in range(burn_in + repeats):
        for name, case in cases.items():
            time.sleep(rest)
            for _ in range(lead_in):
                case()
            started = time.perf_counter()
            case()
            if number >= burn_in:
                taken[name].append(time.perf_counter() - started)
    return taken


def timing(seconds: Sequence[float]) -> Timing:
    """Summarise the times of one case."""
    low, middle, high = np.percentile(seconds, (25, 50, 75))
    return Timing(round(middle, 5), (round(low, 5), round(high, 5)), len(seconds))


def ratio(taken: Taken, numerator: str, denominator: str) -> float:
    """Return the median over rounds of the ratio of two cases."""
    return round(float(np.median(np.divide(taken[numerator], taken[denominator]))), 3)


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """Fit `seconds = a * size ** exponent`, by least squares on logarithms."""
    return round(float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0]), 3)


class Spans:
    """Named spans of a benchmark's own time; `seconds` has the duration of each."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Add the time that the block takes to the span `name`."""
        started = time.perf_counter()
        yield
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - started, 3)
