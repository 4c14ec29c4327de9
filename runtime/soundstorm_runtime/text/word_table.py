"""Words and their phones in little memory: the lines of a lexicon's file as they are, looked up by bisection.

A dictionary of strings takes some 200 bytes a word; the lines take 25, and their places 4.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Mapping, ValuesView
from functools import lru_cache

_LATELY = 1024  # words whose phones are kept at hand


class WordTable(Mapping[str, str]):
    """A mapping of words to phones.

    Args:
        text: A line `word<tab>phones[<tab>phones as a verb]` for each word, in ascending order.
        line: Matches a line, with its end; has the groups `word`, `phones` and `verb`.

    Attributes:
        verbs: Those words that sound otherwise as verbs, to those phones.

    Raises:
        ValueError: A line is not of that form, or not in its place.
    """

    def __init__(self, text: bytes, line: re.Pattern[bytes]) -> None:
        self.verbs: dict[str, str] = {}
        self._text = text
        self._starts = array("I")
        self._lately = lru_cache(maxsize=_LATELY)(self._find)
        last, place = b"", 0
        while place < len(text):
            match = line.match(text, place)
            if match is None or match["word"] <= last:
                form = "'word<tab>phones[<tab>phones as a verb]'"
                written = text[place : place + 60].partition(b"\n")[0].decode("utf-8", "replace")
                raise ValueError(f"line {written!r} is not {'in alphabetical order' if match else form}")
            self._starts.append(place)
            last, place = match["word"], match.end()
            if match["verb"]:
                self.verbs[last.decode()] = match["verb"].decode()

    def __getitem__(self, word: str) -> str:
        phones = self._lately(word)
        if phones is None:
            raise KeyError(word)
        return phones

    def __iter__(self) -> Iterator[str]:
        return (self._text[start : self._text.index(b"\t", start)].decode() for start in self._starts)

    def __len__(self) -> int:
        return len(self._starts)

    def values(self) -> ValuesView[str]:
        """Return the phones of all words, without looking each word up."""
        return _Values(self)

    def _find(self, word: str) -> str | None:
        text, begin = self._text, f"{word}\t".encode()
        place = bisect_left(self._starts, begin, key=lambda start: text[start : start + len(begin)])
        if place == len(self._starts) or not text.startswith(begin, self._starts[place]):
            return None
        return self._phones(self._starts[place] + len(begin))

    def _phones(self, start: int) -> str:
        return self._text[start : self._text.index(b"\n", start)].partition(b"\t")[0].decode()


class _Values(ValuesView[str]):
    _mapping: WordTable

    def __iter__(self) -> Iterator[str]:
        table = self._mapping
        return (table._phones(table._text.index(b"\t", start) + 1) for start in table._starts)
