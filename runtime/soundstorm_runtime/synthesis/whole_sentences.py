"""Whole sentences to audio: one after the other, several texts together, or all in a given time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain

import numpy as np

from ..errors import OptionError
from .acoustic_stage import AcousticStage
from .duration import silences, stretch_for
from .options import Manner
from .sentence_reader import Part, SentenceReader

_READINGS = 6  # of a text of given length, until it fits


class WholeSentences:
    """Reads sentences, and speaks each as a whole."""

    def __init__(self, reader: SentenceReader, acoustics: AcousticStage) -> None:
        self._reader, self._acoustics = reader, acoustics

    def read(
        self, sentences: Iterable[str], manner: Manner, stretch: float | None = None
    ) -> Iterator[list[Part]]:
        """Read sentences, each in one part or several; `stretch` takes the place of the manner's."""
        stretch, room = stretch or manner.stretch, self._acoustics.room(manner.prompt)
        for place, sentence in enumerate(sentences):
            # A stream of its own for each sentence: what is said before does not change it.
            seed = np.random.SeedSequence(manner.seed, spawn_key=(place,))
            yield self._reader.read(sentence, seed, stretch=stretch, room=room)

    def each(self, sentences: Sequence[str], manner: Manner) -> Iterator[np.ndarray]:
        """Speak sentences: float32 [samples] of each, those after the first with the gap before them."""
        return self._each(self.read(sentences, manner), _gaps(len(sentences), manner), manner)

    def within(self, seconds: float, sentences: Sequence[str], manner: Manner) -> Iterator[np.ndarray]:
        """Speak sentences so that all of it lasts so long. Raises `OptionError` where that cannot be."""
        rate, token = self._acoustics.sample_rate, self._acoustics.samples(1)
        silence = manner.gap * (len(sentences) - 1)
        natural = token * _tokens(self.read(sentences, manner))
        stretch = stretch_for(seconds, natural / rate, silence / rate)
        samples = round(seconds * rate)
        wanted = (samples - silence) // token
        for _ in range(_READINGS):  # whole tokens, and at least one a phone, do not stretch evenly
            read = list(self.read(sentences, manner, stretch))
            found = _tokens(read)
            if wanted - len(sentences) <= found <= wanted:
                break
            stretch *= wanted / found
        return self._each(read, silences(samples - token * found, len(sentences)), manner)

    def together(self, texts: Sequence[Sequence[str]], manners: Sequence[Manner]) -> list[np.ndarray]:
        """Speak several texts, each given as its sentences; all are decoded with the same options."""
        read = [list(self.read(text, manner)) for text, manner in zip(texts, manners, strict=True)]
        audio: dict[Part, np.ndarray] = {}
        for manner in {id(manner.prompt): manner for manner in manners}.values():
            # Prompts differ in length, and within a batch they must not.
            alike = (text for text, own in zip(read, manners, strict=True) if own.prompt is manner.prompt)
            audio |= sound(self._acoustics, list(chain.from_iterable(chain.from_iterable(alike))), manner)
        return [
            np.concatenate(_joined(text, audio, _gaps(len(text), manner)))
            for text, manner in zip(read, manners, strict=True)
        ]

    def _each(
        self, read: Iterable[list[Part]], gaps: Sequence[tuple[int, int]], manner: Manner
    ) -> Iterator[np.ndarray]:
        """Speak sentences that were read, with so many samples of silence before and after each."""
        for parts, gap in zip(read, gaps, strict=True):
            yield from _joined([parts], sound(self._acoustics, parts, manner), [gap])


def sound(acoustics: AcousticStage, parts: Sequence[Part], manner: Manner) -> dict[Part, np.ndarray]:
    """Make audio, float32 [samples], of each part."""
    codes = acoustics.codes(parts, manner.options, manner.prompt)
    return {part: acoustics.audio(own, manner.prompt) for part, own in zip(parts, codes, strict=True)}


def checked_tokens(tokens: np.ndarray, count: int, room: int) -> np.ndarray:
    """Return semantic tokens as int64 [tokens]; each must be below `count`, and all within `room`."""
    if tokens.ndim != 1 or tokens.dtype.kind not in "iu" or not tokens.size:
        raise OptionError(
            f"semantic tokens are {tokens.dtype} {list(tokens.shape)}, expected integers [tokens]"
        )
    if tokens.min() < 0 or tokens.max() >= count:
        raise OptionError(
            f"semantic tokens go from {tokens.min()} to {tokens.max()}, expected 0 to {count - 1}; make "
            "them with the units that the voice was trained with"
        )
    if len(tokens) > room:
        raise OptionError(f"there are {len(tokens)} semantic tokens, expected at most {room}; split them")
    return tokens.astype(np.int64)


def _gaps(sentences: int, manner: Manner) -> list[tuple[int, int]]:
    """Give the samples of silence before and after each sentence of a text."""
    return [(manner.gap if place else 0, 0) for place in range(sentences)]


def _tokens(read: Iterable[list[Part]]) -> int:
    return sum(len(part.tokens) for parts in read for part in parts)


def _joined(
    read: Sequence[list[Part]], audio: Mapping[Part, np.ndarray], gaps: Sequence[tuple[int, int]]
) -> list[np.ndarray]:
    """Join the parts of each sentence, with so many samples of silence before and after them."""
    sentences = (np.concatenate([audio[part] for part in parts]) for parts in read)
    return [np.pad(sentence, gap) for sentence, gap in zip(sentences, gaps, strict=True)]
