"""A text that is edited while each character keeps its place in the original."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

Edit = tuple[int, int, str]
"""Start and end of a stretch, and what takes its place."""


class SourceText:
    """A text, and for each of its characters the span of the original that it stands for.

    Args:
        text: What is read.
        starts: For each character of `text`, where its span starts; by default its own place.
        ends: The same for where it ends.
    """

    def __init__(
        self, text: str, starts: Sequence[int] | None = None, ends: Sequence[int] | None = None
    ) -> None:
        self.text = text
        self._starts = range(len(text)) if starts is None else starts
        self._ends = range(1, len(text) + 1) if ends is None else ends

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return the span of the original that characters `start` to `end` (not empty) stand for."""
        return self._starts[start], self._ends[end - 1]

    def edit(self, edits: Iterable[Edit]) -> SourceText:
        """Replace stretches, given from left to right; each new character has the span of its stretch."""
        pieces: list[str] = []
        starts: list[int] = []
        ends: list[int] = []
        done = 0
        for start, end, new in edits:
            if done < start:
                pieces.append(self.text[done:start])
                starts += self._starts[done:start]
                ends += self._ends[done:start]
            pieces.append(new)
            if new:
                first, last = self.span(start, max(end, start + 1))
                starts += [first] * len(new)
                ends += [last] * len(new)
            done = end
        if not pieces:
            return self
        pieces.append(self.text[done:])
        return SourceText("".join(pieces), [*starts, *self._starts[done:]], [*ends, *self._ends[done:]])

    def sub(self, pattern: re.Pattern[str], new: str | Callable[[re.Match[str]], str]) -> SourceText:
        """Replace each match of a pattern."""
        return self.edit(
            (*match.span(), new if isinstance(new, str) else new(match))
            for match in pattern.finditer(self.text)
        )

    def erase(self, pattern: re.Pattern[str]) -> SourceText:
        """Remove what the groups of each match hold."""
        return self.edit(
            (*match.span(group), "")
            for match in pattern.finditer(self.text)
            for group in range(1, pattern.groups + 1)
            if match.start(group) < match.end(group)
        )
