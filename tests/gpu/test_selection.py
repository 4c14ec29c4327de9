"""Which engines of a bundle are opened, which are refused, and what is said of it."""

from __future__ import annotations

import json
import logging
import sys

import pytest

from soundstorm_export.tensorrt.engine_builder import BuildOptions, build_engines
from soundstorm_runtime import Voice
from soundstorm_runtime.bundle.open_engines import open_engines
from soundstorm_runtime.bundle.reader import read_bundle
from soundstorm_runtime.engines.graphs import Axis
from soundstorm_runtime.errors import EngineError, OptionError
from tests.gpu.conftest import SMALL

AGAIN = "soundstorm-export .*parallel --tensorrt"


def engines_folder(bundle):
    (folder,) = (bundle.path / "engines").glob("nvidia*[0-9]-fp32")
    return folder


def change(bundle, **facts):
    file = engines_folder(bundle) / "engines.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | facts))


def refused(bundle):
    with pytest.raises(EngineError) as caught:
        open_engines(bundle, provider="tensorrt")
    return str(caught.value)


def test_auto_takes_engines_that_fit_and_says_so(with_engines, caplog):
    bundle = with_engines()
    with caplog.at_level(logging.INFO):
        opened = open_engines(bundle)
    assert (opened.provider, opened.precision) == ("tensorrt", "fp32")
    assert caplog.messages == [
        "engine: tensorrt 11.4.0.106 on NVIDIA Fake 1, fp32 (built as nvidia-fake-1-16sm-11.4.0.106-fp32)"
    ]


def test_by_name_it_is_used_in_silence(with_engines, caplog):
    bundle = with_engines()
    with caplog.at_level(logging.INFO):
        opened = open_engines(bundle, provider="tensorrt", precision="fp32")
    assert not caplog.text
    assert opened.reason == "asked for"


def test_auto_prefers_fp16(with_engines):
    bundle = with_engines(precision="fp16")
    build_engines(bundle, "fp32", SMALL)
    assert open_engines(bundle).precision == "fp16"
    assert open_engines(bundle, precision="fp32").precision == "fp32"


@pytest.mark.parametrize(
    ("machine", "message"),
    [
        ({"version": "10.16.1.11"}, "TensorRT was '11.4.0.106', here it is '10.16.1.11'"),
        ({"memory": 1 << 33}, "the GPU had 16384 MiB of memory, here it has 8192"),
        ({"devices": 0}, "no GPU can be used"),
        ({"driver": 0}, "no NVIDIA driver answers"),
        (
            {"driver": 11040},
            "the NVIDIA driver supports CUDA up to 11.4, the installed cuda-python needs a newer ",
        ),
        ({"driver": 12060, "needs": 13000}, "then pip install 'soundstorm-edge[tensorrt-cu12]'"),
    ],
)
def test_auto_says_why_it_does_not_take_them_and_by_name_it_fails(
    with_engines, plug_in, caplog, machine, message
):
    bundle = with_engines()
    plug_in(**machine)
    with caplog.at_level(logging.WARNING):
        opened = open_engines(bundle, threads=1)
    assert opened.provider == "cpu"
    (warning,) = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert message in warning
    assert warning.endswith("; not using TensorRT")
    assert message in refused(bundle)


def test_every_difference_of_another_machine_is_named_with_the_command(with_engines, plug_in):
    bundle = with_engines()
    trt = plug_in("10.16.1.11", driver=13020)
    trt.cuda.name, trt.cuda.capability, trt.cuda.multiprocessors = "Orin", (8, 7), 8
    folder = engines_folder(bundle)
    assert refused(bundle) == (
        f"the engines in {folder} were built for another machine: compute capability was '9.0', here it is "
        "'8.7', the GPU had 16 multiprocessors, here it has 8, TensorRT was '11.4.0.106', "
        f"here it is '10.16.1.11'; build them here: soundstorm-export {bundle.path} --tensorrt"
    )


def test_another_driver_is_only_warned_of(with_engines, plug_in, caplog):
    bundle = with_engines()
    plug_in(driver=13020)
    with caplog.at_level(logging.WARNING):
        assert open_engines(bundle).provider == "tensorrt"
    (warning,) = caplog.messages
    assert "were built with a driver for CUDA 13.0, here it is 13.2; if speech sounds wrong" in warning


def test_boards_of_one_name_but_another_size_are_told_apart(with_engines, plug_in):
    bundle = with_engines()
    plug_in().cuda.multiprocessors = 8
    assert "the GPU had 16 multiprocessors, here it has 8" in refused(bundle)
    build_engines(bundle, "fp32", SMALL)
    assert open_engines(bundle).reason == "built as nvidia-fake-1-8sm-11.4.0.106-fp32"
    plug_in()
    assert open_engines(bundle).reason == "built as nvidia-fake-1-16sm-11.4.0.106-fp32"


def test_equal_boards_may_have_different_names_and_keep_a_little_memory_back(with_engines, plug_in):
    bundle = with_engines()
    plug_in(memory=15 << 30).cuda.name = "NVIDIA Fake 1 Super"
    assert open_engines(bundle).provider == "tensorrt"


def test_engines_of_an_older_version_are_compared_by_the_name_of_the_gpu(with_engines, plug_in):
    bundle = with_engines()
    change(bundle, multiprocessors=0, memory=0)
    assert open_engines(bundle).provider == "tensorrt"
    plug_in().cuda.name = "Orin"
    assert "the GPU was 'NVIDIA Fake 1', here it is 'Orin'" in refused(bundle)


def test_engines_of_several_machines_lie_side_by_side(with_engines, plug_in):
    bundle = with_engines()
    plug_in("10.3.0", "12.6.2")
    build_engines(bundle, "fp32", SMALL)
    assert open_engines(bundle, provider="tensorrt").reason == "built as nvidia-fake-1-16sm-10.3.0-fp32"
    plug_in()
    assert open_engines(bundle, provider="tensorrt").reason == "built as nvidia-fake-1-16sm-11.4.0.106-fp32"


def test_version_compatible_engines_run_on_newer_ones_and_the_lean_runtime(with_engines, plug_in):
    options = BuildOptions(Axis(1, 50, 100), Axis(1, 1, 1), version_compatible=True)
    bundle = with_engines(version="10.16.1.11", options=options)
    trt = plug_in("11.4.0.106", module="tensorrt_lean")
    opened = open_engines(bundle, provider="tensorrt")
    assert str(opened.by_name["step"]) == "tensorrt_lean 11.4.0.106 on NVIDIA Fake 1"
    assert trt.asked.host_code
    plug_in("10.3.0")
    assert "TensorRT must be '10.16.1.11' or newer, here it is '10.3.0'" in refused(bundle)


def test_code_of_the_host_is_allowed_to_no_other_engines(with_engines, plug_in):
    bundle = with_engines()
    trt = plug_in()
    open_engines(bundle, provider="tensorrt")
    assert not trt.asked.host_code


def test_hardware_compatible_engines_run_on_cards_since_ampere(with_engines, plug_in):
    bundle = with_engines(options=BuildOptions(Axis(1, 50, 100), Axis(1, 1, 1), hardware_compatible=True))
    trt = plug_in()
    trt.cuda.name, trt.cuda.capability = "NVIDIA Other", (8, 6)
    assert open_engines(bundle).provider == "tensorrt"
    trt = plug_in()
    trt.cuda.capability = (7, 5)
    assert "compute capability must be 8.0 or more, here it is '7.5'" in refused(bundle)


def test_a_bundle_without_engines(make_bundle, plug_in):
    plug_in()
    bundle = read_bundle(make_bundle())
    assert refused(bundle) == (
        f"{bundle.path} has no TensorRT engines; build them here: soundstorm-export {bundle.path} --tensorrt"
    )


def test_a_truncated_engine(with_engines):
    bundle = with_engines()
    file = engines_folder(bundle) / "decoder.engine"
    size = file.stat().st_size
    file.write_bytes(file.read_bytes()[:-1])
    assert (
        f"decoder.engine has {size - 1} bytes, expected {size}; build it again: soundstorm-export"
        in refused(bundle)
    )


def test_a_changed_engine(with_engines):
    bundle = with_engines()
    file = engines_folder(bundle) / "decoder.engine"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    assert "decoder.engine has SHA-256 " in refused(bundle)


def test_a_missing_engine_and_a_link(with_engines, tmp_path):
    bundle = with_engines()
    file = engines_folder(bundle) / "decoder.engine"
    elsewhere = file.rename(tmp_path / "elsewhere")
    assert "decoder.engine is missing, expected" in refused(bundle)
    file.symlink_to(elsewhere)
    assert "decoder.engine cannot be used: it is a link, expected a file" in refused(bundle)


def test_engines_of_an_older_export(with_engines):
    bundle = with_engines()
    manifest = json.loads((engines_folder(bundle) / "engines.json").read_text())
    manifest["engines"]["step"]["sources"] = {"step.onnx": "0" * 64}
    change(bundle, engines=manifest["engines"])
    message = refused(bundle)
    assert "step.engine was built from files with SHA-256 {'step.onnx': '0000" in message
    assert "build them again: soundstorm-export" in message


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        (
            {"version": 2},
            "format and version are 'soundstorm-engines' and 2, expected 'soundstorm-engines' and 1",
        ),
        ({"gpu": 3}, "engines.gpu is 3, expected a text"),
        ({"command": "rm"}, "engines has the unknown key 'command'"),
        ({"engines": {}}, "has engines for nothing, expected step, decoder, text_encoder, text_decoder"),
        ({"axes": {}}, "has no axis batch"),
    ],
)
def test_a_manifest_that_is_wrong(with_engines, facts, message):
    bundle = with_engines()
    change(bundle, **facts)
    assert message in refused(bundle)


def test_an_engine_outside_its_folder(with_engines):
    bundle = with_engines()
    manifest = json.loads((engines_folder(bundle) / "engines.json").read_text())
    manifest["engines"]["step"]["file"] = "../../step.engine"
    change(bundle, engines=manifest["engines"])
    assert "file is '../../step.engine', expected a name such as step.engine" in refused(bundle)


def test_a_manifest_that_is_no_json(with_engines):
    bundle = with_engines()
    (engines_folder(bundle) / "engines.json").write_text("{")
    assert "engines.json: " in refused(bundle)


def test_int8_is_for_cpus(with_engines):
    bundle = with_engines()
    with pytest.raises(
        OptionError, match="precision 'int8' runs on cpu and openvino, not on 'tensorrt'; take fp32, or"
    ):
        Voice.load(bundle.path, provider="tensorrt", precision="int8")


def test_a_precision_that_was_not_built(with_engines):
    bundle = with_engines()
    with pytest.raises(
        EngineError, match=f"engines are there in fp32, but not in fp16; build .*{AGAIN} --precision fp16"
    ):
        open_engines(bundle, provider="tensorrt", precision="fp16")


@pytest.mark.parametrize("precision", ["bf16", "int8-qdq", "fp8-qdq"])
def test_what_loses_something_is_taken_by_name_alone(with_engines, precision):
    bundle = with_engines(precision=precision)
    assert open_engines(bundle, precision=precision).provider == "tensorrt"
    assert refused(bundle).startswith(
        f"engines are there in {precision}, but not in fp16 or fp32 (--precision {precision} takes those)"
    )
    build_engines(bundle, "fp32", SMALL)
    assert open_engines(bundle).precision == "fp32"


@pytest.mark.parametrize("broken", [{"tensorrt": None}, {"cuda.bindings.runtime": None}])
def test_a_missing_package(with_engines, monkeypatch, broken):
    bundle = with_engines()
    for name in broken:
        monkeypatch.setitem(sys.modules, name, None)
    assert "pip install 'soundstorm-edge[tensorrt]'" in refused(bundle)


def test_nothing_of_tensorrt_is_made_before_the_device_was_seen(with_engines, plug_in, monkeypatch):
    bundle = with_engines()
    trt = plug_in(devices=0)
    monkeypatch.setattr(trt, "ILogger", property(lambda self: pytest.fail("TensorRT was touched")))
    monkeypatch.setattr(trt, "Runtime", lambda logger: pytest.fail("a runtime was made"))
    assert "no GPU can be used (cudaErrorNoDevice)" in refused(bundle)
