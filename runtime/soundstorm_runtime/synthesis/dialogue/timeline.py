"""Where the turns of a dialogue are in time; where they overlap, their audio is added."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..word_times import WordTime

# Between turns; the usual one in ten languages (Stivers et al. 2009, doi 10.1073/pnas.0903616106).
GAP_SECONDS = 0.2


@dataclass(frozen=True)
class TurnTime:
    """A spoken turn.

    Attributes:
        voice: Name of its voice; None for the default, or for a prompt without a name.
        text: What was said.
        start: Seconds from the start of the dialogue.
        end: Seconds at its end.
        words: Times of its words, also from the start of the dialogue; empty where the text stage has no
            durations.
    """

    voice: str | None
    text: str
    start: float
    end: float
    words: tuple[WordTime, ...] = ()

    def to_json(self, document: str | None = None) -> dict[str, object]:
        """Return the turn as JSON data.

        Args:
            document: The SSML that the turn is from, which the spans of its words refer to; None where they
                refer to its text.
        """
        source = self.text if document is None else document
        return {
            "voice": self.voice,
            "text": self.text,
            "start": round(self.start, 4),
            "end": round(self.end, 4),
            "words": [word.to_json(source, phones=False) for word in self.words],
        }


@dataclass(frozen=True)
class DialogueAudio:
    """A dialogue, or a chunk of a streamed one.

    Attributes:
        audio: float32 [samples] in [-1, 1].
        turns: The turns that end in it, in order.
    """

    audio: np.ndarray
    turns: tuple[TurnTime, ...] = ()


class Timeline:
    """Mixes the audio of turns as it is made.

    Attributes:
        end: Samples until the end of everything that was added.
    """

    def __init__(self) -> None:
        self._waiting = np.zeros(0, np.float32)  # audio from `_done` on
        self._done = 0
        self.end = 0

    def start_of(self, gap: int, previous: int) -> int:
        """Return where a turn starts: `gap` samples after the end of all before, but not before `previous`.

        Args:
            gap: Samples; below 0 for an overlap.
            previous: Where the previous turn starts.
        """
        return max(self.end + gap, previous, self._done)

    def add(self, start: int, audio: np.ndarray) -> None:
        """Add audio, float32 [samples], which starts at a sample that was not returned yet."""
        end = start + len(audio)
        missing = max(0, end - self._done - len(self._waiting))
        self._waiting = np.pad(self._waiting, (0, missing))
        self._waiting[start - self._done : end - self._done] += audio
        self.end = max(self.end, end)

    def take(self, until: int) -> np.ndarray:
        """Return the audio up to a sample, which nothing more is added to."""
        count = min(max(0, until - self._done), len(self._waiting))
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        self._done += count
        return np.clip(taken, -1, 1)
