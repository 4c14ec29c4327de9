"""Distance of speech from a reference: cepstra, intelligibility, perceived quality."""

from __future__ import annotations

import math
import warnings

import numpy as np
import scipy.fft  # type: ignore[import-untyped]
import torch
from pystoi import stoi as pystoi_stoi  # type: ignore[import-untyped]
from scipy.spatial.distance import cdist  # type: ignore[import-untyped]

from soundstorm_edge.nn.mel import LogMel

COEFFICIENTS = 13
MELS, WINDOW_SECONDS, HOP_SECONDS = 40, 0.025, 0.01


def mel_cepstra(audio: np.ndarray, sample_rate: int) -> np.ndarray:
    """Turn float32 `[samples]` into mel cepstra, float64 `[frames, 1 + COEFFICIENTS]`, energy first.

    They are scaled so that the log magnitude of mel band m of M is the sum of
    `c[k] * cos(pi * k * (m + 0.5) / M)`.
    """
    mel = LogMel(sample_rate, round(HOP_SECONDS * sample_rate), round(WINDOW_SECONDS * sample_rate), MELS)
    bands = mel(torch.from_numpy(audio)[None])[0].double().numpy()
    return scipy.fft.dct(bands, type=2, axis=1)[:, : COEFFICIENTS + 1] / MELS


def mel_cepstral_distance(one: np.ndarray, other: np.ndarray, sample_rate: int) -> float:
    """Compare float32 `[samples]` of any two lengths; in dB, after dynamic time warping.

    `10 / ln 10 * sqrt(2 * sum of squared differences)` over cepstra 1 to 13, the mean along the path
    (Kubichek 1993). With the scaling of `mel_cepstra` it is the root mean square difference of the
    smoothed log spectra, loudness aside.
    """
    cepstra = (mel_cepstra(audio, sample_rate)[:, 1:] for audio in (one, other))
    return 10 / math.log(10) * math.sqrt(2) * warped_mean(cdist(*cepstra))


def warped_mean(costs: np.ndarray) -> float:
    """Return the mean of `costs` `[rows, columns]` along the cheapest path from its first to its last cell.

    The path goes down, right, or both at once (dynamic time warping).
    """
    rows, columns = costs.shape
    # By anti-diagonals, whose cells depend on the two before alone. A cell of row i is kept at i + 1.
    last, older = np.full(rows + 1, np.inf), np.full(rows + 1, np.inf)
    last_cells, older_cells = np.zeros(rows + 1), np.zeros(rows + 1)
    older[0] = 0
    for diagonal in range(rows + columns - 1):
        row = np.arange(max(0, diagonal - columns + 1), min(rows, diagonal + 1))
        totals = np.stack([older[row], last[row], last[row + 1]])
        cells = np.stack([older_cells[row], last_cells[row], last_cells[row + 1]])
        best = totals.argmin(axis=0)[None]
        older, older_cells = last, last_cells
        last, last_cells = np.full(rows + 1, np.inf), np.zeros(rows + 1)
        last[row + 1] = np.take_along_axis(totals, best, 0)[0] + costs[row, diagonal - row]
        last_cells[row + 1] = np.take_along_axis(cells, best, 0)[0] + 1
    return float(last[rows] / last_cells[rows])


def stoi(clean: np.ndarray, other: np.ndarray, sample_rate: int) -> float:
    """Short-time objective intelligibility, 0 to 1, of two signals of one length (Taal et al. 2011)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of a signal without enough speech, which scores 0
        return float(pystoi_stoi(clean, other, sample_rate))


def pesq(clean: np.ndarray, other: np.ndarray, sample_rate: int) -> float | None:
    """Perceived quality, about 1 to 4.6 (ITU-T P.862.2, wide band), of two signals of 16 kHz.

    None where the `pesq` library is not installed, which has to be compiled, or at other rates. Speech
    in which it finds no utterance counts as 1.
    """
    try:
        from pesq import PesqError  # type: ignore[import-not-found,import-untyped,unused-ignore]
        from pesq import pesq as measure
    except ImportError:
        return None
    if sample_rate != 16_000:
        return None
    return max(1.0, float(measure(sample_rate, clean, other, "wb", on_error=PesqError.RETURN_VALUES)))
