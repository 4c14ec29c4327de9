"""Speech as it is recorded outside a studio: noise, rooms, telephone bands, levels.

Prompts come from such recordings. SoundStorm learns to take the voice from them and to leave the rest.
"""

from __future__ import annotations

import zlib

import numpy as np

NOISE = (5.0, 30.0)  # decibels of the speech above the noise
LEVELS = (-18.0, 6.0)  # decibels
REVERBERATION = (0.15, 0.6)  # seconds in which a room's echo falls by 60 dB
ECHO = (0.1, 0.6)  # amplitude of the echo beside the direct sound
BANDS = ((300.0, 3400.0), (80.0, 7000.0), (200.0, 5000.0))  # hertz: telephone, wide-band telephone, a laptop
CEILING = 0.99


def degrade(audio: np.ndarray, rate: int) -> np.ndarray:
    """Record speech float32 `[samples]` again, somewhere else; the same audio always in the same way.

    Each of room, noise, band and level is drawn by itself, in the order in which they befall a recording.
    """
    rng = np.random.default_rng(zlib.crc32(audio.tobytes()))
    speech = audio.astype(np.float64)
    if rng.random() < 0.4:
        speech = in_a_room(speech, rate, rng)
    if rng.random() < 0.8:
        speech = with_noise(speech, rng.uniform(*NOISE), rng)
    if rng.random() < 0.4:
        speech = band_passed(speech, rate, *BANDS[int(rng.integers(len(BANDS)))])
    speech = speech * 10 ** (rng.uniform(*LEVELS) / 20)
    return (speech * min(1.0, CEILING / max(1e-9, float(np.abs(speech).max())))).astype(np.float32)


def with_noise(speech: np.ndarray, decibels: float, rng: np.random.Generator) -> np.ndarray:
    """Add noise `decibels` below the speech, of any colour between white and brown."""
    frequencies = np.arange(1, len(speech) // 2 + 2)
    spectrum = np.fft.rfft(rng.standard_normal(len(speech)))
    noise = np.fft.irfft(spectrum * frequencies ** -rng.uniform(0, 1), n=len(speech))
    wanted = np.sqrt((speech**2).mean()) * 10 ** (-decibels / 20)
    return speech + noise * wanted / max(1e-12, np.sqrt((noise**2).mean()))


def in_a_room(speech: np.ndarray, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Add an echo: noise that decays exponentially, after a few milliseconds."""
    seconds = rng.uniform(*REVERBERATION)
    time = np.arange(int(seconds * rate)) / rate
    echo = rng.standard_normal(len(time)) * 10 ** (-3 * time / seconds)
    echo[: int(rng.uniform(0.002, 0.01) * rate)] = 0
    echo *= rng.uniform(*ECHO) / np.sqrt((echo**2).sum())
    size = len(speech) + len(echo)
    wet = np.fft.irfft(np.fft.rfft(speech, size) * np.fft.rfft(echo, size), n=size)
    return speech + wet[: len(speech)]


def band_passed(speech: np.ndarray, rate: int, low: float, high: float) -> np.ndarray:
    """Keep the frequencies from `low` to `high` in hertz; an octave beyond them, 24 dB are lost."""
    frequencies = np.fft.rfftfreq(len(speech), 1 / rate)
    gain = (
        1 / np.sqrt(1 + (low / np.maximum(frequencies, 1e-3)) ** 8) / np.sqrt(1 + (frequencies / high) ** 8)
    )
    return np.fft.irfft(np.fft.rfft(speech) * gain, n=len(speech))
