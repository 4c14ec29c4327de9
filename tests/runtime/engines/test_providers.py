"""Providers of ONNX Runtime beside CPU and CUDA: OpenVINO for real, and all of them refused where absent."""

from __future__ import annotations

import click.testing
import numpy as np
import onnxruntime
import pytest

from soundstorm_runtime import Voice
from soundstorm_runtime.cli import main_group
from soundstorm_runtime.engines.onnx import openvino_plugin
from soundstorm_runtime.errors import EngineError, OptionError
from soundstorm_runtime.tools import diagnosis

ADVICE = {
    "openvino": r"pip install 'soundstorm-edge\[openvino\]'",
    "coreml": "ONNX Runtime has it on macOS",
    "directml": "pip install onnxruntime-directml",
    "xnnpack": "built with --use_xnnpack",
}


@pytest.mark.parametrize("provider", ADVICE)
def test_an_absent_provider_is_refused_with_what_to_do(make_bundle, monkeypatch, provider):
    monkeypatch.setattr(openvino_plugin, "_PLUGIN", "none")
    # A plug-in that another test has registered stays in the list for as long as the process lives.
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    message = rf"provider '{provider}' asked for, but ONNX Runtime .* has only .*; .*{ADVICE[provider]}"
    with pytest.raises(EngineError, match=message):
        Voice.load(make_bundle(), provider=provider)


def test_int8_is_refused_where_its_operators_are_absent(make_bundle):
    with pytest.raises(OptionError, match="precision 'int8' runs on cpu and openvino, not on 'coreml'"):
        Voice.load(make_bundle(variants=["int8"]), provider="coreml", precision="int8")


def test_openvino_speaks_as_the_cpu_does(make_bundle):
    pytest.importorskip("onnxruntime_ep_openvino", reason="OpenVINO is absent: pip install '.[openvino]'")
    bundle = make_bundle(codec="spectral", streams=True)
    expected = Voice.load(bundle, provider="cpu").speak("Good morning.", seed=1)
    for _ in range(2):  # the plug-in is registered once in a process
        voice = Voice.load(bundle, provider="openvino")
        np.testing.assert_allclose(voice.speak("Good morning.", seed=1), expected, atol=1e-3)
    found = click.testing.CliRunner().invoke(main_group, ["doctor", str(bundle), "--provider", "openvino"])
    assert found.exit_code == 0, found.output
    assert " on openvino, " in found.stdout


@pytest.mark.parametrize(("seconds", "offered"), [(0.001, True), (0.003, False)])
def test_the_doctor_offers_openvino_only_where_it_is_faster(make_bundle, monkeypatch, seconds, offered):
    taken = {"cpu": 0.002, "openvino": seconds}
    real = diagnosis.open_engines

    def opened(bundle, *, provider="auto", **options):
        engines = real(bundle, provider="cpu", **options)
        for engine in engines.by_name.values():
            engine.took = taken["openvino" if provider == "openvino" else "cpu"]
        return engines

    monkeypatch.setattr(diagnosis, "open_engines", opened)
    monkeypatch.setattr(diagnosis, "available_devices", lambda: ("openvino", "cpu"))
    monkeypatch.setattr(diagnosis, "_run_once", lambda manifest, engine: getattr(engine, "took", 0.002))
    found = click.testing.CliRunner().invoke(main_group, ["doctor", str(make_bundle())])
    advice = "advice     a step takes 1.0 ms with OpenVINO and 2.0 ms without: take --provider openvino"
    assert (advice in found.stdout) == offered
    assert ("OpenVINO" in found.stdout) == offered
