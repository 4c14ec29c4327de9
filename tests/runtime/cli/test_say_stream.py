"""`soundstorm say --stream`: sound on standard output as it is made."""

from __future__ import annotations

import json
import subprocess
import sys
import wave

import numpy as np
import pytest

from soundstorm_runtime import Voice

COMMAND = [sys.executable, "-m", "soundstorm_runtime.cli", "say"]
TEXT = "This is the first sentence. And this is the second one, which is a little longer."


@pytest.fixture
def bundle(make_bundle):
    folder = make_bundle("autoregressive")
    file = folder / "bundle.json"
    data = json.loads(file.read_text())
    del data["digest"]
    data["audio"] |= {"context": 0, "lookahead": 0}
    file.write_text(json.dumps(data))
    return folder


def say(*arguments):
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, check=False)


def samples(data):
    return np.frombuffer(data, "<i2") / 32767


def test_bare_samples_and_a_wav_are_the_stream(bundle, tmp_path):
    raw = say(bundle, TEXT, "--stream", "--raw")
    assert raw.returncode == 0, raw.stderr
    length = len(Voice.load(bundle).speak(TEXT))
    assert len(raw.stdout) == 2 * length
    assert samples(raw.stdout).std() > 0.01
    last = raw.stderr.decode().splitlines()[-1]
    assert last.startswith("standard output: ")
    assert " RTF " in last
    assert " first audio after " in last
    wav = tmp_path / "x.wav"
    assert say(bundle, TEXT, "--stream", "-o", wav).returncode == 0
    with wave.open(str(wav)) as file:
        assert (file.getnframes(), file.getframerate(), file.getsampwidth()) == (length, 800, 2)
    header = say(bundle, TEXT, "--stream").stdout[:44]
    assert header[:4] == b"RIFF"


def test_bare_samples_need_no_stream(bundle):
    found = say(bundle, TEXT, "--raw")
    expected = Voice.load(bundle).speak(TEXT)
    np.testing.assert_allclose(samples(found.stdout), expected, atol=1e-4)


def test_a_reader_that_leaves_ends_the_stream_quietly(bundle):
    process = subprocess.Popen(
        [*COMMAND, str(bundle), TEXT * 200, "--stream", "--raw"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert len(process.stdout.read(100)) == 100
    process.stdout.close()
    assert process.wait(120) == 1
    assert b"Traceback" not in process.stderr.read()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--stream", "--duration", "2"), "both --stream and --duration were given"),
        (("--raw", "-o", "x.wav"), "--raw writes to standard output, but -o x.wav was given"),
    ],
)
def test_options_that_contradict_each_other_are_refused(bundle, arguments, message):
    found = say(bundle, TEXT, *arguments)
    assert found.returncode == 2
    assert message in found.stderr.decode()


def test_the_pause_between_sentences_can_be_set(bundle):
    short, long = (len(say(bundle, TEXT, "--raw", "--pause", seconds).stdout) // 2 for seconds in (0, 1))
    assert long - short == 800
    assert b"pause is -1 s, expected 0 to 60" in say(bundle, TEXT, "--pause", -1).stderr


def test_the_pause_between_paragraphs_can_be_set(bundle):
    pauses = ("--raw", "--sentence-pause", 0, "--paragraph-pause")
    short, long = (len(say(bundle, "One.\n\nTwo.", *pauses, seconds).stdout) // 2 for seconds in (0, 1))
    rate = Voice.load(bundle).sample_rate
    assert long - short == rate
