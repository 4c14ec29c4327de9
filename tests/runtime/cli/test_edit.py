"""`soundstorm edit`, within this process."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import soundfile

from soundstorm_runtime import Voice
from soundstorm_runtime.cli import main

TEXT = "We will all meet on a sunny Tuesday at the old stone bridge."


@pytest.fixture
def bundle(make_bundle):
    return make_bundle(hears=True)


@pytest.fixture
def call(monkeypatch, capfd, tmp_path):
    def call(*arguments):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["soundstorm", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, capfd.readouterr().err

    return call


def test_words_of_a_file_are_replaced_and_its_other_samples_stay(bundle, call, tmp_path):
    assert call("say", bundle, TEXT, "-o", "in.wav", "--times", "in.json")[0] == 0
    code, said = call(
        "edit",
        bundle,
        "in.wav",
        "--times",
        "in.json",
        "--replace",
        "Tuesday=Saturday morning",
        "-o",
        "out.wav",
        "--new-times",
        "out.json",
    )
    assert code == 0, said
    assert "out.wav: " in said
    before, _ = soundfile.read(tmp_path / "in.wav", dtype="int16")
    after, rate = soundfile.read(tmp_path / "out.wav", dtype="int16")
    assert rate == 800
    words = {word["word"]: word for word in json.loads((tmp_path / "in.json").read_text())["words"]}
    first, last = (round(words["tuesday"][edge] * rate) for edge in ("start", "end"))
    first, last = first - 100, last + 100
    np.testing.assert_array_equal(after[:first], before[:first])
    np.testing.assert_array_equal(after[last - len(before) :], before[last - len(before) :])
    assert len(after) > len(before)
    again = (
        "edit",
        bundle,
        "out.wav",
        "-o",
        "again.wav",
        "--retake",
        "Saturday morning",
        "--seed",
        4,
        "--times",
    )
    assert call(*again, "out.json")[0] == 0  # one edit follows another
    assert len(soundfile.read(tmp_path / "again.wav")[0]) == len(after)
    assert "in.json is of speech of" in call(*again, "in.json")[1]


def test_times_may_come_from_elsewhere(bundle, call, tmp_path):
    """A recording, and what an aligner wrote of it: capitals, marks, and no phones."""
    voice = Voice.load(bundle, threads=1, provider="cpu")
    speech = voice.speak_timed(TEXT)
    soundfile.write(tmp_path / "in.wav", speech.audio, 800, "FLOAT")
    words = [{"word": f" {w.word.title()},", "start": w.start, "end": w.end} for w in speech.words]
    (tmp_path / "in.json").write_text(json.dumps({"words": words}))
    fill = f"{speech.words[0].start},{speech.words[1].end}=They may"
    common = ("edit", bundle, "in.wav", "--times", "in.json", "-o", "out.wav")
    code, said = call(*common, "--fill", fill, "--retake", "sunny Tuesday", "--seed", 4)
    assert code == 0, said
    assert len(soundfile.read(tmp_path / "out.wav")[0]) == len(speech.audio)


@pytest.mark.parametrize(
    ("times", "arguments", "code", "message"),
    [
        ("{}", ["--replace", "a=b"], 1, "in.json has no times of words (it has no list 'words')"),
        ('{"words": [{"word": "a", "start": 2, "end": 1}]}', ["--retake", "a"], 1, "'a' is from 2 to 1 s"),
        (
            '{"words": [{"word": "a", "start": 1, "end": 1' + 400 * "0" + "}]}",
            ["--retake", "a"],
            1,
            "no times",
        ),
        ('{"words": [{"word": "a", "start": 1}]}', ["--retake", "a"], 1, "word 1 is {'word': 'a', 'start'"),
        ('{"words": [{"word": 4, "start": 1, "end": 1}]}', ["--retake", "a"], 1, "word 1 is {'word': 4,"),
        ('{"words": [{"word": "...", "start": 0, "end": 1}]}', ["--retake", "a"], 1, "does not have the"),
        (
            '{"words": [{"word": "a", "start": 1, "end": 9}]}',
            ["--retake", "a"],
            1,
            "but the speech at 2.00 s",
        ),
        ('{"words": [], "duration": 3}', ["--retake", "a"], 1, "of speech of 3.00 s, but this has 2.00 s"),
        ('{"words": []}', ["--replace", "a=b"], 1, "does not have the words 'a'"),
        ('{"words": []}', ["--replace", "a"], 2, "--replace is 'a', expected such as 'Tuesday=Thursday'"),
        ('{"words": []}', ["--fill", "1=b"], 2, "--fill has '1', expected two times"),
        ('{"words": []}', [], 2, "nothing is to be edited"),
    ],
)
def test_mistakes_are_named(bundle, call, tmp_path, times, arguments, code, message):
    soundfile.write(tmp_path / "in.wav", np.zeros(1600), 800)
    (tmp_path / "in.json").write_text(times)
    found, said = call("edit", bundle, "in.wav", "--times", "in.json", "-o", "out.wav", *arguments)
    assert found == code
    assert message in said.replace("\n", " ")
    assert not (tmp_path / "out.wav").exists()


def test_channels_are_mixed_and_that_is_said(bundle, call, tmp_path, caplog):
    audio = Voice.load(bundle, threads=1, provider="cpu").speak_timed(TEXT).audio
    soundfile.write(tmp_path / "in.wav", np.stack([audio, 0 * audio], axis=1), 800, "FLOAT")
    (tmp_path / "in.json").write_text('{"words": []}')
    code, said = call("edit", bundle, "in.wav", "--times", "in.json", "-o", "out.wav", "--fill", "2,3=on")
    assert code == 0, said
    assert "in.wav has 2 channels; the result has their mean" in caplog.text
    np.testing.assert_allclose(soundfile.read(tmp_path / "out.wav")[0][:1000], audio[:1000] / 2, atol=1e-4)


def test_a_file_of_another_rate_is_refused(bundle, call, tmp_path):
    soundfile.write(tmp_path / "in.wav", np.zeros(1600), 1600)
    (tmp_path / "in.json").write_text('{"words": []}')
    code, said = call("edit", bundle, "in.wav", "--times", "in.json", "-o", "out.wav", "--retake", "a")
    assert code == 1
    assert "in.wav has 1600 samples a second, expected 800" in said
