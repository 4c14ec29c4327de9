"""The speed benchmark on a tiny voice: figures that fit together, whatever the machine."""

from __future__ import annotations

import pytest

from benchmarks.speed import STAGES, TEXTS, measure_cold_start, measure_text
from soundstorm_runtime.engine import Engine
from soundstorm_runtime.errors import EngineError
from soundstorm_runtime.voice import Voice


def test_stages_are_shares_of_the_whole_time(tiny_bundle, tmp_path):
    run = Engine.run
    voice = Voice.load(tiny_bundle, threads=1, provider="cpu")
    speed = measure_text(voice, TEXTS["short"], tmp_path / "speech.wav", repeats=2)
    assert list(speed.stages) == list(STAGES)
    assert all(share > 0 for share in speed.stages.values())
    assert sum(speed.stages.values()) == pytest.approx(1, abs=1e-3)
    assert speed.step_calls == sum(voice.options.steps)
    assert speed.rtf == pytest.approx(speed.seconds / speed.audio_seconds, rel=0.05)
    assert speed.audio_seconds == pytest.approx(
        len(voice.speak(TEXTS["short"])) / voice.sample_rate, abs=1e-3
    )
    assert Engine.run is run  # the stopwatch leaves nothing behind


def test_the_paragraph_is_several_sentences(tiny_bundle, tmp_path):
    voice = Voice.load(tiny_bundle, threads=1, provider="cpu")
    speed = measure_text(voice, TEXTS["paragraph"], tmp_path / "speech.wav", repeats=1)
    assert speed.step_calls == 6 * sum(voice.options.steps)


def test_cold_start_is_that_of_a_whole_process(tiny_bundle, tmp_path):
    cold = measure_cold_start(tiny_bundle, TEXTS["short"], tmp_path / "speech.wav", threads=1, repeats=1)
    assert cold.seconds > 0.1
    assert 20 < cold.peak_megabytes < 1000
    assert (tmp_path / "speech.wav").stat().st_size > 1000


def test_a_voice_that_cannot_speak_is_an_error(tmp_path):
    with pytest.raises(EngineError, match=r"soundstorm say ended with 1, expected 0 .*is not a bundle"):
        measure_cold_start(tmp_path / "none", "Hello.", tmp_path / "speech.wav", threads=1, repeats=1)
