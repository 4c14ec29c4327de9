"""`soundstorm-export --tensorrt-rtx` with NVIDIA's own Python package, on a machine without a GPU."""

from __future__ import annotations

import os
import signal

import pytest

from soundstorm_export.errors import ExportError
from soundstorm_export.tensorrt.engine_builder import BuildOptions, build_engines, build_plan, open_library
from soundstorm_export.verify.operators import LATER, implementations, later_operators, tensorrt_operators
from soundstorm_runtime.bundle.engine_manifest import read_engines
from soundstorm_runtime.bundle.reader import read_bundle
from soundstorm_runtime.engines.graphs import AXES, Axis
from tests.runtime.conftest import make_bundle  # noqa: F401 - a fixture

from .voices import write

pytest.importorskip("tensorrt_rtx", reason="pip install 'soundstorm-edge[tensorrt-rtx]'")

FRAMES, BATCH = Axis(1, 64, 128), Axis(1, 1, 1)
OPTIONS = BuildOptions(FRAMES, BATCH, compute_capabilities=("8.9", "12.0"))


@pytest.fixture
def bundle(make_bundle):  # noqa: F811
    return read_bundle(make_bundle(variants=["fp16"]))


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_every_graph_becomes_an_engine(bundle, precision):
    lines = []
    folder = build_engines(bundle, precision, OPTIONS, lines.append)
    manifest = read_engines(folder, bundle)
    assert folder.name == f"tensorrt-rtx-8.9-12.0-{open_library(OPTIONS).version}-{precision}"
    assert manifest.engines.keys() == bundle.manifest.expected_graphs().keys()
    assert any(line.startswith("step: Building engine, step 1 of") for line in lines)
    files = [folder / engine.file for engine in manifest.engines.values()]
    assert sorted((bundle.path / "engines").rglob("*")) == sorted([folder, folder / "engines.json", *files])
    assert all(b"accelerators={sm89 sm120 }" in file.read_bytes() for file in files)


@pytest.mark.parametrize(
    ("voice", "name"), [("spectral", "step_next"), ("soundstream", "text_step"), ("soundstream", "decoder")]
)
def test_runs_of_every_kind_of_graph_can_be_captured(exported, tmp_path, voice, name):
    """The flag REQUIRE_USER_ALLOCATION, which the builder sets, is refused where a run cannot be captured."""
    graph, model = exported(voice, name)
    file, axes = write(model, "fp16", tmp_path / "graph.onnx"), {**AXES, "frames": FRAMES, "batch": BATCH}
    assert build_plan(open_library(OPTIONS), graph, file, axes, OPTIONS, None)


def test_its_parser_takes_every_operator_of_the_table():
    library = open_library(OPTIONS)
    trt = library.module
    network = trt.Builder(library.logger).create_network(0)
    parser = trt.OnnxParser(network, library.logger)
    plugins = {name for name, way in implementations().items() if "plugin" in way}  # of TensorRT alone
    assert plugins == {"DFT", "DeformConv"}
    known = {*tensorrt_operators(), *later_operators(LATER[-1])} - plugins
    assert [name for name in sorted(known) if not parser.supports_operator(name)] == []
    assert not parser.supports_operator("Bernoulli")


def test_ctrl_c_ends_a_build_and_leaves_no_engine(bundle):
    steps = []

    def report(line):
        if line.startswith("step: "):
            steps.append(line)
            if len(steps) == 1:
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        build_engines(bundle, "fp32", OPTIONS, report)
    assert list((bundle.path / "engines").rglob("*.engine")) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (BuildOptions(FRAMES, BATCH, compute_capabilities=("8.7",)), r"has 8\.7, .* builds for .*8\.6, 8\.9"),
        (BuildOptions(FRAMES, BATCH, compute_capabilities=("9.0",)), r"has 9\.0, .* builds for .*8\.6, 8\.9"),
    ],
)
def test_what_the_library_refuses_is_named(bundle, options, message):
    with pytest.raises(ExportError, match=message):
        build_engines(bundle, "fp32", options)
    assert not list((bundle.path / "engines").rglob("*.engine"))
