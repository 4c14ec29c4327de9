"""What the machine has, what is picked, and whether a bundle runs; absent things are no error."""

from __future__ import annotations

import json
import sys
from importlib import metadata

import click.testing
import pytest

from soundstorm_runtime.bundle.reader import read_bundle
from soundstorm_runtime.cli import main_group
from soundstorm_runtime.engines.example_feeds import example_feeds
from soundstorm_runtime.engines.graphs import check_feeds
from soundstorm_runtime.tools import diagnosis as doctor_module
from soundstorm_runtime.tools.diagnosis import diagnose


def call(*arguments):
    return click.testing.CliRunner().invoke(main_group, ["doctor", *map(str, arguments)])


def test_the_machine_and_its_engines_are_told():
    found = call()
    assert found.exit_code == 0
    for part in (
        "machine ",
        "numpy ",
        metadata.version("numpy"),
        "ONNX Runtime runs on: ",
        "auto  ",
        "cuDNN",
    ):
        assert part in found.stdout


def test_as_json(make_bundle):
    data = json.loads(call(make_bundle(variants=["int8"]), "--json", "--precision", "int8").stdout)
    assert data["libraries"]["numpy"] == metadata.version("numpy")
    assert data["machine"]["cores"] >= 1
    assert data["bundle"]["precision"] == "int8"
    assert data["bundle"]["graphs"]["step"]["file"] == "int8/step.onnx"
    assert data["bundle"]["graphs"]["step"]["milliseconds"] >= 0


@pytest.mark.parametrize("kind", ["parallel", "autoregressive"])
def test_every_graph_of_a_bundle_is_run(make_bundle, kind):
    check = diagnose(make_bundle(kind, hears=True), threads=1).bundle
    assert check.problem is None
    assert list(check.graphs)[:2] == ["step", "decoder"]
    assert list(check.graphs)[4:] == ["encoder", "units"]
    assert all(graph.problem is None and graph.milliseconds >= 0 for graph in check.graphs.values())


def test_a_graph_that_fails_is_named_and_the_others_go_on(make_bundle, monkeypatch):
    run = doctor_module._run_once

    def fail(manifest, engine):
        if engine.graph.name == "decoder":
            raise doctor_module.EngineError("decoder failed to run")
        return run(manifest, engine)

    monkeypatch.setattr(doctor_module, "_run_once", fail)
    found = call(make_bundle())
    assert found.exit_code == 1
    assert "problem: decoder failed to run" in found.stdout
    assert found.stdout.count("ran in ") == 3


def test_a_bundle_that_cannot_be_opened_is_told(make_bundle, tmp_path):
    found = call(tmp_path / "none")
    assert found.exit_code == 1
    assert "none is not a bundle" in found.stdout
    found = call(make_bundle(), "--precision", "int8")
    assert found.exit_code == 1
    assert "problem    precision 'int8' was asked for, but the bundle has fp32" in found.stdout


def test_without_an_engine_the_rest_is_told_with_the_remedy(make_bundle, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setattr(doctor_module.metadata, "version", _absent)
    monkeypatch.setattr(doctor_module, "_library", lambda name: None)
    found = call(make_bundle())
    assert found.exit_code == 1
    assert found.exception is None or isinstance(found.exception, SystemExit)
    for part in ("runs on: nothing", "pip install 'soundstorm-edge[cpu]'", "onnxruntime      absent"):
        assert part in found.stdout
    assert "problem    no engine to run the voice with" in found.stdout


def _absent(name):
    raise metadata.PackageNotFoundError(name)


def test_a_broken_library_is_told(monkeypatch):
    def broken():
        raise OSError("libonnxruntime.so: undefined symbol")

    monkeypatch.setattr(doctor_module, "available_devices", broken)
    diagnosis = diagnose()
    assert diagnosis.auto == (
        "onnxruntime cannot be imported (libonnxruntime.so: undefined symbol); install it again"
    )
    assert not diagnosis.is_well


def test_a_card_that_is_not_used_is_advised(monkeypatch):
    machine = doctor_module.this_machine()
    with_card = type(machine)(**{**vars(machine), "gpus": ("NVIDIA Something",)})
    monkeypatch.setattr(doctor_module, "this_machine", lambda: with_card)
    monkeypatch.setattr(doctor_module, "available_devices", lambda: ("cpu",))
    assert any("NVIDIA Something is not used" in line for line in diagnose().advice)
    monkeypatch.setattr(doctor_module, "available_devices", lambda: ("cuda", "cpu"))
    assert not any("is not used" in line for line in diagnose().advice)
    assert diagnose().auto.startswith("CUDA if it starts, in fp16 where a bundle has it; else the CPU")


@pytest.mark.parametrize("kind", ["parallel", "autoregressive"])
def test_examples_are_what_the_graphs_take(make_bundle, kind):
    import numpy as np

    manifest = read_bundle(make_bundle(kind)).manifest
    lengths = {"batch": 2, "frames": 9, "samples": 1, "phones": 5, "tokens": 7, "past": 3}
    for graph in manifest.expected_graphs().values():
        check_feeds(graph, example_feeds(manifest, graph, lengths, np.random.default_rng(0)))
