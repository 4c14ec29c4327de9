"""The search for the best monotonic path, against all paths there are."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from soundstorm_runtime.decoding.monotonic_alignment import monotonic_path


@pytest.mark.parametrize(("steps", "states"), [(1, 1), (5, 1), (4, 4), (7, 3), (9, 5)])
def test_the_path_has_the_largest_sum_of_all(steps, states):
    scores = np.random.default_rng(steps).normal(size=(steps, states))
    paths = []
    for borders in combinations(range(1, steps), states - 1):
        lengths = np.diff([0, *borders, steps])
        paths.append(np.repeat(np.arange(states), lengths))
    best = max(paths, key=lambda path: scores[np.arange(steps), path].sum())
    np.testing.assert_array_equal(monotonic_path(scores), best)
