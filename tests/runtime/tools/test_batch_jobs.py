"""Many lines to files: strict reading, whole files, going on where it was stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import click.testing
import numpy as np
import pytest
import soundfile

from benchmarks.server_soak import children
from soundstorm_runtime import Voice
from soundstorm_runtime.cli import main_group
from soundstorm_runtime.errors import SoundStormError, TextError
from soundstorm_runtime.tools import batch_jobs as batch
from soundstorm_runtime.tools.batch_jobs import Line, read_lines

LINES = [
    {"id": "one", "text": "Good morning."},
    {"id": "two", "text": "This is longer. It has two sentences.", "seed": 5},
    {"id": "three.b", "text": "Yes.", "voice": "rms"},
]


def write(path, lines):
    path.write_text("\n".join(json.dumps(line) for line in lines) + "\n")
    return path


def call(*arguments):
    return click.testing.CliRunner().invoke(main_group, ["batch", *map(str, arguments)])


@pytest.fixture
def voice(make_bundle):
    return make_bundle(voices={"slt": 6, "rms": 9})


@pytest.mark.parametrize("workers", [1, 2])
def test_every_line_becomes_a_file(voice, tmp_path, workers):
    lines = write(tmp_path / "lines.jsonl", LINES)
    out = tmp_path / "out"
    found = call(voice, lines, "-o", out, "--seed", 1, "--workers", workers, "--threads", 1)
    assert found.exit_code == 0, found.output
    assert sorted(os.listdir(out)) == ["one.wav", "three.b.wav", "two.wav"]
    loaded = Voice.load(voice, threads=1)
    for line in LINES:
        audio, rate = soundfile.read(out / f"{line['id']}.wav", dtype="float32")
        expected = loaded.speak(line["text"], voice=line.get("voice"), seed=line.get("seed", 1))
        np.testing.assert_allclose(audio, expected, atol=1e-4)
        assert rate == 800
    assert "3 files, " in found.output
    assert "0 existed already" in found.output


def test_files_that_are_there_stay(voice, tmp_path):
    lines = write(tmp_path / "lines.jsonl", LINES)
    out = tmp_path / "out"
    out.mkdir()
    (out / "one.wav").write_bytes(b"kept")
    found = call(voice, lines, "-o", out)
    assert found.exit_code == 0, found.output
    assert (out / "one.wav").read_bytes() == b"kept"
    assert "2 files" in found.output
    assert "1 existed already" in found.output
    assert "0 files" in call(voice, lines, "-o", out).output


def test_a_line_that_cannot_be_spoken_does_not_stop_the_others(voice, tmp_path):
    lines = write(tmp_path / "lines.jsonl", [*LINES, {"id": "dots", "text": "..."}])
    found = call(voice, lines, "-o", tmp_path / "out")
    assert isinstance(found.exception, SoundStormError)
    assert "dots: text '...' has no speakable character" in found.output
    assert str(found.exception) == "1 of 4 lines could not be spoken; the reasons are above"
    assert len(os.listdir(tmp_path / "out")) == 3


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", r"lines\.jsonl:2: .*; correct the line"),
        ("[1]", r"lines\.jsonl:2: the line is \[1\], expected an object with keys"),
        ('{"id": "b"}', "lacks the key 'text'; expected keys: id, text, voice, seed"),
        ('{"id": "b", "text": "x", "speed": 2}', "unknown key 'speed'; valid keys: id, text, voice, seed"),
        ('{"id": 1, "text": "x"}', "the line.id is 1, expected a text"),
        ('{"id": "../b", "text": "x"}', r"id is '\.\./b', expected up to 200 letters.*it names the file"),
        ('{"id": ".b", "text": "x"}', "a letter or digit first"),
        ('{"id": "b", "text": "x", "seed": -1}', "seed is -1, expected 0 or more"),
        ('{"id": "a", "text": "x"}', "id 'a' is that of line 1; give another"),
    ],
)
def test_a_line_that_is_none_is_named(row, message):
    with pytest.raises(TextError, match=message):
        read_lines(f'{{"id": "a", "text": "Yes."}}\n{row}\n', "lines.jsonl")


def test_empty_lines_are_skipped():
    assert read_lines('\n{"id": "a", "text": "Yes."}\n  \n', "x") == [Line("a", "Yes.")]


@pytest.mark.parametrize("end", ["\u2028", "\u2029", "\x85"])
def test_only_a_new_line_ends_a_line(end):
    line = Line("a", f"Yes.{end}No.")
    written = json.dumps({"id": line.id, "text": line.text}, ensure_ascii=False)
    assert read_lines(f"{written}\r\n", "x") == [line]


def test_a_voice_that_is_not_there_is_refused_before_the_work(voice, tmp_path):
    lines = write(tmp_path / "lines.jsonl", [*LINES, {"id": "x", "text": "Yes.", "voice": "awb"}])
    found = call(voice, lines, "-o", tmp_path / "out")
    assert str(found.exception).startswith(
        "the line 'x' asks for voice 'awb', but the bundle has the voices slt, rms"
    )
    assert not (tmp_path / "out").exists()


def test_an_error_of_a_worker_reaches_the_caller(voice, tmp_path):
    lines = write(tmp_path / "lines.jsonl", LINES)
    found = call(voice, lines, "-o", tmp_path / "out", "--workers", 2, "--precision", "int8")
    assert "precision 'int8' was asked for, but the bundle has fp32" in str(found.exception)


def test_ctrl_c_leaves_whole_files_and_the_rest_is_done_later(voice, tmp_path):
    text = "This sentence is spoken again and again, and again. " * 20
    lines = write(tmp_path / "lines.jsonl", [{"id": str(i), "text": text} for i in range(200)])
    out = tmp_path / "out"
    command = [
        sys.executable,
        "-m",
        "soundstorm_runtime.cli",
        "batch",
        str(voice),
        str(lines),
        "-o",
        str(out),
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 120
        while not list(out.glob("*.wav")) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        errors = process.stderr.read().decode()
        assert process.wait(120) == 130, errors
    assert "Traceback" not in errors
    files = list(out.glob("*"))
    assert 0 < len(files) < 200
    for file in files:
        assert file.suffix == ".wav"
        assert soundfile.info(file).frames > 800


def test_ctrl_c_while_the_processes_start_is_heard_by_the_first_alone(voice, tmp_path, environment):
    """As a terminal sends it: to all of them, which have begun to import."""
    lines = write(tmp_path / "lines.jsonl", [{"id": str(i), "text": "Yes. No. " * 20} for i in range(1000)])
    command = [sys.executable, "-m", "soundstorm_runtime.cli", "batch", voice, lines, "-o", tmp_path / "out"]
    with subprocess.Popen(
        [*map(str, command), "--workers", "2"],
        env=environment,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        deadline = time.monotonic() + 120
        while not children(process.pid) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.1)  # until they import
        os.killpg(process.pid, signal.SIGINT)
        errors = process.stderr.read().decode()
        assert process.wait(120) == 130, errors
    assert errors.split() == ["interrupted"]
    assert len(os.listdir(tmp_path / "out")) < 1000


def test_a_process_that_is_killed_ends_the_command_with_one_line(voice, tmp_path, environment):
    lines = write(tmp_path / "lines.jsonl", [{"id": str(i), "text": "Yes. No. " * 20} for i in range(1000)])
    command = [sys.executable, "-m", "soundstorm_runtime.cli", "batch", voice, lines, "-o", tmp_path / "out"]
    with subprocess.Popen(
        [*map(str, command), "--workers", "2"], env=environment, stderr=subprocess.PIPE
    ) as process:
        deadline = time.monotonic() + 120
        while len(workers := children(process.pid)) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(workers[0], signal.SIGKILL)
        errors = process.stderr.read().decode()
        assert process.wait(120) == 1, errors
    assert errors.startswith("error: a worker process was ended")
    assert len(errors.splitlines()) == 1


def test_the_voice_is_loaded_once_in_a_process(voice, tmp_path, monkeypatch):
    batch.load_voice.cache_clear()
    loads = []
    load = Voice.load
    monkeypatch.setattr(batch.Voice, "load", lambda *a, **o: loads.append(a) or load(*a, **o))
    monkeypatch.setattr(batch, "CHUNK", 1)
    call(voice, write(tmp_path / "lines.jsonl", LINES), "-o", tmp_path / "out")
    assert len(loads) == 1
