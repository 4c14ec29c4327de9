"""What the machine has, what is picked, and whether a bundle runs; absent things are no error."""

from __future__ import annotations

import json
import sys
from importlib import metadata

import click.testing
import pytest

from soundstorm_runtime.cli import main_group
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


# Every kind of voice: both codecs, decoded as a whole or in pieces, and every text stage.
CODECS = [("spectral", False), ("spectral", True), ("soundstream", False), ("soundstream", True)]
TEXT_STAGES = [("parallel", False), ("autoregressive", False), ("autoregressive", True)]
GRAPHS = {"parallel": ["text_encoder", "text_decoder"], "autoregressive": ["text_encoder", "text_step"]}


@pytest.mark.parametrize(("kind", "tokenizer"), TEXT_STAGES)
@pytest.mark.parametrize(("codec", "streams"), CODECS)
def test_every_graph_of_every_kind_of_voice_is_run(make_bundle, kind, tokenizer, codec, streams):
    folder = make_bundle(kind, hears=True, codec=codec, streams=streams, tokenizer=tokenizer)
    found = call(folder, "--json")
    assert found.exit_code == 0, found.output
    check = json.loads(found.stdout)["bundle"]
    assert check["problem"] is None
    pieces = ["decoder_stream"] if codec == "soundstream" and streams else []
    assert list(check["graphs"]) == ["step", "decoder", *GRAPHS[kind], *pieces, "encoder", "units"]
    assert all(g["problem"] is None and g["milliseconds"] >= 0 for g in check["graphs"].values())


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
