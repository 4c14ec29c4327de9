"""Named voices, lengths, budgets and precisions on the command line."""

from __future__ import annotations

import re

import click.testing
import numpy as np
import pytest
import soundfile

from soundstorm_runtime import Voice
from soundstorm_runtime.cli import main_group


@pytest.fixture
def call(monkeypatch, tmp_path):
    """Run a command in `tmp_path`; gives its output, or raises its error."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        found = click.testing.CliRunner().invoke(main_group, [*map(str, arguments)])
        if isinstance(found.exception, Exception):
            raise found.exception
        return found

    return call


def fails(call, message, *arguments):
    with pytest.raises(Exception, match=message):
        call(*arguments)


def test_a_named_voice_speaks_and_voices_are_listed(call, make_bundle, tmp_path):
    bundle = make_bundle("autoregressive", voices={"slt": 6, "robert": 50})
    call("say", bundle, "Good morning.", "--voice", "robert", "-o", "out.wav")
    audio, _ = soundfile.read(tmp_path / "out.wav", dtype="float32")
    np.testing.assert_allclose(audio, Voice.load(bundle).speak("Good morning.", voice="robert"), atol=1e-4)
    listed = call("voices", bundle).stdout
    assert listed == "slt     0.2 s, the default\nrobert  2.0 s\n"
    assert "voices    slt, robert" in call("info", bundle).stdout
    message = "voice 'awb' was asked for, but the bundle has the voices slt, robert; take what it has"
    fails(call, message, "say", bundle, "Yes.", "--voice", "awb")


def test_a_bundle_without_named_voices_lists_none(call, make_bundle):
    found = call("voices", make_bundle())
    assert (found.exit_code, found.stdout) == (0, "")
    assert "no named voices" in found.stderr


def test_the_length_is_fixed(call, make_bundle, tmp_path):
    bundle = make_bundle()
    call("say", bundle, "Good morning. And good night.", "--duration", 3, "-o", "out.wav")
    assert soundfile.info(tmp_path / "out.wav").frames == 3 * 800
    message = r"duration is 0\.1 s, expected 0\.\d+ to"
    fails(call, message, "say", bundle, "Good morning.", "--duration", 0.1)


def test_steps_are_picked_to_fit_a_budget(call, make_bundle, tmp_path, caplog):
    bundle = make_bundle()
    with caplog.at_level("INFO"):
        call("say", bundle, "Good morning.", "--budget-ms", 0.01, "-o", "out.wav")
    assert "budget: 0.01 ms are too few on this machine; using the fewest, steps 1,1,1," in caplog.text
    budgeted = (tmp_path / "out.wav").read_bytes()
    call("say", bundle, "Good morning.", "--steps", "1,1,1", "-o", "out.wav")
    assert (tmp_path / "out.wav").read_bytes() == budgeted
    found = call("say", bundle, "Yes.", "--budget-ms", 9, "--steps", "1,1,1")
    assert found.exit_code == 2
    assert "both --steps and --budget-ms were given; give one of them" in found.stderr


def test_a_precision_is_forced_or_refused_with_those_there_are(call, make_bundle, caplog):
    bundle = make_bundle(variants=["int8"])
    with caplog.at_level("INFO"):
        call("say", bundle, "Yes.", "--precision", "int8")
    assert ", int8 (asked for)" in caplog.text
    assert re.search(r"int8 +step +0\.00 MB  error 1\.0e-06 at most", call("info", bundle).stdout)
    message = "precision 'fp16' was asked for, but the bundle has fp32, int8; take one of these, or export"
    fails(call, message, "say", bundle, "Yes.", "--precision", "fp16")
