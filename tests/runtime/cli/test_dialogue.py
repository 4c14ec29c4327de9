"""`soundstorm dialogue`, within this process."""

from __future__ import annotations

import io
import json
import sys

import pytest
import soundfile

from soundstorm_runtime import Voice
from soundstorm_runtime.cli import main
from soundstorm_runtime.synthesis.dialogue.turns import read_script

SCRIPT = "slt: Good morning.\nrms: [overlap 0.2s] How are you?\nslt: Well.\n"


@pytest.fixture
def bundle(make_bundle):
    return make_bundle(voices={"slt": 40, "rms": 60})


@pytest.fixture
def call(monkeypatch, capfd, tmp_path):
    def call(*arguments, stdin=""):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["soundstorm", "dialogue", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, capfd.readouterr().err

    return call


@pytest.mark.parametrize("stream", [[], ["--stream"]])
def test_a_script_becomes_a_file_with_times(bundle, call, tmp_path, stream):
    (tmp_path / "script.txt").write_text(SCRIPT)
    code, said = call(bundle, "script.txt", "-o", "talk.wav", "--times", "talk.json", *stream)
    assert code == 0, said
    assert "talk.wav: 3 turns, " in said
    whole = Voice.load(bundle, threads=1, provider="cpu").dialogue(read_script(SCRIPT))
    assert len(soundfile.read(tmp_path / "talk.wav")[0]) == len(whole.audio)
    times = json.loads((tmp_path / "talk.json").read_text())
    assert [turn["voice"] for turn in times["turns"]] == ["slt", "rms", "slt"]
    assert times["turns"][1]["start"] == pytest.approx(whole.turns[1].start, abs=1e-3)


def test_ssml_from_standard_input(bundle, call, tmp_path):
    ssml = '<speak><voice name="slt">Good morning.</voice><voice name="rms">Hi.</voice></speak>'
    code, said = call(bundle, "-", "-o", "talk.wav", stdin=ssml)
    assert code == 0, said
    assert "talk.wav: 2 turns, " in said


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        ("Hello.", [], "line 1 is 'Hello.', expected a voice and what it says"),
        ("bob: Hello.", [], "voice 'bob' was asked for, but the bundle has the voices slt, rms"),
        ("slt: *", [], "turn 1: text '*' has no speakable character"),
        (
            SCRIPT,
            ["--times", "talk.srt"],
            "cannot write times to talk.srt: expected a name that ends in",
        ),
    ],
)
def test_mistakes_are_named(bundle, call, tmp_path, script, arguments, message):
    code, said = call(bundle, "-", "-o", "talk.wav", *arguments, stdin=script)
    assert code == 1
    assert message in said
    assert not (tmp_path / "talk.wav").exists()
