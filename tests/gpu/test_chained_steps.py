"""The whole decode enqueued on a stand-in of TensorRT: the same codes, and nothing waits before the end."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import save

from soundstorm_export.tensorrt.engine_builder import BuildOptions, build_engines, build_plan
from soundstorm_runtime import Voice
from soundstorm_runtime.bundle.open_engines import open_engines
from soundstorm_runtime.bundle.reader import read_bundle
from soundstorm_runtime.decoding.maskgit import DecodeOptions, decode, decode_in_steps
from soundstorm_runtime.engines.graphs import AXES, Axis, step_next_graph
from soundstorm_runtime.engines.onnx.onnx_engine import OnnxEngine
from soundstorm_runtime.engines.tensorrt.library import open_tensorrt_library
from soundstorm_runtime.engines.tensorrt.tensorrt_engine import TensorRtEngine
from soundstorm_runtime.errors import EngineError
from soundstorm_runtime.server.dispatcher import Dispatcher
from tests.gpu.conftest import SMALL
from tests.runtime.conftest import CODES, LEVELS, step_next_model

OPTIONS = DecodeOptions((4, 2, 1), noise=2.0)


@pytest.fixture
def engines(plug_in, tmp_path):
    """The stand-in, and ONNX Runtime."""
    plug_in()
    graph, file = step_next_graph(LEVELS), tmp_path / "step_next.onnx"
    save(step_next_model(graph), file)
    axes = {**AXES, "batch": Axis(1, 1, 4)}
    library = open_tensorrt_library()
    plan = build_plan(library, graph, file, axes, BuildOptions(), tmp_path / "timing")
    own = TensorRtEngine(graph, plan, axes, library, most=4096, chained=True)
    return own, OnnxEngine(graph, file, threads=1)


def given(lengths, seed):
    random = np.random.default_rng(3)
    frames = max(lengths)
    return (
        random.integers(9, size=(len(lengths), frames)),
        np.array(lengths),
        LEVELS,
        CODES,
        OPTIONS,
        np.random.default_rng(seed),
        random.integers(CODES, size=(len(lengths), 3, LEVELS)),
    )


def test_codes_are_those_of_another_engine_in_changing_shapes(engines):
    own, other = engines
    for seed, lengths in enumerate([(50,), (50, 31), (70,), (200, 100, 30), (50,), (64,)]):
        np.testing.assert_array_equal(
            decode(own, *given(lengths, seed)), decode(other, *given(lengths, seed))
        )


def test_steps_are_enqueued_one_after_the_other_and_waited_for_once(engines):
    own, _ = engines
    calls = own._cuda._api.calls
    for _ in range(2):
        decode(own, *given((50,), 0))
    ticks = decode_in_steps(own, *given((50,), 0))
    next(ticks)
    calls.clear()
    for _ in range(5):
        next(ticks)
    assert set(calls) == {"cudaMemcpyAsync", "cudaGraphLaunch"}
    assert calls.count("cudaGraphLaunch") == 5
    list(ticks)
    assert calls.count("cudaGraphLaunch") == sum(OPTIONS.steps) - 1
    assert "cudaMalloc" not in calls


def test_two_decodes_that_take_turns_do_not_disturb_each_other(engines):
    own, other = engines
    expected = [decode(other, *given(lengths, 1)) for lengths in ((50,), (60, 20))]
    running = [decode_in_steps(own, *given(lengths, 1)) for lengths in ((50,), (60, 20))]
    found = {}
    while len(found) < 2:
        for place, ticks in enumerate(running):
            if place not in found:
                try:
                    next(ticks)
                except StopIteration as end:
                    found[place] = end.value
    for place, codes in enumerate(expected):
        np.testing.assert_array_equal(found[place], codes)


def test_a_bundle_with_a_whole_step_is_built_and_opened_with_it(make_bundle, plug_in):
    plug_in()
    bundle = read_bundle(make_bundle(whole_step=True))
    folder = build_engines(bundle, "fp32", SMALL)
    assert not (folder / "step.engine").exists()  # it would take the memory of a second network
    opened = open_engines(bundle, provider="tensorrt")
    step = opened.by_name["step"]
    assert step.graph == step_next_graph(LEVELS)
    other = OnnxEngine(step.graph, bundle.graph_file("step_next"), threads=1)
    np.testing.assert_array_equal(decode(step, *given((50, 31), 7)), decode(other, *given((50, 31), 7)))
    speech = Voice(bundle, opened.by_name).speak("hello there", seed=2)
    again = Voice(bundle, opened.by_name | {"step": other}).speak("hello there", seed=2)
    np.testing.assert_allclose(speech, again, atol=1e-5)
    assert open_engines(bundle, provider="cpu").by_name["step"].graph.name == "step"


def test_engines_of_a_step_alone_are_refused_where_the_bundle_has_a_whole_one(make_bundle, plug_in):
    plug_in()
    bundle = read_bundle(make_bundle(whole_step=True))
    folder = build_engines(bundle, "fp32", SMALL)
    file = folder / "engines.json"
    file.write_text(file.read_text().replace("step_next", "step"))
    with pytest.raises(EngineError, match=r"has engines for step, .*expected step_next, .*build them again"):
        open_engines(bundle, provider="tensorrt")


def test_a_server_shares_the_engine_and_codes_stay_the_same(engines):
    own, other = engines
    dispatcher = Dispatcher(lambda: None, 0.0, lambda: 1, lambda size: None)
    found = decode(dispatcher.share(own, 4), *given((50,), 5))
    dispatcher.close()
    np.testing.assert_array_equal(found, decode(other, *given((50,), 5)))
