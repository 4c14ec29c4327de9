"""Every example runs, with a tiny voice, and leaves sound."""

from __future__ import annotations

import re
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

EXAMPLES = Path(__file__).parents[2] / "examples"
Run = Callable[..., None]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run an example as `python examples/<name>.py ...`, in an empty folder."""

    def run(name: str, *arguments: object) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")

    return run


def seconds(path: Path) -> float:
    audio, rate = soundfile.read(path)
    assert np.abs(audio).max() > 0
    return len(audio) / rate


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("say", ["Good morning."]),
        ("stream", ["Good morning."]),
        ("edit", ["We meet on Tuesday at the old bridge.", "Tuesday", "Thursday"]),
        ("language_model", ["--token-seconds", "0.001"]),
    ],
)
def test_a_text_becomes_a_file(run, tiny_bundle, tmp_path, name, arguments, capsys):
    run(name, tiny_bundle, *arguments, "-o", "out.wav")
    assert seconds(tmp_path / "out.wav") > 0.1
    assert capsys.readouterr().out


def test_two_speakers_talk(run, tiny_bundle, tmp_path, capsys):
    run("dialogue", tiny_bundle, "-o", "out.wav")
    assert seconds(tmp_path / "out.wav") > 0.5
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_a_recording_becomes_a_voice(run, tiny_bundle, tmp_path):
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, 44100 * 3)
    syllables = np.abs(np.sin(np.arange(len(noise)) / 4000))
    soundfile.write(tmp_path / "guest.wav", noise * syllables, 44100)
    run("voice_from_recording", tiny_bundle, tmp_path / "guest.wav", "-t", "Good morning.", "-o", "out.wav")
    assert seconds(tmp_path / "out.wav") > 0.1


def test_every_line_becomes_a_file(run, tiny_bundle, tmp_path):
    (tmp_path / "texts.txt").write_text("".join(f"Number {n}.\n\n" for n in range(9)))  # more than one batch
    run("batch", tiny_bundle, tmp_path / "texts.txt", "-o", "spoken")
    files = sorted((tmp_path / "spoken").iterdir())
    assert [file.name for file in files] == [f"{n:04}.wav" for n in range(9)]
    assert all(seconds(file) > 0.1 for file in files)


def test_callers_are_answered_and_one_hangs_up(run, tiny_bundle, capsys):
    run("asyncio_app", tiny_bundle)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["ada", "ben", "cyd"]
    assert lines[2] == "cyd: hung up"


@pytest.fixture
def url(tiny_bundle: Path, environment: dict[str, str], modules: dict[str, str]) -> Iterator[str]:
    """Start `soundstorm serve`, and wait until it serves."""
    command = [sys.executable, "-m", modules["soundstorm"], "serve", str(tiny_bundle), "--port", "0"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as server:
        try:
            said = ""
            while not (found := re.search(r" on (http://\S+) ", said)):
                line = server.stderr.readline()  # type: ignore[union-attr]
                assert line, f"the server did not start: {said}"
                said += line
            yield f"{found[1]}/v1"
        finally:
            server.send_signal(signal.SIGTERM)


def test_the_server_answers_the_client(run, url, tmp_path):
    run("server_client", "--url", url, "--text", "Good morning.", "-o", tmp_path / "out.wav")
    assert seconds(tmp_path / "out.wav") > 0.1


def test_an_agent_speaks_with_times(run, url, tmp_path, capsys):
    pytest.importorskip("livekit.agents", reason="livekit-agents is absent: pip install livekit-agents")
    run("livekit_agent", "--url", url.removesuffix("/v1"), "-o", tmp_path / "out.wav")
    assert seconds(tmp_path / "out.wav") > 1
    found = re.search(r"(\d+) words, (\d+) with times", capsys.readouterr().out)
    assert found is not None
    assert found[1] == found[2]


def test_all_examples_are_run_and_listed():
    names = {path.name for path in EXAMPLES.glob("*.py")}
    tests = Path(__file__).read_text(encoding="utf-8")
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert names
    assert [name for name in names if f'"{name.removesuffix(".py")}"' not in tests] == []
    assert [name for name in names if f"]({name})" not in listed] == []
