"""Voices as filters of pulses and noise, whose spectra the inverse STFT turns into audio.

A network that predicts phases sounds rough until it has been trained long with discriminators. Here it
predicts, for each transform, how loud every bin is, how much of it is noise, and the pitch; the phases are
those of pulses at that pitch, as in neural source-filter models (arXiv 1904.12088).
"""

from __future__ import annotations

import numpy as np

HIGHEST = 0.49  # frequency of the highest harmonic, in parts of the sample rate
LEAST = 1e-8  # mean power of a spectrum that is scaled to 1


class HarmonicSource:
    """Filters pulses and noise, for a signal that comes in pieces.

    The spectra of all pieces together are those of the whole signal. The noise is the same in every signal.

    Args:
        window: Samples of the Hann window.
        hop: Samples from one transform to the next.
        sample_rate: In Hz.
    """

    def __init__(self, window: int, hop: int, sample_rate: int) -> None:
        self._window, self._hop, self._sample_rate = window, hop, sample_rate
        self._hann = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)).astype(np.float32)
        self._time = ((np.arange(window) - window / 2) / sample_rate).astype(np.float32)  # seconds
        self._noise = np.random.default_rng(0)
        self._cycles = 0.0  # of the pulses, in the middle of the last transform
        self._pitch: float | None = None  # there, in Hz

    def push(self, filters: np.ndarray) -> np.ndarray:
        """Return the spectra of the next transforms.

        Args:
            filters: float32 [transforms, 2 * bins + 2]: magnitudes, shares of noise from 0 to 1, the pitch in
                Hz, and how much of the transform is voiced, from 0 to 1.

        Returns:
            float32 [transforms, 2 * bins], real parts then imaginary ones.
        """
        bins = self._window // 2 + 1
        magnitude, noise_share = filters[:, :bins], filters[:, bins : 2 * bins]
        harmonic = filters[:, -1:] * (1 - noise_share)
        pulses, noise = self._pulses(filters[:, -2].astype(np.float64)), self._noise_of(len(filters))
        spectrum = magnitude * (harmonic * pulses + (1 - harmonic) * noise)
        return np.concatenate([spectrum.real, spectrum.imag], axis=1).astype(np.float32, copy=False)

    def _pulses(self, pitch: np.ndarray) -> np.ndarray:
        """Return spectra of pulses, complex64 [transforms, bins], of mean power 1 over the bins."""
        before = np.append(self._pitch if self._pitch is not None else pitch[:1], pitch)[:-1]
        cycles = self._cycles + np.cumsum((before + pitch) / 2) * self._hop / self._sample_rate
        if len(pitch):
            self._cycles, self._pitch = float(cycles[-1]), float(pitch[-1])
        at = np.multiply.outer(pitch.astype(np.float32), self._time)
        at += (cycles % 1).astype(np.float32)[:, None]
        harmonics = np.floor(HIGHEST * self._sample_rate / pitch).astype(np.float32)[:, None]
        pulses = _sum_of_cosines(at - np.round(at), harmonics)
        spectrum = np.fft.rfft(pulses * self._hann, axis=1).astype(np.complex64, copy=False)
        power = np.mean(spectrum.real**2 + spectrum.imag**2, axis=1, keepdims=True)
        return spectrum / np.sqrt(power + np.float32(LEAST))

    def _noise_of(self, transforms: int) -> np.ndarray:
        """Return spectra of noise, complex64 [transforms, bins], of mean power 1 over the bins."""
        drawn = self._noise.standard_normal((transforms, self._window // 2 + 1, 2), np.float32)
        return drawn.view(np.complex64)[..., 0] * np.float32(0.5**0.5)


def _sum_of_cosines(cycles: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Return the sum over n from 1 to `count` of cos(2 pi n cycles), for float32 cycles from -0.5 to 0.5."""
    half = np.float32(np.pi) * cycles
    sine = np.sin(half)
    is_peak = np.abs(sine) < 1e-5
    sine[is_peak] = 1
    return np.where(is_peak, count, np.sin((2 * count + 1) * half) / (2 * sine) - np.float32(0.5))
