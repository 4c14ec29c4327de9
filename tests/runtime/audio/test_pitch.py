"""The pitch of speech, in noise and through a telephone, and when it is worth a warning."""

import numpy as np
import pytest

from soundstorm_runtime.audio.pitch import median_pitch, pitch_warning

RATE = 16_000


def buzz(hertz: float, seconds: float = 1.0) -> np.ndarray:
    """All harmonics up to 4 kHz, falling as those of a voice, with vibrato."""
    time = np.arange(int(seconds * RATE)) / RATE
    phase = 2 * np.pi * hertz * time + 0.5 * np.sin(2 * np.pi * 5 * time)
    harmonics = range(1, int(4000 / hertz))
    return (0.1 * sum(np.sin(n * phase) / n for n in harmonics)).astype(np.float32)


def telephone(audio: np.ndarray) -> np.ndarray:
    spectrum = np.fft.rfft(audio)
    frequencies = np.fft.rfftfreq(len(audio), 1 / RATE)
    spectrum[(frequencies < 300) | (frequencies > 3400)] = 0
    return np.fft.irfft(spectrum, len(audio)).astype(np.float32)


@pytest.mark.parametrize("hertz", [85.0, 120.0, 210.0, 300.0])
def test_pitch_is_found_in_noise_and_on_the_telephone(hertz: float) -> None:
    audio = buzz(hertz)
    noise = np.random.default_rng(0).normal(0, 1, len(audio)).astype(np.float32)
    noisy = audio + noise * np.float32(np.sqrt((audio**2).mean()) * 10 ** (-15 / 20))
    for each in (audio, noisy, telephone(audio), np.pad(audio, (8000, 8000))):
        found = median_pitch(each, RATE)
        assert found is not None
        assert abs(12 * np.log2(found / hertz)) < 0.5


def test_nothing_is_voiced_in_noise_silence_or_too_little() -> None:
    assert median_pitch(np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32), RATE) is None
    assert median_pitch(np.zeros(RATE, np.float32), RATE) is None
    assert median_pitch(buzz(120.0, 0.02), RATE) is None


def test_a_warning_names_both_pitches() -> None:
    assert pitch_warning(210.0, 105.0) == (
        "the voice speaks at 105 Hz, 12 semitones below the recording (210 Hz); record again in a quiet "
        "room, close to the microphone"
    )
    assert "above" in (pitch_warning(100.0, 130.0) or "")
    assert pitch_warning(100.0, 108.0) is None
    assert pitch_warning(None, 100.0) is None
