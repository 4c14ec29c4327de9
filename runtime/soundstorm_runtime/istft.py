"""The inverse STFT that ends the spectral codec's decoder, on the host.

It takes a quarter of the time of a matrix product inside the graph (`benchmarks/inverse_stft.py`).
"""

from __future__ import annotations

import numpy as np


def inverse_stft(spectrum: np.ndarray, window: int, hop: int) -> np.ndarray:
    """Turn float32 `[batch, frames, 2 * bins]`, real parts then imaginary ones, into audio.

    window: length of the Hann window, a multiple of `hop`, both in samples. Frame t is centred on the
    middle of its hop. Returns float32 `[batch, frames * hop]`.
    """
    batch, frames, width = spectrum.shape
    bins, overlap = width // 2, window // hop
    hann = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)).astype(np.float32)
    values = np.empty((batch, frames, bins), np.complex64)
    values.real, values.imag = spectrum[..., :bins], spectrum[..., bins:]
    pieces = np.fft.irfft(values, n=window, axis=-1).astype(np.float32, copy=False) * hann
    edge = (window - hop) // 2
    kept = slice(edge, edge + frames * hop)
    audio = _overlap_add(pieces.reshape(batch, frames, overlap, hop))[:, kept]
    weight = np.broadcast_to((hann * hann).reshape(overlap, hop), (1, frames, overlap, hop))
    return audio / _overlap_add(weight)[:, kept]


def _overlap_add(pieces: np.ndarray) -> np.ndarray:
    """Add `[batch, frames, overlap, hop]`, each frame one hop after the last, to `[batch, samples]`."""
    batch, frames, overlap, hop = pieces.shape
    total = np.zeros((batch, frames + overlap - 1, hop), np.float32)
    for part in range(overlap):
        total[:, part : part + frames] += pieces[:, :, part]
    return total.reshape(batch, -1)
