"""Recordings made ready for a prompt: what is refused, what is cut, how loud the rest becomes."""

from __future__ import annotations

import logging
import os

import numpy as np
import pytest
import soundfile

from soundstorm_runtime.audio import recording
from soundstorm_runtime.audio.recording import prepare, read_recording, recording_of, speech_level
from soundstorm_runtime.errors import AudioError, OptionError

RATE = 8000


def speech(seconds: float, rate: int = RATE, level: float = 0.1) -> np.ndarray:
    """Noise in syllables, five a second."""
    time = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(len(time)).normal(size=len(time))
    return level * noise * (0.3 + 0.7 * np.abs(np.sin(5 * np.pi * time)))


def silence(seconds: float, rate: int = RATE) -> np.ndarray:
    return 1e-5 * np.random.default_rng(0).normal(size=round(seconds * rate))


def dither(seconds: float, bits: int) -> np.ndarray:
    """Silence as it is written with so many bits: the last of them is at random."""
    triangular = np.random.default_rng(0).triangular(-1, 0, 1, size=round(seconds * RATE))
    return np.rint(triangular) / 2 ** (bits - 1)


def prepared(*parts: np.ndarray, rate: int = RATE, level: float = -20.0) -> np.ndarray:
    return prepare(recording_of(np.concatenate(parts), rate), RATE, level)


def test_silence_goes_and_the_level_is_that_of_the_voice():
    for gain in (0.08, 2):
        audio = prepared(silence(1.3), gain * speech(2.5), silence(0.8), level=-23.0)
        assert audio.dtype == np.float32
        assert len(audio) / RATE == pytest.approx(2.7, abs=0.08)  # a tenth of a second of silence at each end
        assert speech_level(audio, RATE) == pytest.approx(-23.0, abs=0.2)
        assert np.abs(audio[: RATE // 20]).max() < 0.01


def test_digital_silence_is_silence():
    assert len(prepared(np.zeros(RATE), speech(2.0), np.zeros(RATE))) / RATE == pytest.approx(2.2, abs=0.05)


def test_a_loud_level_does_not_clip():
    audio = prepared(speech(2.0), level=0.0)
    assert np.abs(audio).max() == pytest.approx(1.0)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 44100, 48000])
def test_any_rate_becomes_that_of_the_voice(rate):
    assert len(prepared(speech(2.0, rate), rate=rate)) / RATE == pytest.approx(2.0, abs=0.05)


def test_channels_are_mixed():
    left = speech(2.0)
    both = prepare(recording_of(np.stack([left, 0.5 * left], axis=1), RATE), RATE, -20.0)
    np.testing.assert_allclose(both, prepared(left), atol=1e-6)


@pytest.mark.parametrize("offset", [0.05, 0.3])
def test_a_constant_offset_goes(offset):
    parts = silence(0.5), 0.1 * speech(2.0), silence(0.5)
    audio = prepare(recording_of(np.concatenate(parts) + offset, RATE), RATE, -20.0)
    np.testing.assert_allclose(audio, prepared(*parts), atol=1e-3)


def test_channels_that_cancel_are_named():
    both = np.stack([speech(2.0), -speech(2.0)], axis=1)
    with pytest.raises(AudioError, match="channels of the audio have opposite phase and cancel"):
        prepare(recording_of(both, RATE), RATE, -20.0)


def test_of_much_the_stretch_with_the_most_speech_is_taken_from_pause_to_pause(caplog):
    caplog.set_level(logging.INFO, "soundstorm_runtime")
    long = [speech(2.0), silence(0.5), speech(2.1), silence(0.2), speech(2.2), silence(2.0), speech(1.0)]
    audio = prepared(silence(1.0), *long)
    assert len(audio) / RATE == pytest.approx(2.1 + 0.2 + 2.2 + 0.2, abs=0.1)
    assert "the audio: using 4.7 s from 3.4 s on, of 11.0 s" in caplog.text


def test_speech_without_a_pause_is_cut_within():
    assert len(prepared(speech(9.0))) / RATE == pytest.approx(recording.LONGEST, abs=0.2)


def test_of_a_very_long_recording_the_beginning_is_looked_at(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "soundstorm_runtime")
    monkeypatch.setattr(recording, "LOOKED_AT", 2.0)
    soundfile.write(tmp_path / "long.wav", speech(9.0), RATE)
    assert len(read_recording(tmp_path / "long.wav").samples) == 2 * RATE
    assert "long.wav is long; only its first 2 s are used" in caplog.text


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
def test_every_form_that_libsndfile_knows_is_read(tmp_path, name):
    soundfile.write(tmp_path / name, np.stack([speech(2.0, 16_000)] * 2, axis=1), 16_000)
    found = read_recording(tmp_path / name)
    assert found.sample_rate == 16_000
    assert found.samples.shape[1] == 2
    assert len(prepare(found, RATE, -20.0)) / RATE == pytest.approx(2.0, abs=0.2)


def test_a_flac_that_does_not_tell_its_length_is_read(tmp_path, caplog):
    soundfile.write(tmp_path / "a.flac", speech(2.0, 16_000), 16_000)
    content = bytearray((tmp_path / "a.flac").read_bytes())
    content[21] &= 0xF0  # four bits, and four bytes, of the number of samples: 0 is "unknown"
    content[22:26] = bytes(4)
    (tmp_path / "a.flac").write_bytes(content)
    caplog.set_level(logging.INFO)
    assert len(read_recording(tmp_path / "a.flac").samples) == 2 * 16_000
    assert not caplog.text


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros(0), r"the audio has 0\.00 s of speech, expected 1 s or more; give three to five"),
        (speech(0.5), r"has 0\.50 s of speech, expected 1 s or more"),
        (np.concatenate([silence(3), speech(0.6), silence(3)]), r"has 0\.6\d? s of speech, expected 1 s"),
        (np.zeros(3 * RATE), r"speech in the audio is at -120 dB of full scale, expected -50 or more"),
        (0.002 * speech(3.0), r"is at -7\d dB of full scale, expected -50 or more; record it louder"),
        (np.clip(9 * speech(3.0), -1, 1), r"is clipped: \d+\.\d% of .* at 1\.00, expected at most 0\.1%"),
        (np.clip(9 * speech(3.0), -1, 1) / 2, r"lie in flat tops at 0\.50, .*; record it with less gain"),
        (dither(3.0, bits=8), r"has no speech: its level changes by \d\.\d dB, as that of steady noise"),
        (dither(3.0, bits=16), r"is at -9\d dB of full scale, expected -50 or more"),
        (np.full(3 * RATE, np.nan), "has samples that are not finite numbers, expected -1 to 1"),
    ],
)
def test_what_makes_no_prompt_is_refused(samples, message):
    with pytest.raises(AudioError, match=message) as caught:
        prepared(samples)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("rate", [1, 3999, 768_001, 2**31 - 1])
def test_rates_that_no_speech_has_are_refused(tmp_path, rate):
    soundfile.write(tmp_path / "a.wav", speech(1.0), rate)
    with pytest.raises(AudioError, match=rf"a\.wav has {rate} samples a second, expected 4000 to 768000"):
        prepare(read_recording(tmp_path / "a.wav"), RATE, -20.0)


def test_many_channels_do_not_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(recording, "_MOST_SAMPLES", 1 << 15)
    soundfile.write(tmp_path / "a.wav", np.zeros((RATE, 32)), RATE)
    assert read_recording(tmp_path / "a.wav").samples.shape == (1024, 32)


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_is_not_waited_for(tmp_path, make):
    make(tmp_path / "a.wav")
    with pytest.raises(AudioError, match=r"cannot read .*a\.wav \(it is a (FIFO|device), expected a file\)"):
        read_recording(tmp_path / "a.wav")


def test_loud_speech_that_is_whole_is_not_taken_for_clipped():
    loud = speech(3.0)
    assert len(prepared(loud / np.abs(loud).max()))


def test_what_is_no_array_of_audio_is_refused():
    with pytest.raises(AudioError, match=r"the audio is int16 \[8000\], expected float \[samples\] or"):
        recording_of(np.zeros(8000, np.int16), RATE)
    with pytest.raises(AudioError, match=r"float64 \[1, 2, 3\], expected"):
        recording_of(np.zeros((1, 2, 3)), RATE)
    with pytest.raises(OptionError, match="sample_rate is None, expected the samples a second of the array"):
        recording_of(speech(2.0), None)


def test_what_is_no_sound_file_is_refused(tmp_path):
    (tmp_path / "letter.txt").write_text("Dear Anna,")
    with pytest.raises(
        AudioError, match=r"letter\.txt is not audio that can be read \(.+\); expected a file"
    ):
        read_recording(tmp_path / "letter.txt")
    (tmp_path / "bare.raw").write_bytes(bytes(1000))
    with pytest.raises(AudioError, match=r"bare\.raw is not audio that can be read"):
        read_recording(tmp_path / "bare.raw")
    with pytest.raises(AudioError, match=r"cannot read .*none\.wav \(No such file or directory\); check"):
        read_recording(tmp_path / "none.wav")
    with pytest.raises(AudioError, match=r"cannot read .*\(it is a folder, expected a file\)"):
        read_recording(tmp_path)
