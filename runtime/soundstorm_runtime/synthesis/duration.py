"""Speech of a given length: by which factor to stretch it, and where silence fills the rest."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import OptionError

FASTEST, SLOWEST = 0.25, 4.0  # factors of the natural length; beyond these, speech is not intelligible


def stretch_for(duration: float, natural: float, silence: float) -> float:
    """Return the factor of speech's length for all of it to last `duration`.

    Args:
        duration: Seconds that speech and pauses shall last.
        natural: Seconds that the speech lasts by itself.
        silence: Seconds of the pauses, which are not stretched.

    Raises:
        OptionError: The duration is out of reach.
    """
    stretch = (duration - silence) / natural
    if not FASTEST <= stretch <= SLOWEST:
        least, most = (silence + natural * limit for limit in (FASTEST, SLOWEST))
        raise OptionError(
            f"duration is {duration:g} s, expected {least:.2f} to {most:.2f} s for this text, which takes "
            f"{silence + natural:.2f} s by itself"
        )
    return stretch


def distribute_silence(samples: int, silences: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Fit the silence around sentences to a length: all of it shorter, or that between sentences longer.

    Args:
        samples: Samples of silence in all.
        silences: Samples before and after each sentence. What cannot be shared evenly goes to the end.

    Raises:
        OptionError: `samples` is negative: speech of one token a phone is longer than the time there is.
    """
    if samples < 0:
        raise OptionError("the duration leaves no time for every phone; give a longer one")
    total = sum(map(sum, silences))
    if samples < total:
        silences = [(before * samples // total, after * samples // total) for before, after in silences]
    left = samples - sum(map(sum, silences))
    each = left // (len(silences) - 1) if len(silences) > 1 else 0
    fitted = [(before + each if place else before, after) for place, (before, after) in enumerate(silences)]
    before, after = fitted[-1]
    fitted[-1] = (before, after + left - each * (len(silences) - 1))
    return fitted
