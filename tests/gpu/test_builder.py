"""The builder of engines on a strict stand-in of every TensorRT: what it asks for, keeps and refuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import click.testing
import pytest

from soundstorm_export.cli.export import export
from soundstorm_export.errors import ExportError
from soundstorm_export.tensorrt.engine_builder import BuildOptions, build_engines, profile_axes
from soundstorm_runtime.bundle.engine_manifest import engine_folders
from soundstorm_runtime.bundle.manifest import FileRecord
from soundstorm_runtime.bundle.reader import read_bundle
from soundstorm_runtime.engines.graphs import Axis
from soundstorm_runtime.engines.padding import whole_buckets
from soundstorm_runtime.errors import EngineError
from tests.gpu.conftest import SMALL
from tests.gpu.recorded import TENSORRT

NAMES = ["decoder", "step", "text_decoder", "text_encoder"]


def files_of(folder):
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())


@pytest.mark.parametrize("version", TENSORRT)
def test_engines_and_their_manifest_are_written(make_bundle, plug_in, version):
    plug_in(version)
    bundle = read_bundle(make_bundle())
    folder = build_engines(bundle, "fp32", SMALL)
    assert folder == bundle.path / "engines" / f"nvidia-fake-1-16sm-{version}-fp32"
    assert files_of(folder) == [*(f"{name}.engine" for name in NAMES[:1]), "engines.json",
                                *(f"{name}.engine" for name in NAMES[1:])]  # fmt: skip
    manifest = json.loads((folder / "engines.json").read_text())
    facts = {key: manifest[key] for key in ("gpu", "compute_capability", "driver", "tensorrt", "precision")}
    assert facts == {
        "gpu": "NVIDIA Fake 1", "compute_capability": "9.0", "driver": "13.0", "tensorrt": version,
        "precision": "fp32",
    }  # fmt: skip
    assert manifest["axes"]["frames"] == {"min": 1, "opt": 100, "max": 304}  # a multiple of 8
    step = manifest["engines"]["step"]
    assert step["sources"] == {"step.onnx": FileRecord.of(bundle.path / "step.onnx").sha256}
    assert step["facts"]["size"] == (folder / "step.engine").stat().st_size
    assert "engines" not in json.loads((bundle.path / "bundle.json").read_text())["files"]


@pytest.mark.parametrize(
    ("version", "flags"), [("10.3.0", 1 << 1), ("10.16.1.11", 1 << 1), ("11.4.0.106", 0)]
)
def test_networks_are_strongly_typed_and_fp32_is_no_tf32(make_bundle, plug_in, version, flags):
    trt = plug_in(version)
    build_engines(read_bundle(make_bundle()), "fp32", SMALL)
    assert trt.asked.network_flags == flags
    assert trt.asked.flags == set()
    assert trt.asked.compatibility is None
    assert trt.asked.pools == {}


@pytest.mark.parametrize("version", TENSORRT)
def test_options_reach_tensorrt(make_bundle, plug_in, version):
    trt = plug_in(version)
    options = BuildOptions(workspace=512, version_compatible=True, hardware_compatible=True)
    folder = build_engines(read_bundle(make_bundle()), "fp32", options)
    assert trt.asked.flags == {"VERSION_COMPATIBLE"}
    assert trt.asked.parser_flags == {"NATIVE_INSTANCENORM"}
    assert trt.asked.compatibility.name == "AMPERE_PLUS"
    assert trt.asked.pools == {"WORKSPACE": 512 << 20}
    manifest = json.loads((folder / "engines.json").read_text())
    assert manifest["version_compatible"]
    assert manifest["hardware_compatible"]


def profiles_of(folder, name):
    return json.loads((folder / f"{name}.engine").read_bytes().split(b"\0profile\0")[1])


def test_profiles_come_from_the_table_of_axes_and_are_tuned_for_buckets(make_bundle, plug_in):
    plug_in()
    folder = build_engines(read_bundle(make_bundle()), "fp32", SMALL)
    (profile,) = profiles_of(folder, "step")
    assert profile["codes"] == [[1, 64, 3], [1, 128, 3], [3, 304, 3]]
    assert profile["lengths"] == [[1], [1], [3]]
    assert "level" not in profile  # has no symbolic axis
    (profile,) = profiles_of(folder, "decoder")  # which is not padded
    assert profile["codes"] == [[1, 1, 3], [1, 100, 3], [3, 304, 3]]


def test_without_a_length_to_tune_for_there_are_several_profiles(make_bundle, plug_in):
    plug_in()
    folder = build_engines(read_bundle(make_bundle()), "fp32")
    spans = [[shape[1] for shape in profile["codes"]] for profile in profiles_of(folder, "step")]
    assert spans == [[64, 128, 256], [320, 512, 768], [832, 1920, 3000]]
    lengths = {whole_buckets(length) for length in range(1, 3000)} - {3008} | {3000}
    assert all(sum(low <= length <= high for low, _, high in spans) == 1 for length in lengths)
    assert len(profiles_of(folder, "decoder")) == 1


def test_without_options_batches_are_small(make_bundle):
    axes = profile_axes(read_bundle(make_bundle()), BuildOptions())
    assert axes["batch"] == Axis(1, 1, 4)
    assert axes["frames"] == Axis(1, 500, 3000)


def test_lengths_outside_those_of_the_bundle_are_refused(make_bundle):
    bundle = read_bundle(make_bundle())
    with pytest.raises(
        ExportError, match=r"--frames is 1,500,4000, expected min,opt,max that rise from 1 to 3000"
    ):
        profile_axes(bundle, BuildOptions(frames=Axis(1, 500, 4000)))
    with pytest.raises(ExportError, match=r"--batch is 1,32,32, expected"):
        profile_axes(bundle, BuildOptions(batch=Axis(1, 32, 32)))


def test_timings_are_kept_and_used_again_unless_of_another_card(make_bundle, plug_in):
    bundle = read_bundle(make_bundle())
    trt = plug_in()
    build_engines(bundle, "fp32", SMALL)
    assert trt.asked.caches == [b"", b"t", b"tt", b"ttt"]
    trt = plug_in()
    build_engines(bundle, "fp32", SMALL)
    assert trt.asked.caches[0] == b"tttt"
    trt = plug_in(refuses={"cache": True})
    build_engines(bundle, "fp32", SMALL)
    assert trt.asked.caches[:2] == [b"tttttttt", b""]


def test_a_damaged_timing_cache_is_begun_again(with_engines, plug_in):
    bundle = with_engines()
    (cache,) = (bundle.path / "engines").glob("*.timing")
    cache.write_bytes(b"what a full disk left")
    trt = plug_in()
    build_engines(bundle, "fp32", SMALL)
    assert trt.asked.caches[:2] == [b"what a full disk left", b""]
    assert cache.read_bytes() == b"tttt"


def test_a_refused_node_is_named(make_bundle, plug_in):
    plug_in(refuses={"parse": (7, "node_Pad_3", "Pad", "axes must\nbe an initializer")})
    bundle = read_bundle(make_bundle())
    with pytest.raises(
        ExportError,
        match=r"TensorRT 11\.4\.0\.106 does not take graph 'step' "
        r"\(node 7 'node_Pad_3' \(Pad\): axes must be an initializer\)",
    ):
        build_engines(bundle, "fp32", SMALL)
    assert files_of(bundle.path / "engines") == []


WORKSPACE = BuildOptions(SMALL.frames, SMALL.batch, workspace=3)
FULL = "Requested amount of GPU memory (9 bytes) could not be allocated"
NO_KERNEL = "Could not find any implementation for node node_MatMul_4"


@pytest.mark.parametrize(
    ("complaint", "options", "message"),
    [
        (NO_KERNEL, SMALL, r"\(.*node_MatMul_4\); use a newer TensorRT"),
        (FULL, SMALL, r"the GPU's memory is full: \d+ of"),
        (NO_KERNEL, WORKSPACE, "; --workspace 3 may be too small; give more MiB, or leave it out"),
        (FULL, WORKSPACE, "; --workspace 3 may be too small"),
        ("Kernel is not there", WORKSPACE, "; use a newer TensorRT"),
        (
            "Unable to load library: libnvinfer_lean.so.10",
            BuildOptions(SMALL.frames, SMALL.batch, version_compatible=True),
            "; --version-compatible needs TensorRT's lean runtime: pip install tensorrt-lean",
        ),
    ],
)
def test_a_build_that_fails_names_the_cause_and_leaves_nothing(
    make_bundle, plug_in, complaint, options, message
):
    plug_in(refuses={"build": complaint})
    bundle = read_bundle(make_bundle())
    with pytest.raises(ExportError, match=message):
        build_engines(bundle, "fp32", options)
    assert files_of(bundle.path / "engines") == ["nvidia-fake-1-16sm-11.4.0.106-fp32.timing"]


def test_ctrl_c_ends_a_build_and_leaves_the_old_engines(with_engines, plug_in):
    bundle = with_engines()
    before = files_of(bundle.path)
    plug_in(refuses={"steps": 1000})
    steps = []

    def report(line):
        steps.append(line)
        if len(steps) == 3:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        build_engines(bundle, "fp32", SMALL, report)
    assert files_of(bundle.path) == before
    assert len(steps) < 500


def test_what_a_callback_raises_is_not_lost(with_engines):
    bundle = with_engines()
    before = files_of(bundle.path)

    def report(line):
        if "step 1 of 2" in line:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        build_engines(bundle, "fp32", SMALL, report)
    assert files_of(bundle.path) == before


def test_a_killed_build_is_never_opened(with_engines):
    bundle = with_engines()
    (folder,) = (bundle.path / "engines").glob("nvidia*fp32")
    folder.rename(folder.with_name(f".{folder.name}.half"))
    assert engine_folders(bundle.path) == []


def test_an_input_that_becomes_a_shape_is_refused(make_bundle, plug_in):
    plug_in(refuses={"shape tensors": ("level",)})
    with pytest.raises(ExportError, match="TensorRT does not read input 'level' of graph 'step' as a tensor"):
        build_engines(read_bundle(make_bundle()), "fp32", SMALL)


def test_precisions(make_bundle, plug_in):
    plug_in()
    bundle = read_bundle(make_bundle(variants=["fp16", "int8"]))
    folder = build_engines(bundle, "fp16", SMALL)
    sources = json.loads((folder / "engines.json").read_text())["engines"]
    assert list(sources["step"]["sources"]) == ["fp16/step.onnx"]
    assert list(sources["decoder"]["sources"]) == ["decoder.onnx"]  # which the variant does not have
    with pytest.raises(
        ExportError, match="engines in int8 were asked for, but for a GPU the bundle has fp32, fp16"
    ):
        build_engines(bundle, "int8", SMALL)
    with pytest.raises(ExportError, match="or export the voice with soundstorm-export --precision int8-qdq"):
        build_engines(bundle, "int8-qdq", SMALL)


@pytest.mark.parametrize(
    ("precision", "capability", "needs"), [("bf16", (7, 5), "8.0"), ("fp8-qdq", (8, 7), "8.9")]
)
def test_a_card_that_is_too_old_for_a_precision_is_told(make_bundle, plug_in, precision, capability, needs):
    bundle = read_bundle(make_bundle(variants=[precision]))
    plug_in().cuda.capability = capability
    with pytest.raises(ExportError, match=f"{precision} needs {needs} or more; take --precision fp16"):
        build_engines(bundle, precision, SMALL)
    plug_in()
    assert build_engines(bundle, precision, SMALL).name.endswith(precision)


@pytest.mark.parametrize(
    ("machine", "message"),
    [
        ({"driver": 0}, "no NVIDIA driver answers"),
        (
            {"driver": 11040},
            "the NVIDIA driver supports CUDA up to 11.4, the installed cuda-python needs a newer one",
        ),
        ({"devices": 0}, "no GPU can be used"),
        ({"version": "10.2.0"}, "tensorrt is 10.2.0, expected 10.3 or newer"),
        (
            {"module": "tensorrt_lean"},
            "no TensorRT: none of tensorrt is installed; pip install 'soundstorm-edge",
        ),
    ],
)
def test_what_the_machine_lacks_is_told(make_bundle, plug_in, machine, message):
    version = machine.pop("version", "11.4.0.106")
    trt = plug_in(**machine)
    trt.__version__ = version
    with pytest.raises(EngineError, match=message):
        build_engines(read_bundle(make_bundle()), "fp32", SMALL)


def test_without_cuda_python(make_bundle, monkeypatch):
    for name in ("cuda", "cuda.bindings.runtime", "cuda.cudart"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        EngineError, match=r"cuda-python is missing .*; pip install 'soundstorm-edge\[tensorrt\]'"
    ):
        build_engines(read_bundle(make_bundle()), "fp32", SMALL)


def command(*arguments):
    return click.testing.CliRunner().invoke(export, list(map(str, arguments)))


def test_the_command_builds_into_a_bundle(make_bundle, plug_in):
    plug_in()
    folder = make_bundle(variants=["fp16"])
    found = command(folder, "--tensorrt", "--frames", "1,50,200", "--batch", "1,1,2")
    assert found.exit_code == 0, found.exception
    assert found.stdout == f"engines: {folder}/engines/nvidia-fake-1-16sm-11.4.0.106-fp16\n"
    assert "building the engine of step in fp16 for NVIDIA Fake 1" in found.stderr
    assert "step: Building Engine, step 1 of 2" in found.stderr
    found = command(folder, "--tensorrt", "--precision", "fp32", "--precision", "int8")  # that is for CPUs
    assert found.stdout == f"engines: {folder}/engines/nvidia-fake-1-16sm-11.4.0.106-fp32\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--frames", "1,500,1500"], "options of engines were given, expected --tensorrt"),
        (["--tensorrt", "--frames", "1500"], "'1500' is not three whole numbers such as 1,500,1500"),
        (["--tensorrt", "--batch", "4,2,1"], "'4,2,1' does not rise from 1 or more"),
    ],
)
def test_wrong_use_of_the_command(make_bundle, arguments, message):
    found = command(make_bundle(), *arguments)
    assert found.exit_code == 2
    assert message in found.stderr


def test_a_bundle_is_not_exported_again(make_bundle, plug_in):
    plug_in()
    with pytest.raises(ExportError, match="parallel is a bundle; give a checkpoint, or --tensorrt without"):
        raise command(make_bundle()).exception


BLOCKED = """
import sys
for name in ("torch", "onnx", "onnxruntime", "onnx_ir", "onnxscript", "einops", "soundstorm_edge"):
    sys.modules[name] = None
from soundstorm_export.cli import main
main()
"""


def test_on_a_device_neither_pytorch_nor_onnx_is_needed(make_bundle, environment):
    """The command gets as far as looking for CUDA, which this machine's Python may not have."""
    line = [sys.executable, "-c", BLOCKED, str(make_bundle()), "--tensorrt"]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    lacks = ("cuda-python is missing", "no NVIDIA driver", "no GPU", "no TensorRT")
    assert done.stderr.startswith(tuple(f"error: {what}" for what in lacks)), done.stderr
