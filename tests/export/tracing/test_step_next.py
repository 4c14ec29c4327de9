"""The graph of a whole step on ONNX Runtime: a decode gives the codes of the NumPy loop, seed for seed."""

from __future__ import annotations

from functools import partial

import numpy as np
import onnx_ir as ir
import pytest

from soundstorm_edge.soundstorm.next_step import step_next
from soundstorm_export.rewrite.half import HALVES, to_half
from soundstorm_export.rewrite.simplify import simplify
from soundstorm_export.tracing.networks import Network
from soundstorm_export.tracing.trace import trace_graph
from soundstorm_export.verify.operators import check_operators
from soundstorm_runtime.decoding.maskgit import DecodeOptions, decode
from soundstorm_runtime.engines.graphs import step_next_graph
from soundstorm_runtime.engines.onnx.onnx_engine import OnnxEngine
from tests.export.conftest import CODES, LEVELS, TOKENS, step_feeds


@pytest.fixture(scope="module")
def models(network, _traced):
    """Both graphs in fp32, simplified: the step, and the whole step."""
    whole = Network(step_next_graph(LEVELS), network.module, partial(step_next, network.module))
    feeds = step_feeds((37, 20))
    shape = feeds["uniform"].shape
    more = {
        "start": feeds["codes"],
        "noise": np.zeros(shape, np.float32),
        "noisy": np.ones(1, int),
        "revise": np.ones(1, int),
        "stay": np.array([5, 3]),
    }
    return simplify(trace_graph(network, feeds)), simplify(trace_graph(whole, {**feeds, **more}))


@pytest.fixture(scope="module")
def engines(models, network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("step_next")
    found = []
    for graph, model in zip((network.graph, step_next_graph(LEVELS)), models, strict=True):
        ir.save(model, folder / f"{graph.name}.onnx")
        found.append(OnnxEngine(graph, folder / f"{graph.name}.onnx", threads=1))
    return found


@pytest.mark.parametrize(
    ("options", "lengths", "prompt"),
    [
        (DecodeOptions((5, 1)), (30,), 0),
        (DecodeOptions((4, 3), schedule="linear"), (30, 12, 21), 0),
        (DecodeOptions((6, 2), noise=4.5), (30, 12), 5),
        (DecodeOptions((4, 2), can_mask_prev_unmasked=True), (30, 7), 6),
        (DecodeOptions((5, 2), noise=1.0, can_mask_prev_unmasked=True, annealed=True), (25, 30), 6),
        (DecodeOptions((3, 0)), (9, 30), 4),
        (DecodeOptions((40, 1)), (3, 30), 2),  # one sample is done long before the other
        (DecodeOptions((4, 2), schedule=lambda progress: 1 - progress**3), (6, 6), 6),  # nothing to decode
    ],
)
def test_a_decode_gives_the_codes_of_the_numpy_loop(engines, options, lengths, prompt):
    random = np.random.default_rng(1)
    frames, batch = max(lengths), len(lengths)
    given = {
        "semantic_tokens": random.integers(TOKENS, size=(batch, frames)),
        "lengths": np.array(lengths),
        "levels": LEVELS,
        "codebook_size": CODES,
        "options": options,
        "prompt": random.integers(CODES, size=(batch, prompt, LEVELS)),
    }
    for seed in range(3):
        step, whole = (decode(engine, rng=np.random.default_rng(seed), **given) for engine in engines)
        np.testing.assert_array_equal(step, whole)


def test_padding_changes_nothing(engines):
    class Padded(OnnxEngine):
        def padded(self, frames):
            return 64

    step, whole = engines
    padded = Padded(whole.graph, whole._source, threads=1)
    tokens = np.random.default_rng(2).integers(TOKENS, size=(2, 40))
    found = [
        decode(engine, tokens, np.array([40, 23]), LEVELS, CODES, DecodeOptions((4, 2), noise=2.0),
               np.random.default_rng(0))
        for engine in (step, padded)
    ]  # fmt: skip
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_tensorrt_takes_it(models, precision):
    model = models[1].clone()
    check_operators("step_next", model if precision == "fp32" else to_half(model, HALVES["fp16"]))
