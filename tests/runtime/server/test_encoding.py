"""Formats: what is sent in pieces can be read as a whole."""

from __future__ import annotations

import io
import shutil
import subprocess
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.io import wavfile

from soundstorm_runtime.server.encoding import MEDIA_TYPES, PCM_RATE, encode

RATE = 16_000
WAVE = (0.4 * np.sin(2 * np.pi * 440 * np.arange(3 * RATE) / RATE)).astype(np.float32)
CHUNKS = [WAVE[start : start + 3000] for start in range(0, len(WAVE), 3000)]


def loudest_frequency(audio: np.ndarray, rate: int) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(audio)))) * rate / len(audio)


@pytest.mark.parametrize("name", ["mp3", "opus"])
@pytest.mark.parametrize("rate", [RATE, 800, 22_050])
def test_lossy_formats_keep_length_and_pitch(name, rate):
    pieces = list(encode(CHUNKS, name, rate))
    assert len(pieces) > 2
    audio, found = soundfile.read(io.BytesIO(b"".join(pieces)))
    assert found >= rate
    assert len(audio) / found == pytest.approx(len(WAVE) / rate, abs=0.2 * max(1, RATE / rate))
    middle = audio[len(audio) // 4 : -len(audio) // 4]
    assert loudest_frequency(middle, found) == pytest.approx(440 * rate / RATE, rel=0.01)


def test_flac_keeps_every_sample():
    pieces = list(encode(CHUNKS, "flac", RATE))
    data = bytearray(b"".join(pieces))
    assert int.from_bytes(data[21:26], "big") & 0xFFFFFFFFF == 0  # the length, unknown when it was sent
    data[21] &= 0xF0  # soundfile cannot read a length that is unknown; players can
    data[22:26] = len(WAVE).to_bytes(4, "big")
    audio, rate = soundfile.read(io.BytesIO(bytes(data)))
    assert rate == RATE
    np.testing.assert_allclose(audio, WAVE, atol=1e-4)


def test_wav_keeps_every_sample_behind_a_header():
    data = b"".join(encode(CHUNKS, "wav", RATE))
    assert data[:4] == b"RIFF"
    assert int.from_bytes(data[24:28], "little") == RATE
    np.testing.assert_allclose(np.frombuffer(data[44:], "<i2") / 32767, WAVE, atol=1e-4)


@pytest.mark.parametrize("rate", [RATE, 44_100, PCM_RATE])
def test_pcm_is_always_at_24_khz(rate):
    heard = np.frombuffer(b"".join(encode(CHUNKS, "pcm", rate)), "<i2")
    assert len(heard) == pytest.approx(len(WAVE) * PCM_RATE / rate, abs=2)
    middle = heard[len(heard) // 4 : -len(heard) // 4]
    assert loudest_frequency(middle, PCM_RATE) == pytest.approx(440 * rate / RATE, rel=0.01)


@pytest.mark.parametrize("name", MEDIA_TYPES)
def test_audio_is_sent_while_it_is_made(name):
    """Of a long text something is there long before its end; Opus waits for a page of about a second."""
    made = 0

    def chunks():
        nonlocal made
        for _ in range(10):
            made += 1
            yield WAVE

    next(encode(chunks(), name, RATE))
    next(pieces := encode(chunks(), name, RATE))
    next(pieces)
    assert made <= 5


@pytest.mark.parametrize("name", MEDIA_TYPES)
def test_loud_samples_do_not_wrap(name):
    data = b"".join(encode([np.full(RATE, 1.5, np.float32)], name, RATE))
    if name in ("wav", "pcm"):
        assert np.frombuffer(data[44:], "<i2").min() > 0 or name == "pcm"
        assert np.frombuffer(data[1000:2000], "<i2").min() > 30_000
    else:
        assert len(data) > 100


def _by_command(*command: str) -> Callable[[Path], int]:
    """Count the samples that a program decodes to standard output."""

    def count(path: Path) -> int:
        if shutil.which(command[0]) is None:
            pytest.skip(f"{command[0]} is absent")
        arguments = [part.format(path) for part in command]
        return len(subprocess.run(arguments, capture_output=True, check=True).stdout) // 2

    return count


def _by_wave(path: Path) -> int:
    with wave.open(str(path)) as file:
        return len(file.readframes(file.getnframes())) // 2


READERS: dict[str, Callable[[Path], int]] = {
    "soundfile": lambda path: len(soundfile.read(path)[0]),
    "wave": _by_wave,
    "scipy": lambda path: len(wavfile.read(path)[1]),
    "ffmpeg": _by_command("ffmpeg", "-v", "error", "-i", "{}", "-f", "s16le", "-"),
    "sox": _by_command("sox", "{}", "-t", "raw", "-b", "16", "-"),
}


@pytest.mark.parametrize(
    ("name", "whole", "reader"),
    [
        *(("wav", False, reader) for reader in READERS),
        *(("wav", True, reader) for reader in READERS),
        *(("flac", False, reader) for reader in ("ffmpeg", "sox")),
        *(("flac", True, reader) for reader in ("soundfile", "ffmpeg", "sox")),
        *(("mp3", True, reader) for reader in ("soundfile", "ffmpeg")),  # which read the declared padding
    ],
)
@pytest.mark.filterwarnings("ignore:Reached EOF prematurely")  # of scipy, which returns what there is
def test_readers_get_every_sample(tmp_path, name, whole, reader):
    path = tmp_path / f"speech.{name}"
    path.write_bytes(b"".join(encode(CHUNKS, name, RATE, whole=whole)))
    assert READERS[reader](path) == len(WAVE)
