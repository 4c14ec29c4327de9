"""When each word and phone is spoken, from the durations of the text stage."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..text.spelling import Unit
from ..text.words import Word


@dataclass(frozen=True)
class PhoneTime:
    """A spoken phone.

    Attributes:
        phone: Its symbol.
        start: Seconds from the start of the speech.
        end: Seconds until the next phone or pause.
    """

    phone: str
    start: float
    end: float


@dataclass(frozen=True)
class MarkTime:
    """When the place is reached that SSML's `mark` names.

    Attributes:
        name: Its name.
        time: Seconds from the start of the speech: the start of the word behind it, or at the end of the
            text the end of the last word.
    """

    name: str
    time: float


@dataclass(frozen=True)
class WordTime:
    """A spoken word.

    Attributes:
        word: The word as it is spoken, in lower case: "hundred".
        start: Seconds from the start of the speech.
        end: Seconds until the next word or pause.
        span: Start and end in the original text of what the word was read from; `text[start:end]` is "$100"
            for each of the words "one hundred dollars".
        phones: Its phones.
        marks: The marks at its ends.
    """

    word: str
    start: float
    end: float
    span: tuple[int, int]
    phones: tuple[PhoneTime, ...]
    marks: tuple[MarkTime, ...] = ()

    def moved(self, seconds: float) -> WordTime:
        """Return the word spoken later by so many seconds."""
        phones = tuple(replace(p, start=p.start + seconds, end=p.end + seconds) for p in self.phones)
        marks = tuple(replace(mark, time=mark.time + seconds) for mark in self.marks)
        return replace(self, start=self.start + seconds, end=self.end + seconds, phones=phones, marks=marks)

    def to_json(self, text: str, *, phones: bool = True) -> dict[str, object]:
        """Return the word as JSON data.

        Args:
            text: The text that was spoken.
            phones: Whether to include the phones.
        """
        data: dict[str, object] = {
            "word": self.word,
            "start": round(self.start, 4),
            "end": round(self.end, 4),
            "text": text[slice(*self.span)],
            "span": list(self.span),
        }
        if self.marks:
            data["marks"] = [{"name": mark.name, "time": round(mark.time, 4)} for mark in self.marks]
        if phones:
            data["phones"] = [
                {"phone": phone.phone, "start": round(phone.start, 4), "end": round(phone.end, 4)}
                for phone in self.phones
            ]
        return data


@dataclass(frozen=True)
class TimedAudio:
    """Audio, and the words that begin in it.

    Attributes:
        audio: float32 [samples] in [-1, 1].
        words: Their times count from the start of the whole speech, also in the chunks of a stream.
    """

    audio: np.ndarray
    words: tuple[WordTime, ...] = ()


def word_times(
    words: Sequence[Word], units: Sequence[Unit], counts: np.ndarray, start: float, token: float
) -> Iterator[WordTime]:
    """Yield the times of the words in a part of a sentence.

    Args:
        words: The words of the sentence.
        units: Phones and pauses of the part, in order.
        counts: Semantic tokens of each of them, int64 [phones].
        start: Seconds at which the part starts.
        token: Seconds of one semantic token.
    """
    edges = start + token * np.concatenate([[0], np.cumsum(counts)])
    spoken: dict[int, list[PhoneTime]] = {}
    for place, unit in enumerate(units):
        if unit.word is not None:
            phone = PhoneTime(unit.text, float(edges[place]), float(edges[place + 1]))
            spoken.setdefault(unit.word, []).append(phone)
    for index, phones in spoken.items():
        word = words[index]
        start, end = phones[0].start, phones[-1].end
        marks = tuple(MarkTime(mark.name, end if mark.behind else start) for mark in word.marks)
        yield WordTime(word.text, start, end, (word.start, word.end), tuple(phones), marks)


def joined(pieces: Iterable[TimedAudio]) -> TimedAudio:
    """Return consecutive pieces as one."""
    all_pieces = list(pieces)
    audio = np.concatenate([piece.audio for piece in all_pieces])
    return TimedAudio(audio, tuple(word for piece in all_pieces for word in piece.words))
