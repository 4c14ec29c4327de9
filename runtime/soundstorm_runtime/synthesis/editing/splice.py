"""Put new audio into old audio: where the two overlap they are cross-faded, all else stays bit for bit."""

from __future__ import annotations

import numpy as np

FADE_SECONDS = 0.01  # of a cross-fade
SEARCH_SECONDS = 0.005  # by which the new audio may be moved, so that the two swing alike where they meet


def splice(
    audio: np.ndarray, start: int, end: int, fresh: np.ndarray, before: int, after: int, sample_rate: int
) -> np.ndarray:
    """Replace a stretch of audio.

    Samples before `start` and after `end` stay as they are. Both cross-fades lie inside the stretch: a codec
    reproduces a recording nearly, but not to the sample.

    Args:
        audio: float32 [samples].
        start: Where the stretch starts; 0 needs no cross-fade.
        end: Where it ends; the end of the audio needs none either.
        fresh: What replaces it, float32 [before + length + after], with the audio around it.
        before: Samples of `fresh` before the replacement, which reproduce those before `start`.
        after: Samples of `fresh` after it.
        sample_rate: Samples a second.

    Returns:
        float32 [start + length + samples - end].
    """
    length = len(fresh) - before - after
    fade = min(round(FADE_SECONDS * sample_rate), length // 2, (end - start) // 2)
    fades = [fade if start else 0, fade if end < len(audio) else 0]
    move = _best_move(audio, start, end, fresh, before, length, fades, sample_rate)
    new = fresh[before + move : before + move + length].copy()
    for old, place, rising in (
        (audio[start : start + fades[0]], slice(0, fades[0]), True),
        (audio[end - fades[1] : end], slice(length - fades[1], length), False),
    ):
        weight = _ramp(len(old), rising)
        new[place] = weight * new[place] + (1 - weight) * old
    return np.concatenate([audio[:start], new, audio[end:]]).astype(np.float32)


def _ramp(count: int, rising: bool) -> np.ndarray:
    ramp = (np.arange(count) + 0.5) / max(1, count)
    return ramp if rising else ramp[::-1]


def _best_move(
    audio: np.ndarray,
    start: int,
    end: int,
    fresh: np.ndarray,
    before: int,
    length: int,
    fades: list[int],
    sample_rate: int,
) -> int:
    """Return by how many samples to move the new audio for the highest correlation in the cross-fades."""
    most = round(SEARCH_SECONDS * sample_rate)
    lowest, highest = max(-most, -before), min(most, len(fresh) - before - length)
    old = np.concatenate([audio[start : start + fades[0]], audio[end - fades[1] : end]])
    if not old.any():
        return 0

    def likeness(move: int) -> float:
        first = before + move
        last = first + length
        new = np.concatenate([fresh[first : first + fades[0]], fresh[last - fades[1] : last]])
        return float(new @ old) / (float(np.linalg.norm(new)) + 1e-9)

    # Of equals the smallest move, so that what fits already stays in its place.
    return max(range(lowest, highest + 1), key=lambda move: (likeness(move), -abs(move)))
