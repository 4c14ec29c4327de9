"""Speech of a given length: how far to stretch it, and where the rest of the time goes."""

from __future__ import annotations

from ..errors import OptionError

FASTEST, SLOWEST = 0.25, 4.0  # times the natural length; beyond, nobody understands a word
SPEEDS = 0.5, 2.0


def stretch_for(duration: float, natural: float, silence: float) -> float:
    """Return by how much to stretch speech of `natural` seconds so that all lasts `duration`.

    silence: seconds of it that are pauses. Raises `OptionError` for a length out of reach.
    """
    stretch = (duration - silence) / natural
    if not FASTEST <= stretch <= SLOWEST:
        least, most = (silence + natural * limit for limit in (FASTEST, SLOWEST))
        raise OptionError(
            f"duration is {duration:g} s, expected {least:.2f} to {most:.2f} s for this text, which takes "
            f"{silence + natural:.2f} s by itself"
        )
    return stretch


def stretch_at(speed: float) -> float:
    """Return by how much to stretch speech that is so many times as fast. Raises `OptionError`."""
    least, most = SPEEDS
    if not least <= speed <= most:
        raise OptionError(f"speed is {speed:g}, expected {least:g} to {most:g}; 1 is the voice's own")
    return 1 / speed


def silences(samples: int, sentences: int) -> list[tuple[int, int]]:
    """Share out `samples` of silence: before and after each sentence, between them where there are several.

    Raises `OptionError` where there is less than none: so many short phones cannot get any shorter.
    """
    if samples < 0:
        raise OptionError("the duration leaves no time for every phone; give a longer one")
    each = samples // (sentences - 1) if sentences > 1 else 0
    gaps = [(each if place else 0, 0) for place in range(sentences)]
    gaps[-1] = (gaps[-1][0], samples - each * (sentences - 1))
    return gaps
