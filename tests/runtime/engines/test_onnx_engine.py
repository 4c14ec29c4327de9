"""ONNX Runtime behind the engine's entrance: providers, signatures, broken files."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest

from soundstorm_runtime.engines.graphs import AXES, Axis, decoder_graph, step_graph
from soundstorm_runtime.engines.onnx import onnx_engine
from soundstorm_runtime.engines.onnx.onnx_engine import OnnxEngine, available_devices
from soundstorm_runtime.errors import EngineError

LEVELS = 3
CODES = np.arange(12).reshape(1, 4, LEVELS) % 8


@pytest.fixture
def decoder(make_bundle):
    return make_bundle() / "decoder.onnx"


@pytest.mark.parametrize("as_bytes", [False, True])
def test_runs_a_file_or_bytes(decoder, as_bytes):
    engine = OnnxEngine(decoder_graph(LEVELS), decoder.read_bytes() if as_bytes else decoder)
    audio = engine.run({"codes": CODES})["audio"]
    assert audio.dtype == np.float32
    assert audio.shape == (1, 4 * 16)
    twice = engine.run({"codes": np.repeat(CODES, 2, axis=0)})["audio"]
    np.testing.assert_array_equal(twice, np.repeat(audio, 2, axis=0))


def test_says_where_it_runs(decoder):
    engine = OnnxEngine(decoder_graph(LEVELS), decoder, threads=1)
    assert str(engine) == f"ONNX Runtime {onnxruntime.__version__} on cpu, 1 thread"
    assert str(OnnxEngine(decoder_graph(LEVELS), decoder, threads=2)).endswith("on cpu, 2 threads")


def library(available, started):
    """Stand in for a library with other providers: only what starts is in the session's list."""
    session = SimpleNamespace(
        get_providers=lambda: started,
        get_inputs=lambda: [argument("codes", "tensor(int64)", ["batch", "frames", LEVELS])],
        get_outputs=lambda: [argument("audio", "tensor(float)", ["batch", "samples"])],
    )
    return SimpleNamespace(
        __version__="1.22.0",
        get_available_providers=lambda: available,
        SessionOptions=lambda: SimpleNamespace(add_session_config_entry=lambda name, value: None),
        InferenceSession=lambda *_, **options: session,
    )


def argument(name, kind, shape):
    return SimpleNamespace(name=name, type=kind, shape=shape)


CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


@pytest.mark.parametrize(
    ("available", "started", "message"),
    [
        ([CPU], [CPU], "provider 'cuda' asked for, but ONNX Runtime 1.22.0 has only"),
        ([CUDA, CPU], [CPU], "could not start it .* check the driver, CUDA and cuDNN"),
    ],
)
def test_cuda_by_name_is_used_or_fails(monkeypatch, available, started, message):
    monkeypatch.setattr(onnx_engine, "_onnxruntime", lambda: library(available, started))
    with pytest.raises(EngineError, match=message):
        OnnxEngine(decoder_graph(LEVELS), b"", provider="cuda")


def test_cuda_by_name_is_used(monkeypatch):
    monkeypatch.setattr(onnx_engine, "_onnxruntime", lambda: library([CUDA, CPU], [CUDA, CPU]))
    assert OnnxEngine(decoder_graph(LEVELS), b"", provider="cuda").provider == "cuda"


def test_devices_are_those_the_library_was_built_for(monkeypatch):
    assert "cpu" in available_devices()
    monkeypatch.setattr(onnx_engine, "_onnxruntime", lambda: library([CUDA, CPU, "Other"], []))
    assert available_devices() == ("cuda", "cpu")


def test_without_the_library_the_extra_is_named():
    script = (
        "import sys; sys.modules['onnxruntime'] = None\n"
        "from soundstorm_runtime.engines.onnx.onnx_engine import OnnxEngine\n"
        "from soundstorm_runtime.engines.graphs import decoder_graph\n"
        "try: OnnxEngine(decoder_graph(3), b'')\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.startswith("EngineError no engine to run the voice with")
    assert "pip install 'soundstorm-edge[cpu]'" in found.stdout


@pytest.mark.parametrize("keep", [0, 100, -20])
def test_a_broken_file_is_named(decoder, keep):
    decoder.write_bytes(decoder.read_bytes()[:keep])
    with pytest.raises(EngineError, match=r"decoder.onnx .*export the voice again with soundstorm-export"):
        OnnxEngine(decoder_graph(LEVELS), decoder)


def test_another_graph_is_refused(decoder):
    with pytest.raises(EngineError, match=r"has the inputs codes tensor\(int64\) .*; expected .* uniform"):
        OnnxEngine(step_graph(LEVELS), decoder)
    with pytest.raises(EngineError, match=r"expected codes tensor\(int64\) \['batch', 'frames', 4\]"):
        OnnxEngine(decoder_graph(4), decoder)


def test_a_failing_run_names_the_graph(decoder):
    engine = OnnxEngine(decoder_graph(LEVELS), decoder)
    with pytest.raises(EngineError, match=r"decoder.onnx failed to run: .*Gather"):
        engine.run({"codes": CODES + 100})


def test_axes_of_the_bundle_are_kept_to(decoder):
    engine = OnnxEngine(decoder_graph(LEVELS), decoder, {**AXES, "frames": Axis(1, 2, 3)})
    with pytest.raises(EngineError, match="was given 4 frames, expected 1 to 3"):
        engine.run({"codes": CODES})
