"""TensorRT for RTX through ONNX Runtime: the real plug-in up to the driver that it misses; a stand-in."""

from __future__ import annotations

import ctypes.util
import sys
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest

from soundstorm_runtime import Voice
from soundstorm_runtime.bundle.open_engines import FOLDER, open_engines
from soundstorm_runtime.bundle.reader import read_bundle
from soundstorm_runtime.engines.onnx import rtx_provider
from soundstorm_runtime.engines.onnx.rtx_provider import RTX
from soundstorm_runtime.errors import EngineError

PACKAGE = "onnxruntime_ep_nv_tensorrt_rtx"


@pytest.fixture(autouse=True)
def _unregistered():
    """Nothing of the plug-in is remembered from one test to the next."""
    rtx_provider._register.cache_clear()
    yield
    rtx_provider._register.cache_clear()


def refused(bundle):
    with pytest.raises(EngineError) as caught:
        open_engines(bundle, provider="rtx")
    assert not (bundle.path / FOLDER).exists()
    return str(caught.value)


def test_the_real_plug_in_misses_the_driver(make_bundle):
    pytest.importorskip(PACKAGE)
    if ctypes.util.find_library("cuda"):
        pytest.skip("this machine has NVIDIA's driver")
    message = refused(read_bundle(make_bundle()))
    assert "cannot load TensorRT for RTX" in message
    assert "libcuda.so.1: cannot open shared object file" in message
    assert message.endswith("install NVIDIA's driver, or take --provider cpu")


def test_without_the_package_the_extra_is_named(make_bundle, monkeypatch):
    monkeypatch.setitem(sys.modules, PACKAGE, None)
    assert "pip install 'soundstorm-edge[rtx]'" in refused(read_bundle(make_bundle()))


def test_an_old_onnx_runtime_is_named(make_bundle, monkeypatch):
    monkeypatch.delattr(onnxruntime, "register_execution_provider_library")
    assert "needs ONNX Runtime 1.23 or newer" in refused(read_bundle(make_bundle()))


@pytest.fixture
def plugged(monkeypatch, tmp_path):
    """A plug-in with a GPU, as far as ONNX Runtime would tell; sessions compute on the CPU."""
    found = SimpleNamespace(devices=[SimpleNamespace(ep_name=RTX)], registered=[], options=[])
    session = onnxruntime.InferenceSession

    class Options(onnxruntime.SessionOptions):
        def add_provider_for_devices(self, devices, options):
            assert devices == found.devices
            found.options.append(options)

    class Session(session):
        def __init__(self, source, options, providers, **others):
            self.plugged = providers is None  # a list would win over the device
            super().__init__(source, options, providers=["CPUExecutionProvider"], **others)

        def get_providers(self):
            return [RTX] * self.plugged + super().get_providers()

    plug_in = SimpleNamespace(get_library_path=lambda: str(tmp_path / "plug-in.so"))
    monkeypatch.setitem(sys.modules, PACKAGE, plug_in)
    register = lambda name, path: found.registered.append((name, path))  # noqa: E731
    monkeypatch.setattr(onnxruntime, "register_execution_provider_library", register)
    monkeypatch.setattr(onnxruntime, "get_ep_devices", lambda: found.devices)
    monkeypatch.setattr(onnxruntime, "SessionOptions", Options)
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    return found


def test_a_voice_speaks_and_each_graph_has_its_ranges_and_cache(make_bundle, plugged, tmp_path):
    bundle = read_bundle(make_bundle())
    opened = open_engines(bundle, provider="rtx", precision="fp32", threads=1)
    spoken = Voice(bundle, opened.by_name).speak("Good morning.", seed=1)
    on_cpu = open_engines(bundle, provider="cpu", precision="fp32", threads=1)
    np.testing.assert_array_equal(spoken, Voice(bundle, on_cpu.by_name).speak("Good morning.", seed=1))
    assert plugged.registered == [(RTX, str(tmp_path / "plug-in.so"))]  # once a process
    step = plugged.options[0]
    batch, frames = bundle.manifest.axes["batch"], bundle.manifest.axes["frames"]
    shapes = dict(entry.split(":") for entry in step["nv_profile_max_shapes"].split(","))
    assert shapes["codes"] == f"{batch.max}x{frames.max}x3"
    assert "temperature" not in shapes  # its shape is fixed
    folders = {options["nv_runtime_cache_path"] for options in plugged.options}
    assert len(folders) == len(opened.by_name)


def test_without_a_gpu_it_is_refused(make_bundle, plugged):
    plugged.devices.clear()
    message = refused(read_bundle(make_bundle()))
    assert "finds no GPU; it runs on GeForce RTX and RTX PRO since Ampere" in message


def test_a_bundle_that_cannot_keep_engines_is_named(make_bundle, plugged):
    bundle = read_bundle(make_bundle())
    (bundle.path / FOLDER).write_text("in the way")
    with pytest.raises(EngineError, match=r"cannot keep engines in .*Not a directory.*copy the bundle to"):
        open_engines(bundle, provider="rtx", precision="fp32", threads=1)
