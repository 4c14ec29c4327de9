"""Random inputs are within the ranges that the graphs of a voice take."""

from __future__ import annotations

import numpy as np
import pytest

from soundstorm_runtime.engines.example_feeds import FeedLimits, example_feeds
from soundstorm_runtime.engines.graphs import (
    CacheShape,
    autoregressive_text_graphs,
    check_feeds,
    decoder_graph,
    decoder_stream_graph,
    encoder_graph,
    parallel_text_graphs,
    prefix_graph,
    spectral_decoder_graph,
    step_graph,
    units_graph,
)

LEVELS, CODES, TOKENS, TEXT_IDS = 3, 8, 10, 12
LIMITS = FeedLimits(LEVELS, CODES, TOKENS, TEXT_IDS, temperature=0.7)
LENGTHS = {
    "batch": 4,
    "frames": 9,
    "phones": 5,
    "tokens": 7,
    "past": 3,
    "prefix": 4,
    "prompt_frames": 10,
    "prompt_tokens": 11,
}
CACHE = CacheShape(layers=2, width=32, before=2, channels=64)
GRAPHS = (
    step_graph(LEVELS),
    step_graph(LEVELS, CACHE),
    prefix_graph(LEVELS, CACHE),
    decoder_graph(LEVELS),
    decoder_stream_graph(LEVELS, [(2, 5), (4,)]),
    spectral_decoder_graph(LEVELS, 66),
    encoder_graph(16, LEVELS),
    units_graph(32),
    *parallel_text_graphs(6),
    *autoregressive_text_graphs(2, 1, 4, TOKENS),
)  # fmt: skip


def feeds_of(graph):
    return example_feeds(graph, LIMITS, LENGTHS, np.random.default_rng(0))


@pytest.mark.parametrize("graph", GRAPHS, ids=[f"{place}-{graph.name}" for place, graph in enumerate(GRAPHS)])
def test_they_are_what_the_graph_takes(graph):
    feeds = feeds_of(graph)
    check_feeds(graph, feeds)
    allowed = {"semantic_tokens": TOKENS, "phones": TEXT_IDS, "token": TOKENS + 1, "level": LEVELS}
    for name, count in allowed.items():
        if name in feeds:
            assert feeds[name].min() >= 0
            assert feeds[name].max() < count


@pytest.mark.parametrize(
    ("graph", "axis"),
    [(step_graph(LEVELS), "frames"), *zip(parallel_text_graphs(6), ("phones", "tokens"), strict=True),
     *((graph, "phones") for graph in autoregressive_text_graphs(2, 1, 4, TOKENS))],
)  # fmt: skip
def test_the_first_sample_fills_its_axis_and_the_others_lie_within(graph, axis):
    lengths = feeds_of(graph)["lengths"]
    assert lengths[0] == LENGTHS[axis]
    assert 1 <= lengths.min() <= lengths.max() <= LENGTHS[axis]


def test_a_step_is_masked_as_in_decoding():
    feeds = feeds_of(step_graph(LEVELS))
    codes, level = feeds["codes"], int(feeds["level"][0])
    assert (codes[..., level + 1 :] == CODES).all()
    assert (codes[..., :level] < CODES).all()
    assert 0.5 < (codes[..., level] == CODES).mean() < 1
    assert feeds["temperature"].tolist() == [np.float32(0.7)]
