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
from .word_times import TimedAudio, WordTime

_ATTEMPTS = 6  # to read a text so that it lasts as long as asked


@dataclass(frozen=True)
class Utterance:
    """A sentence that was read.

    Attributes:
        sentence: The sentence.
        parts: Its parts.
        before: Samples of silence before it.
        after: Samples of silence after it.
        volume: Factor of its amplitude.
    """

    sentence: Sentence
    parts: list[Part]
    before: int
    after: int
    volume: float


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
        for place, sentence in enumerate(sentences):
            # Each sentence has a random stream of its own, so that the sentences before do not change it.
            seed = np.random.SeedSequence(options.seed, spawn_key=(place,))
            own = options.styled(sentence.style)
            factor = (stretch or options.stretch) / sentence.style.speed
            room = self._acoustics.room(own.prompt)
            yield self._reader.read(sentence, seed, stretch=factor, room=room, pauses=options.mark_pauses)

    def plan(self, sentences: Sequence[Sentence], options: ResolvedOptions) -> Iterator[Utterance]:
        """Read sentences and place the silence between them; with a duration, all of them at once.

        Raises:
            OptionError: The text cannot last as long as `options.duration` asks.
        """
        for sentence in sentences:
            options.styled(sentence.style)  # a voice that the bundle does not have is refused here
        if options.duration is not None:
            return iter(self._fit(options.duration, sentences, options))
        read, silences = self.read(sentences, options), self._silences(sentences, options)
        return _utterances(sentences, read, silences, options)

    def each(
        self, sentences: Sequence[Sentence], options: ResolvedOptions, *, times: bool = False
    ) -> Iterator[TimedAudio]:
        """Synthesise sentences one after the other, with the silence around each.

        Args:
            sentences: The sentences of one text.
            options: How it is spoken.
            times: Whether to return the times of the words.
        """
        # At the call, where a duration that is out of reach is refused.
        return self._each(self.plan(sentences, options), options, times)

    def _each(
        self, planned: Iterator[Utterance], options: ResolvedOptions, times: bool
    ) -> Iterator[TimedAudio]:
        samples = 0
        for utterance in planned:
            own = options.styled(utterance.sentence.style)
            audio = sentence_audio(utterance, synthesise(self._acoustics, utterance.parts, own))
            words = self.word_times(utterance, samples) if times else ()
            samples += len(audio)
            yield TimedAudio(audio, tuple(words))

    def word_times(self, utterance: Utterance, samples: int) -> Iterator[WordTime]:
        """Yield the times of the words of a sentence that starts after so many samples."""
        samples += utterance.before
        for part in utterance.parts:
            yield from self._acoustics.word_times(utterance.sentence, part, samples)
            samples += self._acoustics.samples(len(part.tokens))

    def together(
        self, texts: Sequence[Sequence[Sentence]], options: Sequence[ResolvedOptions]
    ) -> list[np.ndarray]:
        """Synthesise several texts, float32 [samples] each.

        Args:
            texts: The sentences of each text.
            options: How each text is spoken. Texts of one prompt and one set of decode options share batches.
        """
        planned = [list(self.plan(text, own)) for text, own in zip(texts, options, strict=True)]
        groups: dict[object, tuple[ResolvedOptions, list[Part]]] = {}
        for text, own in zip(planned, options, strict=True):
            for utterance in text:
                styled = own.styled(utterance.sentence.style)
                _, parts = groups.setdefault((id(styled.prompt), styled.decode), (styled, []))
                parts += utterance.parts
        audio: dict[Part, np.ndarray] = {}
        for own, parts in groups.values():
            audio |= synthesise(self._acoustics, parts, own)
        return [np.concatenate([sentence_audio(utterance, audio) for utterance in text]) for text in planned]

    def _silences(self, sentences: Sequence[Sentence], options: ResolvedOptions) -> list[tuple[int, int]]:
        """Return the samples of silence before and after each sentence."""
        return [
            (
                options.pause_after(sentences[place - 1]) if place else 0,
                self._acoustics.silence(sentence),
            )
            for place, sentence in enumerate(sentences)
        ]

    def _fit(
        self, seconds: float, sentences: Sequence[Sentence], options: ResolvedOptions
    ) -> list[Utterance]:
        """Read sentences so that they and the silence between them last so many seconds."""
        rate, token = self._acoustics.sample_rate, self._acoustics.samples(1)
        silences = self._silences(sentences, options)
        silence = sum(map(sum, silences))
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
        silences = distribute_silence(samples - token * found, silences)
        return list(_utterances(sentences, read, silences, options))


def _utterances(
    sentences: Iterable[Sentence],
    read: Iterable[list[Part]],
    silences: Iterable[tuple[int, int]],
    options: ResolvedOptions,
) -> Iterator[Utterance]:
    for sentence, parts, (before, after) in zip(sentences, read, silences, strict=True):
        yield Utterance(sentence, parts, before, after, options.volume * sentence.style.volume)


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


def sentence_audio(utterance: Utterance, audio: dict[Part, np.ndarray]) -> np.ndarray:
    """Join the audio of a sentence's parts, with the silence around it."""
    around = utterance.before, utterance.after
    speech = np.concatenate([audio[part] for part in utterance.parts])
    return np.pad(adjusted(speech, utterance.volume), around)


def adjusted(audio: np.ndarray, volume: float) -> np.ndarray:
    """Return audio with another volume, a factor of the amplitude; what would be louder than 1 is clipped."""
    return audio if volume == 1 else np.clip(audio * np.float32(volume), -1, 1)
