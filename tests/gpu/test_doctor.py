"""`soundstorm doctor` with TensorRT: what it finds, and each engine beside the CPU."""

from __future__ import annotations

import json
import sys

import click.testing
import numpy as np
import pytest

from soundstorm_export.tensorrt.engine_builder import build_engines
from soundstorm_runtime.bundle.reader import read_bundle
from soundstorm_runtime.cli import main_group
from soundstorm_runtime.engines.comparison import Difference, compare
from soundstorm_runtime.engines.graphs import step_graph
from soundstorm_runtime.engines.tensorrt.tensorrt_engine import TensorRtEngine
from soundstorm_runtime.support.jetson import Clock, Jetson
from soundstorm_runtime.tools import diagnosis
from tests.gpu.conftest import SMALL
from tests.gpu.fake_cuda import FakeCuda


def call(*arguments):
    return click.testing.CliRunner().invoke(main_group, ["doctor", *map(str, arguments)])


def test_every_engine_is_compared_with_the_cpu(with_engines):
    found = call(with_engines().path, "--engine", "tensorrt")
    assert found.exit_code == 0, found.output
    assert "TensorRT: tensorrt 11.4.0.106 on NVIDIA Fake 1" in found.stdout
    assert "auto       TensorRT where a bundle has engines for this machine; else the CPU" in found.stdout
    assert found.stdout.count("from fp32 on the CPU 0.0e+00, integers equal 100.00%") == 4


def test_a_whole_step_is_compared(make_bundle, plug_in):
    plug_in()
    bundle = read_bundle(make_bundle(whole_step=True))
    build_engines(bundle, "fp32", SMALL)
    found = call(bundle.path, "--engine", "tensorrt")
    assert found.exit_code == 0, found.output
    assert "graph      step_next        step_next.onnx: ran in " in found.stdout
    assert found.stdout.count("integers equal 100.00%") == 4


def test_a_jetson_is_described(monkeypatch):
    modes = ("15W", "25W", "MAXN_SUPER")
    jetson = Jetson("Orin Nano", "36.4.7", "25W", modes, Clock(306, 306, 918), Clock(1344, 729, 1344), 800, 0)
    monkeypatch.setattr(diagnosis, "this_jetson", lambda: jetson)
    lines = [line[11:] for line in call().stdout.splitlines()]
    for line in (
        "Orin Nano; Jetson Linux 36.4.7",
        "power mode 25W of 15W, 25W, MAXN_SUPER",
        "GPU clock 306 MHz, from 306 to 918 MHz",
        "800 MiB free for CPU and GPU; swap 0 MiB, not for the GPU",
        "the clocks rise with the load, and short sentences end before: sudo jetson_clocks",
        "800 MiB of memory are free for CPU and GPU together; close the desktop, or take --provider cpu "
        "beside a language model",
    ):
        assert line in lines
    assert json.loads(call("--json").stdout)["jetson"]["gpu"]["most"] == 918


@pytest.mark.parametrize("kind", ["parallel", "autoregressive"])
def test_as_json(with_engines, kind):
    data = json.loads(call(with_engines(kind).path, "--json", "--engine", "tensorrt").stdout)
    assert data["tensorrt"] == "tensorrt 11.4.0.106 on NVIDIA Fake 1"
    differences = [graph["difference"] for graph in data["bundle"]["graphs"].values()]
    assert differences == [{"largest": 0.0, "agreement": 1.0}] * 4


def test_an_engine_that_differs_is_a_problem(with_engines, monkeypatch):
    run = TensorRtEngine._run

    def wrong(self, feeds):
        results = run(self, feeds)
        return results | {"audio": results["audio"] + 0.5} if "audio" in results else results

    monkeypatch.setattr(TensorRtEngine, "_run", wrong)
    found = call(with_engines().path, "--engine", "tensorrt")
    assert found.exit_code == 1
    assert "problem: differs from ONNX Runtime on the CPU by " in found.stdout
    assert "expected at most 1e-04 and at least 98%; try another precision, or --provider cpu" in found.stdout
    assert found.stdout.count("ran in ") == 3


def test_a_wrong_replay_is_seen(with_engines, monkeypatch):
    """The engine is right when it is enqueued, and wrong when what was captured is replayed."""
    monkeypatch.setattr(FakeCuda, "do_cudaGraphLaunch", lambda self, graph, stream: (self.cudaError_t(0),))
    found = call(with_engines().path, "--engine", "tensorrt")
    assert found.exit_code == 1
    assert "problem: differs from ONNX Runtime" in found.stdout


def test_without_a_gpu_the_reason_is_told_and_all_is_well_on_the_cpu(monkeypatch):
    for name in ("cuda", "cuda.bindings.runtime", "cuda.cudart"):
        monkeypatch.setitem(sys.modules, name, None)
    found = call()
    assert found.exit_code == 0
    assert "TensorRT: no (cuda-python is missing" in found.stdout


def test_differences():
    graph = step_graph(2)
    ids, confidence = np.array([[1, 2, 3, 4]]), np.array([[0.5, 0.5, 0.5, 0.5]], np.float32)
    expected = {"ids": ids, "confidence": confidence}
    assert compare(graph, expected, expected) == Difference(0.0, 1.0)
    found = {"ids": np.array([[1, 2, 3, 9]]), "confidence": np.array([[0.5, 0.25, 0.5, 0.9]], np.float32)}
    assert compare(graph, expected, found) == Difference(0.25, 0.75)
    found = {"ids": ids, "confidence": np.array([[0.5, np.nan, 0.5, 0.5]], np.float32)}
    assert compare(graph, expected, found).largest == float("inf")
