"""What reading a text results in: sentences, and the words that are spoken in them.

`split_sentences(text)` returns `Sentence`s. Each is the string that is spoken, as it was written, and
carries its words; a text is therefore read once, and everything later takes words from the sentence.
Every word has the span of the ORIGINAL text that it was read from: the three words of "$100" (one hundred
dollars) all have the span of "$100", so word times can be shown on the text that the user gave.
`Lexicon.spoken(sentence.words)` returns the phones of each word and the pause after it, in the same order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

PAUSES = ",;:.?!"


class Mark(NamedTuple):
    """A place in a text that SSML's `mark` names.

    Args:
        name: Its name.
        behind: Whether it is where its word ends, as at the end of a text; else where the word begins.
    """

    name: str
    behind: bool = False


class Word(NamedTuple):
    """A spoken word.

    Args:
        text: Letters a to z in lower case, with apostrophes inside; the letter a by its name is `ay`.
        start: Where the original text has what it was read from.
        end: The place after it.
        pause: One of `PAUSES`, or empty where the next word follows at once.
        phones: Phones to speak in place of those of the lexicon, separated by spaces; None for those.
        marks: The marks at its ends.
    """

    text: str
    start: int
    end: int
    pause: str = ""
    phones: str | None = None
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True, slots=True)
class Style:
    """How markup asks for a stretch to be spoken, relative to the options of the synthesis.

    Args:
        speed: Factor of the speech rate.
        volume: Factor of the amplitude; 0 is silent.
        voice: A named voice; None for that of the options.
    """

    speed: float = 1.0
    volume: float = 1.0
    voice: str | None = None


class Sentence(str):
    """A sentence as it was written, with the words that are spoken.

    Args:
        text: The sentence with single spaces.
        words: Its words, in order.
        silence: Seconds of silence after it that the text asks for; None for the usual pause.
        style: How markup asks for it to be spoken.
        ends_paragraph: Whether a blank line follows it, or in SSML the end of `p`.
    """

    __slots__ = ("ends_paragraph", "silence", "style", "words")

    words: tuple[Word, ...]
    silence: float | None
    style: Style
    ends_paragraph: bool

    def __new__(
        cls,
        text: str,
        words: Iterable[Word],
        silence: float | None = None,
        style: Style = Style(),
        ends_paragraph: bool = False,
    ) -> Sentence:
        """Make a string that carries its words."""
        self = super().__new__(cls, text)
        self.words = tuple(words)
        self.silence = silence
        self.style = style
        self.ends_paragraph = ends_paragraph
        return self

    @property
    def start(self) -> int:
        """Where the original text has its first word."""
        return self.words[0].start

    @property
    def end(self) -> int:
        """Where the original text goes on after its last word."""
        return max(word.end for word in self.words)

    @property
    def spelled(self) -> str:
        """The words with their pauses: `doctor smith paid three dollars fifty cents twice.`."""
        return " ".join(word.text + word.pause for word in self.words)

    def moved(self, places: int) -> Sentence:
        """Return the sentence as part of a text that has so many more characters before it."""
        words = (word._replace(start=word.start + places, end=word.end + places) for word in self.words)
        return Sentence(self, words, self.silence, self.style, self.ends_paragraph)


class ReadText(list[Sentence]):
    """The sentences of a text that was read; whatever takes a text takes them in its place."""
