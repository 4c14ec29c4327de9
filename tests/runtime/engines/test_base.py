"""The guarded entrance that all engines share."""

from __future__ import annotations

import numpy as np
import pytest

from soundstorm_runtime.engines.base import Engine
from soundstorm_runtime.engines.graphs import decoder_graph
from soundstorm_runtime.errors import EngineError


class Fixed(Engine):
    """Answers every run with the same arrays, and counts the runs."""

    def __init__(self, **results):
        super().__init__(decoder_graph(2))
        self.results = results
        self.runs = 0

    def _run(self, feeds):
        self.runs += 1
        return self.results


CODES = np.zeros((1, 3, 2), np.int64)


def test_gives_what_the_implementation_gives():
    audio = np.ones((1, 48), np.float32)
    assert Fixed(audio=audio).run({"codes": CODES})["audio"] is audio


def test_bad_feeds_never_reach_the_implementation():
    engine = Fixed(audio=np.ones((1, 48), np.float32))
    with pytest.raises(EngineError, match=r"graph 'decoder' takes \['codes'\], got \['tokens'\]"):
        engine.run({"tokens": CODES})
    assert engine.runs == 0


def test_bad_results_never_reach_the_caller():
    with pytest.raises(EngineError, match="output 'audio' of graph 'decoder' is float64, expected float32"):
        Fixed(audio=np.ones((1, 48))).run({"codes": CODES})
    with pytest.raises(EngineError, match="with batch = 1"):
        Fixed(audio=np.ones((2, 48), np.float32)).run({"codes": CODES})
