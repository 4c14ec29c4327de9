"""Players: what they are given arrives, is waited for, is stopped, and a failing one says why."""

from __future__ import annotations

import shutil
import sys
import threading
import types

import numpy as np
import pytest
import soundfile

from soundstorm_runtime.audio.playback import open_player, playing
from soundstorm_runtime.audio.writers import to_integers
from soundstorm_runtime.errors import AudioError

RATE = 8000
NOISE = np.random.default_rng(0).uniform(-1, 1, 5000).astype(np.float32)

ALSA_FILE = """</usr/share/alsa/alsa.conf>
pcm.!default {{ type file slave.pcm null file "{file}" format raw }}
"""


@pytest.fixture
def programs(monkeypatch, tmp_path):
    """Replace the players of this machine by shell scripts; give a function that makes one."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setattr(shutil, "which", lambda name: name if (folder / name).exists() else None)
    monkeypatch.setitem(sys.modules, "sounddevice", None)  # importing it fails

    def make(name, script):
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)

    return make


class Stream:
    """A stand-in for `sounddevice.RawOutputStream`: its thread asks for 300 samples at a time."""

    def __init__(self, rate, *, channels, dtype, callback, finished_callback):
        assert (rate, channels, dtype) == (RATE, 1, "int16")
        self.callback, self.finished = callback, finished_callback
        self.heard, self.stopped, self.closed = bytearray(), False, False
        self.thread = threading.Thread(target=self.run)
        Stream.last = self

    def start(self):
        self.thread.start()

    def run(self):
        out, going = bytearray(600), True
        while going and not self.stopped:
            try:
                self.callback(memoryview(out), 300, None, None)
            except StopIteration:
                going = False
            self.heard += out
        self.finished()

    def abort(self):
        self.stopped = True

    def close(self):
        self.closed = True
        self.thread.join()


@pytest.fixture
def portaudio(monkeypatch):
    module = types.ModuleType("sounddevice")
    module.RawOutputStream, module.CallbackStop, module.PortAudioError = Stream, StopIteration, RuntimeError
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    return module


def test_portaudio_plays_all_of_it_and_silence_while_there_is_none(portaudio):
    with playing(open_player(RATE)) as write:
        write(NOISE[:2000])
        write(NOISE[2000:])
    heard = np.frombuffer(bytes(Stream.last.heard), np.int16)
    assert Stream.last.closed
    sounds = np.flatnonzero(heard)
    np.testing.assert_array_equal(heard[heard != 0], to_integers(NOISE)[to_integers(NOISE) != 0])
    assert len(heard) - sounds[-1] <= 301  # silence before, between and after is all that is added


def test_portaudio_stops_at_once(portaudio):
    def interrupted():
        with playing(open_player(RATE)) as write:
            write(np.ones(1_000_000, np.float32))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert Stream.last.stopped
    assert Stream.last.closed


def test_without_a_device_all_that_was_tried_is_named(portaudio, programs, monkeypatch):
    def no_device(*arguments, **options):
        raise portaudio.PortAudioError("Error querying device -1")

    monkeypatch.setitem(sys.modules, "sounddevice", portaudio)
    monkeypatch.setattr(portaudio, "RawOutputStream", no_device)
    programs("paplay", "echo 'Connection failure: Connection refused' >&2; exit 1")
    message = (
        r"no sound device was found \(sounddevice: Error querying device -1; paplay: Connection failure: "
        r"Connection refused; aplay: not installed; afplay: not installed\)"
    )
    with pytest.raises(AudioError, match=message):
        open_player(RATE)


def test_a_program_gets_the_samples_and_is_waited_for(programs, tmp_path):
    programs("aplay", f'cat > "{tmp_path}/samples"; echo "$@" > "{tmp_path}/options"')
    with playing(open_player(RATE)) as write:
        write(NOISE[:2000])
        write(NOISE[2000:])
    assert (tmp_path / "samples").read_bytes() == to_integers(NOISE).tobytes()
    assert (tmp_path / "options").read_text() == "-q -t raw -f S16_LE -c 1 -r 8000 --buffer-time=200000\n"


@pytest.mark.skipif(shutil.which("aplay") is None, reason="aplay is absent: apt-get install alsa-utils")
def test_the_real_aplay_plays_on_an_alsa_device(monkeypatch, tmp_path):
    config = tmp_path / "asound.conf"
    config.write_text(ALSA_FILE.format(file=tmp_path / "samples"))
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(config))
    monkeypatch.setenv("PULSE_SERVER", "unix:/none")
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with playing(open_player(RATE)) as write:
        write(NOISE)
    heard = np.frombuffer((tmp_path / "samples").read_bytes(), "<i2")
    np.testing.assert_array_equal(heard[: len(NOISE)], to_integers(NOISE))
    assert not heard[len(NOISE) :].any()  # the rest of a period
    config.write_text("</usr/share/alsa/alsa.conf>\npcm.!default { type hw card 9 }\n")
    with pytest.raises(AudioError, match=r"aplay: .*audio open error: No such"):
        open_player(RATE)


def test_a_device_that_fails_says_why(programs):
    programs(
        "aplay",
        "head -c 1000 >/dev/null; test -t 0 || [ ! -p /dev/stdin ] || { echo unplugged >&2; exit 1; }",
    )

    def play():
        with playing(open_player(RATE)) as write:
            for _ in range(100):
                write(NOISE)

    with pytest.raises(
        AudioError, match=r"the sound device failed \(aplay: unplugged\); write a file with -o"
    ):
        play()


def test_afplay_gets_a_file(programs, tmp_path):
    programs("afplay", f'cp "$1" "{tmp_path}/speech.wav"')
    with playing(open_player(RATE)) as write:
        write(NOISE[:2000])
        write(NOISE[2000:])
    audio, rate = soundfile.read(tmp_path / "speech.wav", dtype="int16")
    assert rate == RATE
    np.testing.assert_array_equal(audio, to_integers(NOISE))
