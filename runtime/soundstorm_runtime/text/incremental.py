"""Sentences out of text that comes in fragments, such as the tokens of a language model."""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Sequence

from ..errors import TextError
from .sentences import check_length
from .words import Sentence

Split = Callable[[str], Sequence[Sentence]]

_SPACE = re.compile(r"\s+")


class Fragments:
    """Takes fragments, and returns each sentence as soon as the next one begins.

    Args:
        split: Cuts a text into sentences. Raises `TextError` where there is none.
    """

    def __init__(self, split: Split) -> None:
        self._split = split
        self._text = ""
        self._done = 0  # characters of the whole text before `_text`
        self._spoke = False

    def push(self, fragment: str) -> list[Sentence]:
        """Take a fragment; return the sentences that it completes, with their places in the whole text.

        Raises:
            TextError: Too much text at once.
        """
        self._text += fragment
        check_length(self._text)
        found = self._sentences(self._text)
        # What follows shows whether a full stop ended a sentence or an abbreviation: ask for both halves.
        for cut in reversed(list(_SPACE.finditer(self._text)) if len(found) > 1 else []):
            head, rest = (
                self._sentences(part) for part in (self._text[: cut.end()], self._text[cut.end() :])
            )
            if head and rest and _same(head + rest, found):
                head = [sentence.moved(self._done) for sentence in head]
                self._text = self._text[cut.end() :]
                self._done += cut.end()
                self._spoke = True
                return head
        return []

    def flush(self) -> list[Sentence]:
        """Return what is left, as if the text ended here; more may follow."""
        return self._rest(self._sentences(self._text))

    def finish(self) -> list[Sentence]:
        """Return what is left. Raises `TextError` where there was nothing to speak at all."""
        return self._rest(self._sentences(self._text) if self._spoke else self._split(self._text))

    def _rest(self, found: Sequence[Sentence]) -> list[Sentence]:
        rest = [sentence.moved(self._done) for sentence in found]
        self._done += len(self._text)
        self._text = ""
        self._spoke |= bool(rest)
        return rest

    def _sentences(self, text: str) -> list[Sentence]:
        try:
            return list(self._split(text))
        except TextError:  # nothing in it that can be spoken, as yet
            return []


def _same(some: list[Sentence], others: list[Sentence]) -> bool:
    return some == others and all(a.spelled == b.spelled for a, b in zip(some, others, strict=True))


def sentences_of(fragments: Iterable[str], split: Split) -> Iterator[Sentence]:
    """Return the sentences of fragments, each as soon as the next one begins.

    Whole sentences that `split` has made before are returned as they come.
    """
    sentences, whole = Fragments(split), False
    for fragment in fragments:
        if isinstance(fragment, Sentence):
            whole = True
            yield fragment
        else:
            yield from sentences.push(fragment)
    if not whole:
        yield from sentences.finish()


async def sentences_to_come(fragments: AsyncIterable[str], split: Split) -> AsyncIterator[Sentence]:
    """Return the same of fragments that are awaited."""
    sentences = Fragments(split)
    async for fragment in fragments:
        for sentence in sentences.push(fragment):
            yield sentence
    for sentence in sentences.finish():
        yield sentence
