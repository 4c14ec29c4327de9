"""The whole decode enqueued on a stand-in of TensorRT: the same codes, and nothing waits before the end."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, save

from soundstorm_export.tensorrt.engine_builder import BuildOptions, build_plan
from soundstorm_runtime.decoding.maskgit import DecodeOptions, decode, decode_in_steps
from soundstorm_runtime.engines.graphs import AXES, Axis, step_next_graph
from soundstorm_runtime.engines.onnx.onnx_engine import OnnxEngine
from soundstorm_runtime.engines.tensorrt.library import open_tensorrt_library
from soundstorm_runtime.engines.tensorrt.tensorrt_engine import TensorRtEngine

LEVELS, CODES = 3, 8
OPTIONS = DecodeOptions((4, 2, 1), noise=2.0)


def model(graph):
    """A graph of the right inputs and outputs, whose codes depend on all that changes from step to step."""
    types = {"int64": TensorProto.INT64, "float32": TensorProto.FLOAT}
    inputs, outputs = (
        [helper.make_tensor_value_info(t.name, types[t.dtype], t.axes) for t in tensors]
        for tensors in (graph.inputs, graph.outputs)
    )
    nodes = [
        ("Mul", ["uniform", "temperature"], "a", {}),
        ("Add", ["a", "noise"], "b", {}),
        ("Mul", ["b", "ten"], "c", {}),
        ("Cast", ["c"], "d", {"to": TensorProto.INT64}),
        ("Add", ["d", "level"], "e", {}),
        ("Add", ["e", "noisy"], "f", {}),
        ("Unsqueeze", ["stay", "last"], "g", {}),
        ("Add", ["f", "g"], "h", {}),
        ("Unsqueeze", ["h", "last"], "i", {}),
        ("Add", ["codes", "i"], "j", {}),
        ("Mod", ["j", "count"], "next_codes", {}),
    ]
    constants = [
        helper.make_tensor("ten", TensorProto.FLOAT, [], [10.0]),
        helper.make_tensor("last", TensorProto.INT64, [1], [-1]),
        helper.make_tensor("count", TensorProto.INT64, [], [CODES]),
    ]
    made = [helper.make_node(op, takes, [gives], **options) for op, takes, gives, options in nodes]
    return helper.make_model(
        helper.make_graph(made, "step_next", inputs, outputs, constants),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )


@pytest.fixture
def engines(plug_in, tmp_path):
    """The stand-in, and ONNX Runtime."""
    plug_in()
    graph, file = step_next_graph(LEVELS), tmp_path / "step_next.onnx"
    save(model(graph), file)
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
