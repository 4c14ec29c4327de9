"""The inverse STFT, the last stage of the spectral codec's decoder, on the host.

It takes a quarter of the time of a matrix product inside the graph (`benchmarks/inverse_stft.py`).
"""

from __future__ import annotations

import numpy as np


def inverse_stft(spectrum: np.ndarray, window: int, hop: int) -> np.ndarray:
    """Compute audio from spectra. Frame t is centred on the middle of its hop.

    Args:
        spectrum: float32 [batch, frames, 2 * bins], real parts then imaginary ones. A frame may hold several
            transforms of `2 * bins` one after the other; they count as so many frames.
        window: Samples of the Hann window, a multiple of `hop`.
        hop: Samples from one transform to the next.

    Returns:
        float32 [batch, frames * hop].
    """
    return InverseStft(window, hop).push(spectrum, last=True)


class InverseStft:
    """Computes the same for a signal that comes in pieces, with a latency of `delay` samples.

    The audio of all pieces together is that of the whole signal.

    Args:
        window: Samples of the Hann window, a multiple of `hop`.
        hop: Samples from one transform to the next.
    """

    def __init__(self, window: int, hop: int) -> None:
        self.delay = (window - hop) // 2
        self._window, self._hop = window, hop
        self._hann = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)).astype(np.float32)
        self._skip = self.delay  # samples before the first frame's own, which are still to be left out
        self._tail: np.ndarray | None = None  # [batch, window - hop]: what later frames add to
        self._weight = np.zeros((1, window - hop), np.float32)

    def push(self, spectrum: np.ndarray, last: bool = False) -> np.ndarray:
        """Add spectra and return the samples to which later ones add nothing.

        Args:
            spectrum: float32 [batch, frames, 2 * bins].
            last: Whether the signal ends here, so that the remaining samples are returned as well.
        """
        batch, width = len(spectrum), 2 * (self._window // 2 + 1)
        spectrum = spectrum.reshape(batch, -1, width)
        frames = spectrum.shape[1]
        values = np.empty((batch, frames, width // 2), np.complex64)
        values.real, values.imag = spectrum[..., : width // 2], spectrum[..., width // 2 :]
        pieces = np.fft.irfft(values, n=self._window, axis=-1).astype(np.float32, copy=False) * self._hann
        squares = np.broadcast_to(self._hann * self._hann, (1, frames, self._window))
        tail = np.zeros((batch, self._weight.shape[1]), np.float32) if self._tail is None else self._tail
        audio, weight = (_overlap_add(p, t, self._hop) for p, t in ((pieces, tail), (squares, self._weight)))
        end = frames * self._hop + (self.delay if last else 0)
        ready = slice(min(self._skip, end), end)
        self._skip = max(0, self._skip - end)
        self._tail, self._weight = audio[:, frames * self._hop :], weight[:, frames * self._hop :]
        return audio[:, ready] / weight[:, ready]


def _overlap_add(pieces: np.ndarray, tail: np.ndarray, hop: int) -> np.ndarray:
    """Add frames [batch, frames, window], each one hop after the last, to the tail of those before."""
    batch, frames, window = pieces.shape
    total = np.zeros((batch, frames + window // hop - 1, hop), np.float32)
    total.reshape(batch, -1)[:, : tail.shape[1]] = tail
    parts = pieces.reshape(batch, frames, window // hop, hop)
    for part in range(window // hop):
        total[:, part : part + frames] += parts[:, :, part]
    return total.reshape(batch, -1)
