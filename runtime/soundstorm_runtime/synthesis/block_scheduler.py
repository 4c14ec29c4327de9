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
        load: Returns how many streams share the machine. They do not delay each other's first audio, but each
            later block takes so many times as long.
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
            frames = self._first()
        elif load > 1:
            frames = self._shared(load, SPARE * self._left)
        else:
            frames = self._longest(SPARE * self._left)
        self._spend(load * self._block(frames))
        return frames

    def _shared(self, load: int, seconds: float) -> int:
        """Return the longest block that can be made in this time, or the shortest that keeps pace.

        A longer block costs less for each frame: short ones alone could not be made as fast as they are
        played when many streams share the machine.
        """
        in_time = [frames for frames in BLOCK_FRAMES if load * self._block(frames) <= seconds]
        pace = (frames for frames in BLOCK_FRAMES if load * self._block(frames) <= frames * self._frame)
        return max(in_time, default=next(pace, BLOCK_FRAMES[-1]))

    def _spend(self, seconds: float) -> None:
        if self._left is not None:
            self._left = max(0.0, self._left - seconds)

    def _longest(self, seconds: float) -> int:
        """Return the longest block that can be made in this time, or the shortest where none can."""
        return max((n for n in BLOCK_FRAMES if self._block(n) <= seconds), default=BLOCK_FRAMES[0])

    def _first(self) -> int:
        sustained = [frames for frames in BLOCK_FRAMES if self._can_start_with(frames)]
        if not sustained:
            _log.warning(
                "this machine makes speech more slowly than it is played: the stream will have gaps; use "
                "fewer steps"
            )
        shortest = sustained[0] if sustained else BLOCK_FRAMES[-1]
        frames = max(shortest, self._longest(self._budget - self._sentence))
        expected = self._sentence + self._block(frames)
        if expected > self._budget > 0:
            _log.warning(
                "budget: %.0f ms are too few on this machine; the first audio comes after about %.0f ms",
                1000 * self._budget,
                1000 * expected,
            )
        return frames

    def _can_start_with(self, first: int) -> bool:
        """Return whether playback never waits after a first block of so many frames."""
        left = (first - self._latency) * self._frame
        while (frames := self._longest(SPARE * left)) < BLOCK_FRAMES[-1]:
            gained = frames * self._frame - self._block(frames)
            if gained <= 0 or self._block(frames) > left:
                return False
            left += gained
        return self._block(frames) <= frames * self._frame
