"""Engines of TensorRT for RTX on a strict stand-in: built without a GPU, and run on one."""

from __future__ import annotations

import json
import sys

import click.testing
import numpy as np
import pytest

from soundstorm_export.cli.export import export
from soundstorm_export.errors import ExportError
from soundstorm_export.tensorrt.engine_builder import BuildOptions, build_engines
from soundstorm_runtime import Voice
from soundstorm_runtime.bundle.open_engines import open_engines
from soundstorm_runtime.bundle.reader import read_bundle
from soundstorm_runtime.cli import main_group
from soundstorm_runtime.errors import EngineError
from tests.gpu.conftest import SMALL
from tests.gpu.recorded import RTX

CAPABILITIES = ("8.6", "8.9")
PORTABLE = BuildOptions(SMALL.frames, SMALL.batch, compute_capabilities=CAPABILITIES)
FOLDER = f"tensorrt-rtx-8.6-8.9-{RTX}-fp32"


@pytest.fixture
def portable(make_bundle, plug_in):
    """A bundle with engines that were built on a machine without a GPU."""
    plug_in(RTX, devices=0)
    bundle = read_bundle(make_bundle())
    build_engines(bundle, "fp32", PORTABLE)
    return bundle


def plug_in_card(plug_in, capability=(8, 9), version=RTX):
    trt = plug_in(version)
    trt.cuda.capability = capability
    return trt


def refused(bundle):
    with pytest.raises(EngineError) as caught:
        open_engines(bundle, provider="tensorrt")
    return str(caught.value)


def test_engines_are_built_without_a_gpu_for_the_capabilities_that_were_named(make_bundle, plug_in):
    trt = plug_in(RTX, devices=0)
    bundle = read_bundle(make_bundle())
    folder = build_engines(bundle, "fp32", PORTABLE)
    assert folder.name == FOLDER
    assert trt.asked.capabilities == {0: "SM86", 1: "SM89"}
    assert trt.asked.flags == {"REQUIRE_USER_ALLOCATION"}
    assert trt.asked.network_flags == 1 << list(trt.NetworkDefinitionCreationFlag).index(
        trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED
    )
    manifest = json.loads((folder / "engines.json").read_text())
    assert manifest["compute_capabilities"] == [*CAPABILITIES]
    assert (manifest["gpu"], manifest["driver"], manifest["tensorrt"]) == ("", "", RTX)
    assert trt.cuda.calls == []


@pytest.mark.parametrize("capability", [(8, 6), (8, 9)])
def test_a_voice_speaks_with_them_as_on_the_cpu(portable, plug_in, capability):
    plug_in_card(plug_in, capability)
    opened = open_engines(portable)
    assert (opened.provider, opened.reason) == ("tensorrt", f"built as {FOLDER}")
    assert str(opened.by_name["step"]) == f"tensorrt_rtx {RTX} on NVIDIA Fake 1"
    spoken = Voice(portable, opened.by_name).speak("Good morning.", seed=1)
    on_cpu = Voice.load(portable.path, provider="cpu", threads=1).speak("Good morning.", seed=1)
    np.testing.assert_array_equal(spoken, on_cpu)


def test_compiled_kernels_are_kept_beside_each_engine(portable, plug_in):
    trt = plug_in_card(plug_in)
    open_engines(portable)
    assert trt.asked.kernels == []
    files = {file.stem: file for file in (portable.path / "engines").rglob("*.runtime-cache")}
    assert files.keys() == portable.manifest.expected_graphs().keys()
    assert set(trt.asked.specialization) == {"EAGER", "NONE"}  # of what is captured, and what is not
    files["decoder"].write_bytes(b"what a full disk left")
    trt = plug_in_card(plug_in)
    open_engines(portable)
    assert sorted(trt.asked.kernels)[-1] == b"what a full disk left"
    assert len(trt.asked.kernels) == len(files)
    assert not files["decoder"].read_bytes().strip(b"k")


@pytest.mark.parametrize(
    ("machine", "message"),
    [
        ({"capability": (8, 7)}, "compute capability must be 8.6 or 8.9, here it is '8.7'"),
        ({"version": "11.4.0.106"}, "no TensorRT for RTX: tensorrt_rtx is not installed; on x86-64 Linux"),
    ],
)
def test_another_machine_is_named_with_the_command(portable, plug_in, machine, message):
    plug_in_card(plug_in, **machine)
    assert message in refused(portable)


def test_the_command_names_the_capability_of_this_gpu(portable, plug_in):
    plug_in_card(plug_in, (12, 0))
    assert refused(portable).endswith(
        f"build them here: soundstorm-export {portable.path} --tensorrt-rtx --compute-capability 12.0"
    )


def test_another_version_of_the_library_is_named(portable, plug_in):
    plug_in_card(plug_in).__version__ = "1.8.0.1"
    assert f"TensorRT for RTX was '{RTX}', here it is '1.8.0.1'" in refused(portable)


def test_a_changed_engine_is_built_again_for_the_same_gpus(portable, plug_in):
    plug_in_card(plug_in)
    (portable.path / "engines" / FOLDER / "step.engine").write_bytes(b"")
    assert "--tensorrt-rtx --compute-capability 8.6,8.9 --precision fp32" in refused(portable)


def test_engines_of_tensorrt_come_first_and_those_for_rtx_where_it_is_missing(portable, plug_in):
    plug_in_card(plug_in, version="11.4.0.106")
    build_engines(portable, "fp32", SMALL)
    assert open_engines(portable).reason == "built as nvidia-fake-1-16sm-11.4.0.106-fp32"
    plug_in_card(plug_in)
    assert open_engines(portable).reason == f"built as {FOLDER}"


def test_doctor_compares_them_with_the_cpu(portable, plug_in):
    plug_in_card(plug_in)
    found = click.testing.CliRunner().invoke(
        main_group, ["doctor", str(portable.path), "--engine", "tensorrt"]
    )
    assert found.exit_code == 0, found.stdout
    assert f"TensorRT: tensorrt_rtx {RTX} on NVIDIA Fake 1" in found.stdout


def test_an_older_library_is_named(portable, plug_in):
    plug_in_card(plug_in).__version__ = "1.6.1"
    message = "tensorrt_rtx is 1.6.1, expected 1.7 or newer; pip install --upgrade tensorrt-rtx"
    assert message in refused(portable)


def test_a_capability_that_the_library_does_not_have(make_bundle, plug_in):
    plug_in(RTX, devices=0)
    options = BuildOptions(compute_capabilities=("8.6", "8.7"))
    with pytest.raises(
        ExportError, match=r"has 8\.7, TensorRT for RTX 1\.7\.1\.116 builds for 7\.5, 8\.0, 8\.6"
    ):
        build_engines(read_bundle(make_bundle()), "fp32", options)


def test_a_precision_that_one_of_the_gpus_lacks(make_bundle, plug_in):
    plug_in(RTX, devices=0)
    bundle = read_bundle(make_bundle(variants=["fp8-qdq"]))
    with pytest.raises(ExportError, match=r"named with compute capability 8\.6, fp8-qdq needs 8\.9 or more"):
        build_engines(bundle, "fp8-qdq", PORTABLE)


def test_without_the_package(make_bundle, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    with pytest.raises(EngineError, match=r"pip install 'soundstorm-edge\[tensorrt-rtx\]'"):
        build_engines(read_bundle(make_bundle()), "fp32", PORTABLE)


def command(*arguments):
    return click.testing.CliRunner().invoke(export, list(map(str, arguments)))


def test_the_command_builds_for_the_usual_gpus(make_bundle, plug_in):
    plug_in(RTX, devices=0)
    folder = make_bundle()
    found = command(folder, "--tensorrt-rtx")
    assert found.exit_code == 0, found.exception
    assert found.stdout == f"engines: {folder}/engines/tensorrt-rtx-8.6-8.9-12.0-{RTX}-fp32\n"
    assert "building the engine of step in fp32 for compute capability 8.6, 8.9, 12.0" in found.stderr
    found = command(folder, "--tensorrt-rtx", "--compute-capability", "12.0,8.9")
    assert found.stdout == f"engines: {folder}/engines/tensorrt-rtx-8.9-12.0-{RTX}-fp32\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tensorrt", "--tensorrt-rtx"], "both --tensorrt and --tensorrt-rtx were given"),
        (["--tensorrt", "--compute-capability", "8.6"], "expected --tensorrt-rtx with it"),
        (["--tensorrt-rtx", "--compute-capability", "86"], "'86' is not a compute capability such as 8.6"),
        (["--tensorrt-rtx", "--compute-capability", "8.6,"], "'' is not a compute capability"),
        (["--tensorrt-rtx", "--hardware-compatible"], "--hardware-compatible go with --tensorrt"),
    ],
)
def test_wrong_use_of_the_command(make_bundle, arguments, message):
    found = command(make_bundle(), *arguments)
    assert (found.exit_code, message in found.stderr) == (2, True), found.stderr
