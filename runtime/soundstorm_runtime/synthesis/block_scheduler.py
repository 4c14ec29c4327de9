"""How long the blocks of a stream are: it begins early, and never falls behind what is played."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, fields

LENGTHS = (16, 24, 32, 48, 64, 96, 128, 192)  # frames of a block
SPARE = 0.5  # share of what is still to be played that making the next block may take

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Costs:
    """Seconds that the work on a stream takes on this machine.

    sentence: of reading one, beside `token` for each of its semantic tokens, if they are made one by one.
    step: of one pass of SoundStorm, beside `step_frame` for each frame. codec_frame: of decoding one.
    """

    sentence: float
    token: float
    step: float
    step_frame: float
    codec_frame: float

    def rounded(self) -> Costs:
        """Round up to powers of the square root of 2: blocks shall hang on the machine, not on its mood."""
        return Costs(*(_round_up(getattr(self, field.name)) for field in fields(self)))


class BlockScheduler:
    """The lengths of one stream's blocks, from what they are expected to cost: no clock is read.

    block: seconds that a block of so many frames takes. sentence: seconds until the first block of a
    sentence can begin. frame: seconds of sound in one. late: frames whose sound waits for the next block.
    budget: seconds until the first audio, 0 for as few as can be.
    """

    def __init__(
        self, block: Callable[[int], float], sentence: float, frame: float, late: int, budget: float = 0.0
    ) -> None:
        self._block, self._sentence, self._frame, self._late = block, sentence, frame, late
        self._budget = budget
        self._left: float | None = None  # seconds that were given and are still to be played

    def read(self) -> None:
        """Count the reading of a sentence."""
        self._spend(self._sentence)

    def give(self, seconds: float) -> None:
        """Count audio that was given."""
        self._left = (self._left or 0.0) + seconds

    def next(self) -> int:
        """Return the frames of the next block, and count the making of it."""
        frames = self._first() if self._left is None else self._longest(SPARE * self._left)
        self._spend(self._block(frames))
        return frames

    def _spend(self, seconds: float) -> None:
        if self._left is not None:
            self._left = max(0.0, self._left - seconds)

    def _longest(self, seconds: float) -> int:
        """Return the longest block that is made in this time; the shortest takes what it takes."""
        return max((n for n in LENGTHS if self._block(n) <= seconds), default=LENGTHS[0])

    def _first(self) -> int:
        lasting = [frames for frames in LENGTHS if self._lasts(frames)]
        if not lasting:
            _log.warning(
                "this machine makes speech more slowly than it is played: the stream will have gaps; take "
                "fewer steps"
            )
        shortest = lasting[0] if lasting else LENGTHS[-1]
        frames = max(shortest, self._longest(self._budget - self._sentence))
        expected = self._sentence + self._block(frames)
        if expected > self._budget > 0:
            _log.warning(
                "budget: %.0f ms cannot be held here; the first audio comes after about %.0f ms",
                1000 * self._budget,
                1000 * expected,
            )
        return frames

    def _lasts(self, first: int) -> bool:
        """Whether playback never waits for the blocks after a first one of so many frames."""
        left = (first - self._late) * self._frame
        while (frames := self._longest(SPARE * left)) < LENGTHS[-1]:
            gained = frames * self._frame - self._block(frames)
            if gained <= 0 or self._block(frames) > left:
                return False
            left += gained
        return self._block(frames) <= frames * self._frame


def _round_up(seconds: float) -> float:
    return 2 ** (math.ceil(2 * math.log2(seconds)) / 2) if seconds > 0 else 0.0
