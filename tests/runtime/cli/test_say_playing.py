"""`soundstorm say` in a terminal: it plays, stops at Ctrl-C, and without a sound device writes a file."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile

from soundstorm_runtime import Voice

TEXT = "Good morning. And good night."


@pytest.fixture
def voice(make_bundle):
    return make_bundle(codec="spectral", streams=True)


@pytest.fixture
def terminal(tmp_path):
    """Start `soundstorm say` with a terminal as its output, and a script as the only player, or none."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (tmp_path / "sounddevice.py").write_text("raise ImportError('absent')\n")
    leader, follower = pty.openpty()

    def start(*arguments, player=None, errors=subprocess.PIPE):
        if player is not None:
            (programs / "aplay").write_text(f"#!/bin/sh\n{player}\n")
            (programs / "aplay").chmod(0o755)
        paths = [str(tmp_path), os.environ.get("PYTHONPATH", "")]
        environment = os.environ | {"PATH": str(programs), "PYTHONPATH": os.pathsep.join(paths)}
        command = [sys.executable, "-m", "soundstorm_runtime.cli", "say", *map(str, arguments)]
        return subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=follower, stderr=errors or follower, text=True
        )

    start.output = leader
    yield start
    os.close(leader)
    os.close(follower)


def test_a_terminal_plays_and_shows_progress(terminal, voice, tmp_path):
    process = terminal(voice, TEXT, player=f"/bin/cat > {tmp_path}/samples", errors=None)
    code = process.wait(120)
    shown = os.read(terminal.output, 1 << 16).decode()
    assert code == 0, shown
    assert "sentences  [##" in shown
    heard = np.frombuffer((tmp_path / "samples").read_bytes(), "<i2")
    loaded = Voice.load(voice)
    assert len(heard) == len(loaded.speak(TEXT))
    assert f"played: {len(heard) / loaded.sample_rate:.2f} s of audio, first audio after " in shown
    assert list(tmp_path.glob("*.wav")) == []


def test_ctrl_c_stops_the_sound_at_once(terminal, voice, tmp_path):
    pid = tmp_path / "player"
    # The player is probed first, with no samples.
    samples = "test $(/usr/bin/head -c 1 | /usr/bin/wc -c) = 1 || exit 0"
    process = terminal(voice, TEXT * 50, player=f"{samples}; echo $$ > {pid}; exec /bin/sleep 100")
    deadline = time.monotonic() + 120
    while not pid.exists() or not pid.read_text():
        assert time.monotonic() < deadline, process.poll()
        time.sleep(0.05)
    player = int(pid.read_text())
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "interrupted"
    with pytest.raises(ProcessLookupError):
        os.kill(player, 0)


def test_without_a_sound_device_a_file_is_written_and_that_is_said(terminal, voice, tmp_path):
    process = terminal(voice, TEXT, "--quiet")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    expected = (
        "no sound device was found (sounddevice: not installed, pip install 'soundstorm-edge[play]'; "
        "paplay: not installed; aplay: not installed; afplay: not installed); writing out.wav"
    )
    assert errors.splitlines() == [expected]
    audio, _ = soundfile.read(tmp_path / "out.wav", dtype="float32")
    np.testing.assert_allclose(audio, Voice.load(voice).speak(TEXT), atol=1e-4)


def test_a_named_file_is_written_and_not_played(terminal, voice, tmp_path):
    process = terminal(voice, TEXT, "-o", "named.wav", player=f"/bin/touch {tmp_path}/played")
    assert process.wait(120) == 0
    assert (tmp_path / "named.wav").exists()
    assert not (tmp_path / "played").exists()
