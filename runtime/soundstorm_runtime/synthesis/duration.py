"""Speech of a given length: by which factor to stretch it, and where silence fills the rest."""

from __future__ import annotations

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


def distribute_silence(samples: int, sentences: int) -> list[tuple[int, int]]:
    """Return the samples of silence before and after each sentence: evenly between them, the rest at the end.

    Args:
        samples: Samples of silence in all.
        sentences: Number of sentences.

    Raises:
        OptionError: `samples` is negative: speech of one token a phone is longer than the time there is.
    """
    if samples < 0:
        raise OptionError("the duration leaves no time for every phone; give a longer one")
    each = samples // (sentences - 1) if sentences > 1 else 0
    silences = [(each if place else 0, 0) for place in range(sentences)]
    silences[-1] = (silences[-1][0], samples - each * (sentences - 1))
    return silences
