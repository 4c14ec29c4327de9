"""Pick the steps that fit a latency budget on this machine, from a short calibration."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from ..engines.timing import quickest
from .acoustic_stage import AcousticStage
from .options import Manner
from .whole_sentences import WholeSentences

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Calibration:
    """Seconds that one sentence takes here: reading it, each step, and the codec's decoder."""

    text: float
    step: float
    codec: float

    def seconds(self, steps: Sequence[int]) -> float:
        """Return what the sentence takes with so many steps per level."""
        return self.text + self.step * sum(steps) + self.codec

    def steps_within(self, seconds: float, own: Sequence[int]) -> tuple[int, ...]:
        """Return as many of the voice's `own` steps as fit, as `share_steps` has it."""
        affordable = int((seconds - self.text - self.codec) / self.step)
        return share_steps(own, affordable)


def share_steps(own: Sequence[int], total: int) -> tuple[int, ...]:
    """Bring `own` steps per level down to `total` in all, each level in proportion and 1 at least.

    A level that has none is left out as it was.
    """
    fewest = fewest_steps(own)
    extra = [steps - least for steps, least in zip(own, fewest, strict=True)]
    left = min(max(total - sum(fewest), 0), sum(extra))
    exact = [left * steps / sum(extra) if left else 0.0 for steps in extra]
    shares = [int(share) for share in exact]
    # What rounding left over goes where most was cut, to the coarser level of equals.
    for place in sorted(range(len(own)), key=lambda place: shares[place] - exact[place])[
        : left - sum(shares)
    ]:
        shares[place] += 1
    return tuple(least + share for least, share in zip(fewest, shares, strict=True))


def fewest_steps(own: Sequence[int]) -> tuple[int, ...]:
    """Return one step for each level that has any."""
    return tuple(min(1, steps) for steps in own)


def say_choice(milliseconds: float, calibration: Calibration, steps: Sequence[int]) -> None:
    """Log what was picked and why, as a warning where even the fewest steps take too long."""
    expected = 1000 * calibration.seconds(steps)
    picked = f"steps {','.join(map(str, steps))}, about {expected:.0f} ms"
    if expected > milliseconds:
        _log.warning("budget: %g ms cannot be held here; the fewest, %s, are taken", milliseconds, picked)
    else:
        _log.info(
            "budget: %g ms allow %s (text %.0f ms, each step %.1f ms, codec %.0f ms)",
            milliseconds,
            picked,
            *(1000 * part for part in (calibration.text, calibration.step, calibration.codec)),
        )


def calibrate(
    speaking: WholeSentences, acoustics: AcousticStage, sentence: str, manner: Manner
) -> Calibration:
    """Speak a sentence in a manner of few steps, each stage twice, to see how long that takes."""
    prompt, options = manner.prompt, manner.options
    (parts,), reading = quickest(lambda: list(speaking.read([sentence], manner)), runs=2)
    codes, stepping = quickest(lambda: acoustics.codes(parts, options, prompt), runs=2)
    _, sounding = quickest(lambda: [acoustics.audio(own, prompt) for own in codes], runs=2)
    return Calibration(reading, stepping / sum(options.steps), sounding)
