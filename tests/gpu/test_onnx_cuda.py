"""ONNX Runtime's road to a GPU, as far as its interface can be tried on a CPU."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier

import numpy as np
import onnxruntime
import pytest

from soundstorm_runtime.bundle.open_engines import Engines, _cache, open_engines
from soundstorm_runtime.bundle.reader import Bundle, read_bundle
from soundstorm_runtime.engines.example_feeds import example_feeds
from soundstorm_runtime.engines.onnx.cuda_provider import CUDA, BoundRuns, cuda_options
from soundstorm_runtime.engines.onnx.onnx_engine import CPU, OnnxEngine
from soundstorm_runtime.engines.onnx.tensorrt_provider import TENSORRT, EngineCache, tensorrt_options
from soundstorm_runtime.errors import EngineError
from soundstorm_runtime.tools.diagnosis import _check_graph


def lengths(frames, batch=1):
    return {"batch": batch, "frames": frames, "samples": 160, "phones": 12, "tokens": 50, "past": 7}


@pytest.fixture
def step(make_bundle):
    bundle = read_bundle(make_bundle())
    graph = bundle.manifest.expected_graphs()["step"]
    engine = OnnxEngine(graph, bundle.graph_file("step"), bundle.manifest.axes, threads=1)

    def feeds(frames, batch=1):
        return example_feeds(
            graph, bundle.manifest.feed_limits, lengths(frames, batch), np.random.default_rng(frames)
        )

    return engine, feeds, bundle


@pytest.mark.parametrize("captures", [False, True])
def test_bound_runs_give_what_plain_ones_give(step, captures):
    engine, feeds, _ = step
    bound = BoundRuns(onnxruntime, engine._session, engine.graph, engine.axes, "cpu", captures)
    kept = None
    for frames, batch in ((100, 1), (70, 1), (100, 2), (1, 1), (3000, 1), (128, 1)):
        expected, found = engine.run(feeds(frames, batch)), bound.run(feeds(frames, batch))
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array)
        kept = kept or (found["ids"], found["ids"].copy())
    np.testing.assert_array_equal(*kept)  # results are the caller's own
    # 100, 70 and 128 frames are one bucket
    assert len(bound._captured if captures else bound._shapes) == 4


def test_a_bounded_number_of_shapes_is_captured_and_no_id_is_used_twice(step, monkeypatch):
    monkeypatch.setattr("soundstorm_runtime.engines.onnx.cuda_provider._MOST_SHAPES", 2)
    engine, feeds, _ = step
    bound = BoundRuns(onnxruntime, engine._session, engine.graph, engine.axes, "cpu", True)
    for frames in (64, 128, 192, 256, 320, 64):
        np.testing.assert_array_equal(bound.run(feeds(frames))["ids"], engine.run(feeds(frames))["ids"])
    ids = [one.options.get_run_config_entry("gpu_graph_id") for one in bound._captured.values()]
    assert ids == ["1", "2"]
    others = [one.options.get_run_config_entry("gpu_graph_id") for one in bound._shapes.values()]
    assert others == ["-1", "-1"]  # 256 and 320: 192 made room


def test_all_runs_are_in_one_thread(step):
    """ONNX Runtime keeps captured graphs for each thread: another one would capture again."""
    engine, feeds, _ = step
    threads = set()

    class Session:
        io_binding = engine._session.io_binding

        def run_with_iobinding(self, *arguments):
            threads.add(threading.get_ident())
            engine._session.run_with_iobinding(*arguments)

    bound, together = BoundRuns(onnxruntime, Session(), engine.graph, engine.axes, "cpu", True), Barrier(3)

    def run(frames):
        together.wait(30)  # three callers, each in a thread of its own
        return bound.run(feeds(frames))

    with ThreadPoolExecutor(3) as callers:
        found = list(callers.map(run, (64, 70, 64)))
    assert len(threads) == 1
    for frames, results in zip((64, 70, 64), found, strict=True):
        np.testing.assert_array_equal(results["ids"], engine.run(feeds(frames))["ids"])


def test_options_are_texts_and_capture_is_asked_for():
    assert cuda_options(True)["enable_cuda_graph"] == "1"
    assert cuda_options(False)["enable_cuda_graph"] == "0"
    assert all(isinstance(value, str) for value in cuda_options(True).values())


@pytest.fixture
def pretended(step, monkeypatch):
    """Sessions on a GPU, of a library that says it has one and computes on the CPU."""
    asked = []
    session = onnxruntime.InferenceSession

    class Pretender(session):
        refuses = ""

        def __init__(self, source, options, providers, **others):
            asked.append(providers)
            given = dict(entry for entry in providers if isinstance(entry, tuple))
            self.chain = [*given, CPU]
            if Pretender.refuses and given[CUDA]["enable_cuda_graph"] == "1":
                raise RuntimeError(Pretender.refuses)
            super().__init__(source, options, providers=[CPU], enable_fallback=0)

        def get_providers(self):
            return self.chain

    def bound(library, session, graph, axes, device, captures):
        assert device == "cuda"
        return BoundRuns(library, session, graph, axes, "cpu", captures)

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [TENSORRT, CUDA, CPU])
    monkeypatch.setattr(onnxruntime, "InferenceSession", Pretender)
    monkeypatch.setattr("soundstorm_runtime.engines.onnx.onnx_engine.BoundRuns", bound)
    Pretender.asked = asked
    return Pretender


def test_the_step_is_captured_and_the_others_are_not(step, pretended):
    engine, feeds, bundle = step
    own = OnnxEngine(engine.graph, bundle.graph_file("step"), engine.axes, provider="cuda", threads=1)
    assert pretended.asked[-1] == [(CUDA, cuda_options(True)), CPU]
    np.testing.assert_array_equal(own.run(feeds(77))["ids"], engine.run(feeds(77))["ids"])
    decoder = bundle.manifest.expected_graphs()["decoder"]
    OnnxEngine(decoder, bundle.graph_file("decoder"), engine.axes, provider="cuda", threads=1)
    assert pretended.asked[-1] == [(CUDA, cuda_options(False)), CPU]


def test_cuda_is_loaded_from_nvidias_packages_first_and_what_is_missing_is_not_printed(
    step, pretended, monkeypatch, capsys
):
    engine, _, bundle = step
    asked, loads = len(pretended.asked), []

    def preload():
        assert len(pretended.asked) == asked, "a session was opened before"
        loads.append("cuda")
        print("Failed to load libcudart.so.13")

    monkeypatch.setattr(onnxruntime, "preload_dlls", preload, raising=False)
    OnnxEngine(engine.graph, bundle.graph_file("step"), engine.axes, provider="cuda", threads=1)
    assert (loads, capsys.readouterr()) == (["cuda"], ("", ""))
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: pytest.fail("for a CPU"))
    OnnxEngine(engine.graph, bundle.graph_file("step"), engine.axes, threads=1)


def test_forms_for_cuda_are_asked_of_the_bundle(step, pretended, monkeypatch):
    _, _, bundle = step
    places, graph_file = [], Bundle.graph_file

    def recorded(self, name, precision, *, place):
        places.append(place)
        return graph_file(self, name, precision, place=place)

    monkeypatch.setattr(Bundle, "graph_file", recorded)
    open_engines(bundle, provider="cuda", threads=1)
    assert set(places) == {"cuda"}


@pytest.mark.parametrize("version", ["1.18.1", "1.21.1"])
def test_a_release_that_attends_wrongly_in_batches_is_refused_on_cuda(step, pretended, monkeypatch, version):
    engine, _, bundle = step
    monkeypatch.setattr(onnxruntime, "__version__", version)
    with pytest.raises(EngineError, match=rf"{version} is too old for provider 'cuda', expected 1\.22 or"):
        OnnxEngine(engine.graph, bundle.graph_file("step"), engine.axes, provider="cuda", threads=1)
    OnnxEngine(engine.graph, bundle.graph_file("step"), engine.axes, threads=1)


def test_where_cuda_does_not_start_both_extras_are_named(step, pretended, monkeypatch):
    engine, _, bundle = step
    monkeypatch.setattr(pretended, "get_providers", lambda self: [CPU])
    with pytest.raises(EngineError, match=r"CUDA 13: .*edge\[gpu\]'; for one of CUDA 12, .*\[gpu-cu12\]'"):
        OnnxEngine(engine.graph, bundle.graph_file("step"), engine.axes, provider="cuda", threads=1)


def test_where_capture_is_refused_it_is_said(step, pretended, caplog):
    engine, feeds, bundle = step
    pretended.refuses = "This session cannot use the graph capture feature"
    with caplog.at_level(logging.WARNING):
        own = OnnxEngine(engine.graph, bundle.graph_file("step"), engine.axes, provider="cuda", threads=1)
    assert "is run without CUDA graphs (This session cannot use the graph capture feature)" in caplog.text
    np.testing.assert_array_equal(own.run(feeds(77))["ids"], engine.run(feeds(77))["ids"])


def test_the_share_of_nodes_on_the_gpu_is_told(step, pretended):
    engine, feeds, bundle = step
    nodes = engine.placed_nodes(feeds(5))
    assert nodes.keys() == {CPU}
    assert nodes[CPU] > 5
    own = OnnxEngine(engine.graph, bundle.graph_file("step"), engine.axes, provider="cuda", threads=1)
    check = _check_graph(bundle, Engines({"step": own}, "cuda", "fp32", "asked for"), own)
    assert check.problem is None
    assert check.on_gpu == 0.0  # it only pretends
    assert check.difference.agreement == 1.0


def test_engines_that_onnx_runtime_builds_take_all_lengths_of_the_bundle(step, tmp_path):
    engine, _, _ = step
    options = tensorrt_options(engine.graph, engine.axes, EngineCache(tmp_path, half=True))
    batch, frames = engine.axes["batch"], engine.axes["frames"]
    for end in ("min", "opt", "max"):
        sizes = {"batch": getattr(batch, end), "frames": getattr(frames, end)}
        given = dict(entry.split(":") for entry in options[f"trt_profile_{end}_shapes"].split(","))
        assert given["codes"] == f"{sizes['batch']}x{sizes['frames']}x3"
        assert given["lengths"] == str(sizes["batch"])
        assert "temperature" not in given  # its shape is fixed
    assert options["trt_engine_cache_path"] == str(tmp_path)
    assert options["trt_fp16_enable"] == "True"
    assert (
        tensorrt_options(engine.graph, engine.axes, EngineCache(tmp_path, False))["trt_fp16_enable"]
        == "False"
    )


def test_a_voice_on_tensorrt_through_onnx_runtime(step, pretended):
    engine, feeds, bundle = step
    opened = open_engines(bundle, provider="onnx-tensorrt", precision="fp32", threads=1)
    own = opened.by_name["step"]
    (name, options), cuda, cpu = next(chain for chain in pretended.asked if "codes:" in str(chain[0]))
    assert (name, cuda, cpu) == (TENSORRT, (CUDA, cuda_options(False)), CPU)
    np.testing.assert_array_equal(own.run(feeds(77))["ids"], engine.run(feeds(77))["ids"])
    folders = {path.name for path in (bundle.path / "engines").iterdir()}
    assert {name.split("-")[1] for name in folders} == opened.by_name.keys()
    assert options["trt_engine_cache_path"] in {str(bundle.path / "engines" / name) for name in folders}


def test_other_weights_have_other_engines(step):
    _, _, bundle = step
    files = bundle.manifest.files
    file = bundle.manifest.graphs["step"].file
    others = files | {file: replace(files[file], sha256=64 * "0")}
    changed = replace(bundle, manifest=replace(bundle.manifest, files=others))
    for name, is_same in (("step", False), ("decoder", True)):
        folders = [_cache(of, name, "fp32").folder for of in (bundle, changed)]
        assert (folders[0] == folders[1]) is is_same
    assert not (bundle.path / "engines").exists()  # the engine makes it, where the provider is there


def test_without_tensorrt_in_the_library_it_is_refused(step):
    _, _, bundle = step
    with pytest.raises(
        EngineError, match=r"provider 'onnx-tensorrt' asked for, but ONNX Runtime .* has only"
    ):
        open_engines(bundle, provider="onnx-tensorrt")
