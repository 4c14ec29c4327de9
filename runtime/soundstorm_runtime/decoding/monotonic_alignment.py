"""Monotonic alignment: which of a sequence of states each step of time belongs to."""

from __future__ import annotations

import numpy as np


def monotonic_path(scores: np.ndarray) -> np.ndarray:
    """Return the state of each step on the path with the largest sum of scores, int64 [steps].

    The path starts in the first state, ends in the last one, and goes from each state to the next. It is
    found by dynamic programming, as in the search of Glow-TTS (arXiv 2005.11129, algorithm 1).

    Args:
        scores: float [steps, states], with at least as many steps as states.
    """
    steps, states = scores.shape
    best = np.full(states, -np.inf)
    best[0] = scores[0, 0]
    left = np.full(states, -np.inf)
    entered = np.zeros((steps, states), bool)  # whether the best path enters the state in this step
    for step in range(1, steps):
        left[1:] = best[:-1]
        np.greater(left, best, out=entered[step])
        best = np.maximum(left, best) + scores[step]
    path = np.empty(steps, np.int64)
    state = states - 1
    for step in reversed(range(steps)):
        path[step] = state
        state -= int(entered[step, state])
    return path
