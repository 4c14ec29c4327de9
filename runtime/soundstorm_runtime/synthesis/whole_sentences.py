"""Whole sentences to audio: one after the other, or those of several texts together in batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from ..errors import OptionError
from ..text.words import Sentence
from .acoustic_stage import AcousticStage
from .duration import distribute_silence, stretch_for
from .options import ResolvedOptions
from .sentence_reader import Part, SentenceReader

_ATTEMPTS = 6  # to read a text so that it lasts as long as asked


@dataclass(frozen=True)
class Utterance:
    """A sentence that was read: its parts, and the samples of silence before and after it."""

    parts: list[Part]
    silence: tuple[int, int]


class WholeSentences:
    """Reads sentences and synthesises each as a whole.

    Args:
        reader: The text stage.
        acoustics: The acoustic stage.
    """

    def __init__(self, reader: SentenceReader, acoustics: AcousticStage) -> None:
        self._reader, self._acoustics = reader, acoustics

    def read(
        self, sentences: Iterable[Sentence], options: ResolvedOptions, stretch: float | None = None
    ) -> Iterator[list[Part]]:
        """Read sentences, each in one part or several.

        Args:
            sentences: The sentences of one text.
            options: How it is spoken.
            stretch: Factor of all durations, in place of that of the options.
        """
        stretch, room = stretch or options.stretch, self._acoustics.room(options.prompt)
        for place, sentence in enumerate(sentences):
            # Each sentence has a random stream of its own, so that the sentences before do not change it.
            seed = np.random.SeedSequence(options.seed, spawn_key=(place,))
            yield self._reader.read(sentence, seed, stretch=stretch, room=room)

    def plan(self, sentences: Sequence[Sentence], options: ResolvedOptions) -> Iterator[Utterance]:
        """Read sentences and place the silence between them; with a duration, all of them at once.

        Raises:
            OptionError: The text cannot last as long as `options.duration` asks.
        """
        if options.duration is not None:
            return iter(self._fit(options.duration, sentences, options))
        return (
            Utterance(parts, (options.pause if place else 0, 0))
            for place, parts in enumerate(self.read(sentences, options))
        )

    def each(self, sentences: Sequence[Sentence], options: ResolvedOptions) -> Iterator[np.ndarray]:
        """Synthesise sentences one after the other: float32 [samples], with the silence around each."""
        planned = self.plan(
            sentences, options
        )  # at the call: a duration that is out of reach is refused here
        return (
            _joined(utterance, synthesise(self._acoustics, utterance.parts, options)) for utterance in planned
        )

    def together(
        self, texts: Sequence[Sequence[Sentence]], options: Sequence[ResolvedOptions]
    ) -> list[np.ndarray]:
        """Synthesise several texts, float32 [samples] each.

        Args:
            texts: The sentences of each text.
            options: How each text is spoken. Texts of one prompt and one set of decode options share batches.
        """
        planned = [list(self.plan(text, own)) for text, own in zip(texts, options, strict=True)]
        groups: dict[object, list[int]] = {}
        for place, own in enumerate(options):
            groups.setdefault((id(own.prompt), own.decode), []).append(place)
        audio: dict[Part, np.ndarray] = {}
        for places in groups.values():
            parts = [part for place in places for utterance in planned[place] for part in utterance.parts]
            audio |= synthesise(self._acoustics, parts, options[places[0]])
        return [np.concatenate([_joined(utterance, audio) for utterance in text]) for text in planned]

    def _fit(
        self, seconds: float, sentences: Sequence[Sentence], options: ResolvedOptions
    ) -> list[Utterance]:
        """Read sentences so that they and the silence between them last so many seconds."""
        rate, token = self._acoustics.sample_rate, self._acoustics.samples(1)
        silence = options.pause * (len(sentences) - 1)
        natural = token * _count(self.read(sentences, options))
        stretch = stretch_for(seconds, natural / rate, silence / rate)
        samples = round(seconds * rate)
        wanted = (samples - silence) // token
        # Durations are whole tokens, one a phone at least, so that they do not stretch evenly.
        for _ in range(_ATTEMPTS):
            read = list(self.read(sentences, options, stretch))
            found = _count(read)
            if wanted - len(sentences) <= found <= wanted:
                break
            stretch *= wanted / found
        silences = distribute_silence(samples - token * found, len(sentences))
        return [Utterance(parts, around) for parts, around in zip(read, silences, strict=True)]


def synthesise(
    acoustics: AcousticStage, parts: Sequence[Part], options: ResolvedOptions
) -> dict[Part, np.ndarray]:
    """Return the audio of each part, float32 [samples]."""
    codes = acoustics.codes(parts, options.decode, options.prompt)
    return {part: acoustics.audio(own, options.prompt) for part, own in zip(parts, codes, strict=True)}


def checked_tokens(tokens: np.ndarray, vocabulary: int, room: int) -> np.ndarray:
    """Return semantic tokens as int64 [tokens].

    Args:
        tokens: What the user gave.
        vocabulary: How many semantic tokens the voice knows.
        room: How many it can speak at once.

    Raises:
        OptionError: They have another shape or type, are out of range, or are too many.
    """
    if tokens.ndim != 1 or tokens.dtype.kind not in "iu" or not tokens.size:
        raise OptionError(
            f"semantic tokens are {tokens.dtype} {list(tokens.shape)}, expected integers [tokens]"
        )
    if tokens.min() < 0 or tokens.max() >= vocabulary:
        raise OptionError(
            f"semantic tokens go from {tokens.min()} to {tokens.max()}, expected 0 to {vocabulary - 1}; make "
            "them with the units that the voice was trained with"
        )
    if len(tokens) > room:
        raise OptionError(f"there are {len(tokens)} semantic tokens, expected at most {room}; split them")
    return tokens.astype(np.int64)


def _count(read: Iterable[list[Part]]) -> int:
    return sum(len(part.tokens) for part in chain.from_iterable(read))


def _joined(utterance: Utterance, audio: dict[Part, np.ndarray]) -> np.ndarray:
    """Join the audio of a sentence's parts, with the silence around it."""
    return np.pad(np.concatenate([audio[part] for part in utterance.parts]), utterance.silence)
