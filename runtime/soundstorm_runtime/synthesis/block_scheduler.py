"""Lengths of a stream's blocks: playback starts early and never waits for the next block."""

from __future__ import annotations

import logging
from collections.abc import Callable

from ..decoding.prefix_cache import BLOCK_FRAMES

SPARE = 0.5  # share of the audio still to be played that making the next block may take

_log = logging.getLogger(__name__)


class BlockScheduler:
    """Chooses the lengths of one stream's blocks from their expected costs; it reads no clock.

    Args:
        block: Seconds of computation for a block of so many frames.
        sentence: Seconds until the first block of a sentence can start.
        frame: Seconds of audio in one frame.
        latency: Frames whose audio comes with the next block only.
        budget: Seconds until the first audio, 0 for as few as possible.
        load: Returns how many streams share the machine, all of which make one block in the time between two
            of this one. Its first block is made before the later ones of the others.
    """

    def __init__(
        self,
        block: Callable[[int], float],
        sentence: float,
        frame: float,
        latency: int,
        budget: float = 0.0,
        load: Callable[[], int] = lambda: 1,
    ) -> None:
        self._block, self._sentence, self._frame, self._latency = block, sentence, frame, latency
        self._budget, self._load = budget, load
        self._left: float | None = None  # seconds of audio that are still to be played; None before the first

    def start_sentence(self) -> None:
        """Count the time that reading a sentence takes."""
        self._spend(self._sentence)

    def add_audio(self, seconds: float) -> None:
        """Count audio that is ready to be played."""
        self._left = (self._left or 0.0) + seconds

    def next_block(self) -> int:
        """Return the frames of the next block, and count the time that it takes."""
        load = self._load()
        if self._left is None:
            return self._first(load)
        frames = self._longest(self._left, load)
        if self._takes(frames, load) > min(self._left, frames * self._frame):
            # It would be late, or is made more slowly than it is played.
            frames = self._shortest(self._left, load) or BLOCK_FRAMES[-1]
        self._spend(self._takes(frames, load))
        return frames

    def _spend(self, seconds: float) -> None:
        if self._left is not None:
            self._left = max(0.0, self._left - seconds)

    def _takes(self, frames: int, load: int) -> float:
        """Return the seconds until a block is there, if each other stream makes one before it."""
        return load * self._block(frames)

    def _longest(self, left: float, load: int) -> int:
        """Return the longest block that is there in time, or the shortest where none is."""
        return max(
            (n for n in BLOCK_FRAMES if max(self._takes(n, load), self._block(n) / SPARE) <= left),
            default=BLOCK_FRAMES[0],
        )

    def _shortest(self, left: float, load: int, latency: int = 0) -> int | None:
        """Return the shortest block after which playback does not wait; None where there is none.

        A longer block costs less for each frame: short ones alone could not be made as fast as they are
        played when many streams share the machine.

        Args:
            left: Seconds of audio that are still to be played before the block is made.
            load: Streams that share the machine.
            latency: Frames of the block whose audio comes with the next one only.
        """
        for frames in BLOCK_FRAMES:
            after = max(0.0, left - self._takes(frames, load)) + (frames - latency) * self._frame
            if self._is_enough(after, load):
                return frames
        return None

    def _is_enough(self, left: float, load: int) -> bool:
        """Return whether playback never waits while there are so many seconds of audio to be played."""
        while True:
            frames = self._longest(left, load)
            takes = self._takes(frames, load)
            gained = frames * self._frame - takes
            if frames == BLOCK_FRAMES[-1]:
                return gained >= 0
            if gained <= 0 or takes > left:
                return False
            left += gained

    def _first(self, load: int) -> int:
        shortest = self._shortest(0.0, load, self._latency)
        if shortest is None and load == 1:
            _log.warning(
                "this machine makes speech more slowly than it is played: the stream will have gaps; use "
                "fewer steps"
            )
        in_budget = self._longest((self._budget - self._sentence) / SPARE, 1)
        frames = max(shortest or BLOCK_FRAMES[-1], in_budget)
        expected = self._sentence + self._block(frames)
        if expected > self._budget > 0:
            _log.warning(
                "budget: %.0f ms are too few on this machine; the first audio comes after about %.0f ms",
                1000 * self._budget,
                1000 * expected,
            )
        return frames
