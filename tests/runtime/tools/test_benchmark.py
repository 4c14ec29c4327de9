"""Measuring a voice: figures that fit together, whatever the machine."""

from __future__ import annotations

import json
import math
import re
import sys
from types import SimpleNamespace

import click.testing
import pytest

from soundstorm_runtime.bundle.open_engines import open_engines
from soundstorm_runtime.bundle.reader import read_bundle
from soundstorm_runtime.cli import main_group
from soundstorm_runtime.errors import EngineError, OptionError
from soundstorm_runtime.tools import benchmark as bench_module
from soundstorm_runtime.tools.benchmark import ColdStart, Setting, bench, cold_start, text_of
from soundstorm_runtime.tools.cold_start import measure

QUICK = Setting(seconds=(1.0, 4.0), batches=(1, 3), repeats=2, threads=1)


@pytest.fixture
def no_cold_start(monkeypatch):
    """A process for each test would take longer than all the rest of them."""
    monkeypatch.setattr(bench_module, "cold_start", lambda *_: ColdStart("Yes.", 0.5, 0.6, 100.0))


def test_figures_fit_together(make_bundle, no_cold_start):
    folder = make_bundle(voices={"slt": 6})
    result = bench(folder, QUICK)
    assert [case.batch for case in result.run.cases] == [1, 3, 1, 3]
    one, three, long, _ = result.run.cases
    assert three.audio == pytest.approx(3 * one.audio, abs=0.01)
    assert long.audio > 2 * one.audio
    for case in result.run.cases:
        assert case.rtf == pytest.approx(case.seconds / case.audio, rel=0.05, abs=1e-4)
        assert case.text + case.steps + case.codec + case.rest == pytest.approx(case.seconds, abs=5e-4)
        assert case.step * 7 <= case.steps * 1.05 + 1e-3
        assert case.first_audio > 0
    assert result.decode_steps == (4, 2, 1)
    assert result.against is None
    assert result.machine.cores >= 1


def test_a_table_and_json(make_bundle, tmp_path, no_cold_start):
    folder = make_bundle(variants=["int8"])
    options = "--seconds 1 --batch 1,2 --repeats 1 --precision int8 --against onnx --json".split()
    found = click.testing.CliRunner().invoke(main_group, ["bench", str(folder), *options[:-1]])
    assert found.exit_code == 0, found.output
    assert re.search(r"ONNX Runtime \S+ on cpu, \d+ threads?, int8\naudio, s +batch", found.stdout)
    assert re.search(r"times faster: [\d.]+, [\d.]+\n", found.stdout)
    assert "first audio after 0.50 s, all after 0.60 s; peak memory 100 MB" in found.stdout
    data = json.loads(click.testing.CliRunner().invoke(main_group, ["bench", str(folder), *options]).stdout)
    assert (data["run"]["precision"], data["against"]["precision"]) == ("int8", "fp32")
    assert data["machine"]["cpu"]
    assert len(data["run"]["cases"]) == 2


def test_another_package_may_bring_an_engine(make_bundle, monkeypatch, tmp_path, no_cold_start):
    folder = make_bundle()
    asked = []

    def engines(checkpoint, graphs, *, threads):
        asked.append((checkpoint, list(graphs), threads))
        return open_engines(read_bundle(folder), provider="cpu", precision="fp32", threads=threads).by_name

    entry = SimpleNamespace(load=lambda: engines)
    monkeypatch.setattr(bench_module.metadata, "entry_points", lambda group, name: [entry])
    result = bench(folder, QUICK, "torch", tmp_path / "ckpt.pt")
    assert asked == [(tmp_path / "ckpt.pt", ["step", "decoder", "text_encoder", "text_decoder"], 1)]
    assert len(result.against.cases) == 4


def test_an_engine_that_is_not_there_is_named(make_bundle, monkeypatch, tmp_path):
    folder = make_bundle()
    with pytest.raises(OptionError, match="--against torch was given, expected --checkpoint"):
        bench(folder, QUICK, "torch")
    monkeypatch.setattr(bench_module.metadata, "entry_points", lambda group, name: [])
    with pytest.raises(EngineError, match=r"no engine 'torch' is registered .* 'soundstorm-edge\[train\]'"):
        bench(folder, QUICK, "torch", tmp_path / "ckpt.pt")

    def load():
        raise ImportError("No module named 'torch'")

    monkeypatch.setattr(
        bench_module.metadata, "entry_points", lambda group, name: [SimpleNamespace(load=load)]
    )
    with pytest.raises(EngineError, match=r"engine 'torch' cannot be loaded .*No module named 'torch'"):
        bench(folder, QUICK, "torch", tmp_path / "ckpt.pt")


@pytest.mark.parametrize(
    "options", [{"seconds": (0.0,)}, {"seconds": (math.nan,)}, {"batches": (0,)}, {"seconds": ()}]
)
def test_nothing_to_measure_is_refused(options):
    with pytest.raises(OptionError, match="expected some above 0"):
        Setting(**options)


def test_texts_have_about_the_length_asked_for():
    for seconds in (0.1, 1, 5, 30):
        text = text_of(seconds)
        assert len(text.split()) == max(1, round(2.6 * seconds))
        assert text.endswith(".")


def test_a_cold_start_is_that_of_a_whole_process(make_bundle):
    folder = make_bundle()
    found = cold_start(folder, Setting(repeats=1, threads=1), open_engines(read_bundle(folder)))
    assert 0.05 < found.first_audio <= found.seconds
    assert 20 < found.peak_megabytes < 1000
    for setting in (Setting(repeats=1, voice="otto"), Setting(repeats=1, steps=(1,))):
        with pytest.raises(EngineError, match=r"otto|steps"):
            cold_start(folder, setting, open_engines(read_bundle(folder)))
    with pytest.raises(EngineError, match=r"soundstorm say ended with 1, expected 0 .*is not a bundle"):
        cold_start(folder / "none", Setting(repeats=1), open_engines(read_bundle(folder)))


def test_the_first_sample_is_seen_when_it_comes():
    script = "import sys, time; w = sys.stdout.buffer; w.write(bytes(50)); w.flush(); time.sleep(1.5)"
    found = measure([sys.executable, "-c", script])
    assert found["code"] == 0
    assert found["seconds"] > found["first_audio_seconds"] + 0.3
    assert measure([sys.executable, "-c", ""])["first_audio_seconds"] is None
