"""The table of graphs, and the checks of what goes in and comes out."""

from __future__ import annotations

import re

import numpy as np
import pytest

from soundstorm_runtime.engines.graphs import (
    AXES,
    DTYPES,
    Axis,
    CacheShape,
    autoregressive_text_graphs,
    check_feeds,
    check_results,
    decoder_graph,
    parallel_text_graphs,
    prefix_graph,
    spectral_decoder_graph,
    step_graph,
    step_next_graph,
)
from soundstorm_runtime.errors import EngineError

CACHE = CacheShape(layers=2, width=32, before=2, channels=64)
GRAPHS = [
    step_graph(6),
    step_graph(6, CACHE),
    step_next_graph(6, CACHE),
    prefix_graph(6, CACHE),
    decoder_graph(6),
    spectral_decoder_graph(6, 642),
    *parallel_text_graphs(32),
    *autoregressive_text_graphs(2, 4, 8, 500),
]


def feeds_for(batch: int = 2, frames: int = 5, levels: int = 3) -> dict[str, np.ndarray]:
    return {
        "codes": np.zeros((batch, frames, levels), np.int64),
        "level": np.zeros(1, np.int64),
        "semantic_tokens": np.zeros((batch, frames), np.int64),
        "lengths": np.full(batch, frames, np.int64),
        "uniform": np.zeros((batch, frames), np.float32),
        "temperature": np.ones(1, np.float32),
    }


@pytest.mark.parametrize("graph", GRAPHS, ids=lambda graph: graph.name)
def test_every_axis_and_dtype_is_of_the_tables(graph):
    for tensor in graph.inputs + graph.outputs:
        assert tensor.dtype in DTYPES
        assert all(axis in AXES if isinstance(axis, str) else axis > 0 for axis in tensor.axes)


@pytest.mark.parametrize("graph", GRAPHS, ids=lambda graph: graph.name)
def test_names_are_unique(graph):
    names = [tensor.name for tensor in graph.inputs + graph.outputs]
    # A text decoder takes `hidden` from the encoder by name, so names repeat between graphs only.
    assert len(set(names)) == len(names)


def test_good_feeds_pass():
    check_feeds(step_graph(3), feeds_for())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"codes": None}, "graph 'step' takes ['codes', 'level'"),
        ({"uniform": np.zeros((2, 5))}, "input 'uniform' of graph 'step' is float64, expected float32"),
        ({"level": np.zeros((), np.int64)}, "input 'level' of graph 'step' has shape [], expected [1]"),
        (
            {"uniform": np.zeros((2, 4), np.float32)},
            "input 'uniform' of graph 'step' has shape [2, 4], expected ['batch', 'frames'] with frames = 5",
        ),
        (
            {"codes": np.zeros((2, 5, 4), np.int64)},
            "input 'codes' of graph 'step' has shape [2, 5, 4], expected ['batch', 'frames', 3]",
        ),
    ],
)
def test_bad_feeds_are_named(change, message):
    feeds = {name: array for name, array in {**feeds_for(), **change}.items() if array is not None}
    with pytest.raises(EngineError, match=re.escape(message)):
        check_feeds(step_graph(3), feeds)


def test_a_length_outside_its_axis_is_named():
    axes = {**AXES, "frames": Axis(1, 2, 4)}
    with pytest.raises(EngineError, match="was given 5 frames, expected 1 to 4; split it into parts"):
        check_feeds(step_graph(3), feeds_for(), axes)


def test_results_must_fit_the_feeds():
    graph, feeds = step_graph(3), feeds_for()
    good = {"ids": np.zeros((2, 5), np.int64), "confidence": np.zeros((2, 5), np.float32)}
    check_results(graph, feeds, good)
    with pytest.raises(EngineError, match=r"gives \['ids', 'confidence'\], the engine gave \['ids'\]"):
        check_results(graph, feeds, {"ids": good["ids"]})
    with pytest.raises(EngineError, match=r"output 'ids' of graph 'step' has shape \[2, 6\]"):
        check_results(graph, feeds, {**good, "ids": np.zeros((2, 6), np.int64)})
    with pytest.raises(EngineError, match="output 'ids' of graph 'step' is int32, expected int64"):
        check_results(graph, feeds, {**good, "ids": good["ids"].astype(np.int32)})
