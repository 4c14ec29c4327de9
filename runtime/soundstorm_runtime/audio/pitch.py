"""The pitch of a voice: is speech that a prompt makes as high as the recording that it was made of?"""

from __future__ import annotations

import math

import numpy as np

LOWEST, HIGHEST = 60.0, 500.0  # Hz
FRAME, HOP = 0.05, 0.01  # seconds; a frame holds three periods of the lowest pitch
VOICED = 0.5  # normalised autocorrelation from which a frame counts as voiced
FIRST_PEAK = 0.9  # of the highest peak: the shortest period that comes so near is the true one
LOUD = 0.01  # of the loudest frame's power; quieter ones do not count
FEWEST = 10  # voiced frames that a median is taken of
TOLERANCE = 2.0  # semitones
ONE_SPEAKER = 8.0  # semitones that the seconds of one speaker's recording lie apart at most


def pitch_contour(audio: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return the fundamental frequency of the voiced frames of speech in Hz, float64 `[frames]`, maybe none.

    From the normalised autocorrelation of windowed frames (Boersma 1993), which noise and a telephone's band
    leave in place.

    Args:
        audio: float32 `[samples]`.
        sample_rate: in Hz.
    """
    size = round(FRAME * sample_rate)
    if len(audio) < size:
        return np.empty(0)
    hertz = _pitch_of_frames(audio, sample_rate, size, round(HOP * sample_rate))
    return hertz[hertz > 0]


def pitch_track(audio: np.ndarray, sample_rate: int, hop: int) -> np.ndarray:
    """Return the fundamental frequency in Hz in the middle of every hop, 0 where unvoiced: float64 `[hops]`.

    Args:
        audio: float32 `[samples]`.
        sample_rate: in Hz.
        hop: samples.
    """
    size, count = round(FRAME * sample_rate), len(audio) // hop
    edge = (size - hop) // 2
    padded = np.pad(audio, (edge, max(0, (count - 1) * hop + size - edge - len(audio))))
    return _pitch_of_frames(padded, sample_rate, size, hop)[:count]


def _pitch_of_frames(audio: np.ndarray, sample_rate: int, size: int, hop: int) -> np.ndarray:
    """Return the pitch of frames of `size` samples in Hz, 0 for those that are quiet or unvoiced."""
    frames = np.lib.stride_tricks.sliding_window_view(audio.astype(np.float64), size)[::hop]
    frames = frames - frames.mean(axis=1, keepdims=True)
    power = (frames**2).mean(axis=1)
    found = np.zeros(len(frames))
    loud = np.flatnonzero(power > LOUD * power.max(initial=0))
    if not len(loud):
        return found
    window = np.hanning(size)
    correlation = _autocorrelation(frames[loud] * window) / _autocorrelation(window[None])
    shortest, longest = math.floor(sample_rate / HIGHEST), min(math.ceil(sample_rate / LOWEST), size // 2)
    peaks = correlation[:, shortest : longest + 1] / correlation[:, :1]
    is_voiced = peaks.max(axis=1) > VOICED
    voiced = peaks[is_voiced]
    inner = voiced[:, 1:-1]
    is_peak = (inner >= voiced[:, :-2]) & (inner >= voiced[:, 2:])
    is_peak &= inner >= FIRST_PEAK * inner.max(axis=1, keepdims=True, initial=0)
    periods = shortest + 1 + is_peak.argmax(axis=1)
    found[loud[is_voiced]] = np.where(is_peak.any(axis=1), sample_rate / periods, 0)
    return found


def median_pitch(audio: np.ndarray, sample_rate: int) -> float | None:
    """Return the median of `pitch_contour` in Hz, None where too little is voiced."""
    contour = pitch_contour(audio, sample_rate)
    return float(np.median(contour)) if len(contour) >= FEWEST else None


def _autocorrelation(frames: np.ndarray) -> np.ndarray:
    """Return the autocorrelation of each frame, `[frames, size]`, from lag 0 on."""
    size = frames.shape[1]
    spectrum = np.fft.rfft(frames, 2 * size, axis=1)
    return np.maximum(np.fft.irfft(np.abs(spectrum) ** 2, axis=1)[:, :size], 1e-12)


def pitch_warning(recorded: float | None, spoken: float | None) -> str | None:
    """Return a warning that a prompt speaks higher or lower than its recording; None where it does not."""
    if recorded is None or spoken is None:
        return None
    apart = 12 * math.log2(spoken / recorded)
    if abs(apart) <= TOLERANCE:
        return None
    return (
        f"the voice speaks at {spoken:.0f} Hz, {abs(apart):.0f} semitones "
        f"{'above' if apart > 0 else 'below'} the recording ({recorded:.0f} Hz); "
        "record again in a quiet room, close to the microphone"
    )


def speakers_warning(audio: np.ndarray, sample_rate: int) -> str | None:
    """Return a warning that a recording may have several speakers: its seconds differ much in pitch.

    Two speakers of similar pitch are not told apart.

    Args:
        audio: float32 `[samples]`.
        sample_rate: in Hz.
    """
    seconds = [audio[start : start + sample_rate] for start in range(0, len(audio), sample_rate)]
    pitches = [pitch for second in seconds if (pitch := median_pitch(second, sample_rate)) is not None]
    if not pitches or 12 * math.log2(max(pitches) / min(pitches)) <= ONE_SPEAKER:
        return None
    return (
        f"the recording may have several speakers: its pitch changes from {min(pitches):.0f} to "
        f"{max(pitches):.0f} Hz; use a recording of one"
    )
