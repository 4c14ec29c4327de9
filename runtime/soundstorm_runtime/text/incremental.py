"""Sentences out of text that comes in fragments, such as the tokens of a language model."""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator

from ..errors import TextError
from .sentences import check_length

Split = Callable[[str], list[str]]

_SPACE = re.compile(r"\s+")


class Fragments:
    """Takes fragments, and gives each sentence as soon as the next one begins.

    split: cuts a text into sentences, and raises `TextError` where there is none.
    """

    def __init__(self, split: Split) -> None:
        self._split = split
        self._text = ""
        self._spoke = False

    def push(self, fragment: str) -> list[str]:
        """Take a fragment; give the sentences that it completes. Raises `TextError` for too much at once."""
        self._text += fragment
        check_length(self._text)
        found = self._sentences(self._text)
        # What follows tells whether a full stop ended a sentence or an abbreviation: ask for both halves.
        for cut in reversed(list(_SPACE.finditer(self._text)) if len(found) > 1 else []):
            head, rest = (
                self._sentences(part) for part in (self._text[: cut.end()], self._text[cut.end() :])
            )
            if head and rest and head + rest == found:
                self._text = self._text[cut.end() :]
                self._spoke = True
                return head
        return []

    def finish(self) -> list[str]:
        """Give what is left. Raises `TextError` where there was nothing to speak at all."""
        text, self._text = self._text, ""
        return self._sentences(text) if self._spoke else self._split(text)

    def _sentences(self, text: str) -> list[str]:
        try:
            return self._split(text)
        except TextError:  # nothing in it that can be spoken, as yet
            return []


def sentences_of(fragments: Iterable[str], split: Split) -> Iterator[str]:
    """Give the sentences of fragments, each as soon as the next one begins."""
    sentences = Fragments(split)
    for fragment in fragments:
        yield from sentences.push(fragment)
    yield from sentences.finish()


async def sentences_to_come(fragments: AsyncIterable[str], split: Split) -> AsyncIterator[str]:
    """Give the same of fragments that are awaited."""
    sentences = Fragments(split)
    async for fragment in fragments:
        for sentence in sentences.push(fragment):
            yield sentence
    for sentence in sentences.finish():
        yield sentence
