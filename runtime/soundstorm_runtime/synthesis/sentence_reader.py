"""A sentence to semantic tokens: the voice's spelling makes ids of it, the text stage tokens of the ids."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain

import numpy as np

from ..bundle.manifest import Manifest, ParallelTextSchema, TextSchema
from ..bundle.token_alignment import TokenAlignment
from ..engines.base import Engine
from ..errors import OptionError, TextError
from ..text.spelling import Spelling, Unit
from ..text.words import Sentence
from .text_stage import AutoregressiveText, ParallelText, TextStage, TooLongError


@dataclass(frozen=True, eq=False)  # compared by identity, so that a part can be a key
class Part:
    """A sentence, or a part of one that is too long to be spoken at once.

    Attributes:
        tokens: Semantic tokens, int64 [tokens].
        rng: The random stream that everything in the part draws from.
        units: Its phones and pauses.
        counts: Tokens of each of them, int64 [units]; None where they are not known.
    """

    tokens: np.ndarray
    rng: np.random.Generator
    units: Sequence[Unit] = ()
    counts: np.ndarray | None = None


@dataclass(frozen=True)
class PartInProgress:
    """A part whose semantic tokens are still being made.

    Attributes:
        tokens: Arrays int64 [tokens], one after the other; can be iterated once.
        rng: The random stream that everything in the part draws from.
        units: Its phones and pauses.
        counts: Tokens of each of them, int64 [units]; None where they are not known, or not yet.
    """

    tokens: Iterator[np.ndarray]
    rng: np.random.Generator
    units: Sequence[Unit]
    counts: np.ndarray | None


@dataclass(frozen=True)
class _Pace:
    """How long the parts of a sentence last: the arguments of `SentenceReader.read`."""

    stretch: float
    room: int | None
    pauses: Mapping[str, float]

    def lengths(self, units: Sequence[Unit], rate: int) -> np.ndarray | None:
        """Return the tokens of each unit, float [units], NaN where the stage decides; None: everywhere."""
        if not self.pauses:
            return None
        seconds = np.array([self.pauses.get(unit.mark, np.nan) for unit in units])
        return seconds * self.stretch * rate


class SentenceReader:
    """Turns sentences into semantic tokens.

    Args:
        manifest: Manifest of the voice.
        text: Its text stage.
        engines: The engine of each graph.
        spelling: How text becomes ids.
        alignment: Finds the times of phones where the text stage has no durations.

    Attributes:
        has_durations: Whether the text stage decides on the durations of phones.
        has_times: Whether the times of phones are known once the tokens are made.
    """

    def __init__(
        self,
        manifest: Manifest,
        text: TextSchema,
        engines: Mapping[str, Engine],
        spelling: Spelling,
        alignment: TokenAlignment | None = None,
    ) -> None:
        self._stage = _text_stage(manifest, text, engines, spelling.longest_unit)
        self._spelling = spelling
        self._rate = manifest.semantic.rate
        self._alignment = alignment
        self.has_durations = self._stage.has_durations
        self.has_times = self.has_durations or alignment is not None
        self.sentences = spelling.sentences

    def read(
        self,
        sentence: Sentence,
        seed: np.random.SeedSequence,
        *,
        stretch: float = 1.0,
        room: int | None = None,
        pauses: Mapping[str, float] = {},
    ) -> list[Part]:
        """Return a sentence in one part, or in several where it is too long for one.

        Args:
            sentence: One of those that `sentences` returned.
            seed: Seed of this sentence.
            stretch: Factor of all durations.
            room: Semantic tokens that a part may have at most.
            pauses: Seconds of the pause that a mark within the sentence makes, where the text stage does not
                decide; they are stretched, too.

        Raises:
            TextError: The sentence cannot be spoken.
        """
        found = self._begin(sentence, seed, _Pace(stretch, room, pauses), whole=True)
        return [Part(np.concatenate(list(part.tokens)), part.rng, part.units, part.counts) for part in found]

    def read_as_made(
        self,
        sentence: Sentence,
        seed: np.random.SeedSequence,
        *,
        stretch: float = 1.0,
        pauses: Mapping[str, float] = {},
        times: bool = False,
    ) -> Iterator[PartInProgress]:
        """Yield each part as soon as its first tokens exist; consume the tokens of one before the next.

        Args:
            sentence: One of those that `sentences` returned.
            seed: Seed of this sentence.
            stretch: Factor of all durations.
            pauses: As in `read`.
            times: Whether `counts` are needed; a stage without durations then makes all tokens of a part
                before it is returned.

        Raises:
            TextError: The sentence cannot be spoken, or a part turns out too long while its tokens are made.
        """
        whole = times and not self.has_durations
        return self._begin(sentence, seed, _Pace(stretch, None, pauses), whole=whole)

    def read_planned(
        self,
        sentence: Sentence,
        rng: np.random.Generator,
        plan: Callable[[Sequence[Unit], np.ndarray], np.ndarray],
    ) -> tuple[Part, np.ndarray]:
        """Return a sentence in one part, with durations that the caller plans, and these, int64 [units].

        Args:
            sentence: The sentence.
            rng: The random stream of the part.
            plan: Returns the tokens of each unit, int64 [units], for the units and the durations that the
                text stage predicts, float32 [units] in tokens.

        Raises:
            TextError: The sentence is too long for one part.
            OptionError: The text stage has no durations.
        """
        if not isinstance(self._stage, ParallelText):
            raise OptionError("an autoregressive text stage has no durations that can be planned")
        units = self._spelling.units(sentence)
        try:
            tokens, counts = self._stage.planned(self._spelling.ids(units), partial(plan, units))
            return Part(tokens, rng, units, counts), counts
        except TooLongError as error:
            raise TextError(f"{error}: {_excerpt(sentence)}") from error

    def _begin(
        self, sentence: Sentence, seed: np.random.SeedSequence, pace: _Pace, *, whole: bool
    ) -> Iterator[PartInProgress]:
        try:
            yield from self._parts(self._spelling.units(sentence), _streams(seed), pace, whole)
        except TooLongError as error:
            raise TextError(f"{error} or put commas into it: {_excerpt(sentence)}") from error

    def _parts(
        self,
        units: list[Unit],
        streams: Iterator[np.random.Generator],
        pace: _Pace,
        whole: bool,
    ) -> Iterator[PartInProgress]:
        rng = next(streams)
        try:
            lengths = pace.lengths(units, self._rate)
            ids = self._spelling.ids(units)
            stream = self._stage.start(ids, rng, stretch=pace.stretch, room=pace.room, lengths=lengths)
            begun = list(stream.tokens) if whole else [next(stream.tokens)]
        except TooLongError:
            halves = self._spelling.halves(units)
            if not halves:
                raise
            for half in halves:
                yield from self._parts(half, streams, pace, whole)
        else:
            counts = stream.counts
            if counts is None and whole and self._alignment is not None:
                counts = self._alignment.counts(ids, np.concatenate(begun))
            yield PartInProgress(chain(begun, stream.tokens), rng, units, counts)


def _text_stage(
    manifest: Manifest, text: TextSchema, engines: Mapping[str, Engine], longest_phone: float
) -> TextStage:
    """Return the text stage that the manifest names, limited to what the other graphs can take."""
    encoder = engines["text_encoder"]
    axes = encoder.axes  # an engine may take less than the voice could
    frames = axes["frames"].max // manifest.frames_per_token
    if isinstance(text, ParallelTextSchema):
        return ParallelText(encoder, engines["text_decoder"], min(frames, axes["tokens"].max))
    semantic, limit = manifest.semantic, min(frames, axes["past"].max)
    return AutoregressiveText(
        encoder, engines["text_step"], limit, semantic.vocabulary, semantic.rate, longest_phone=longest_phone
    )


def _streams(seed: np.random.SeedSequence) -> Iterator[np.random.Generator]:
    """Yield the random stream of a sentence, then one for each part that it has to be split into."""
    yield np.random.default_rng(seed)
    while True:
        yield np.random.default_rng(seed.spawn(1)[0])


def _excerpt(sentence: Sentence) -> str:
    return repr(sentence if len(sentence) <= 60 else f"{sentence[:57]}...")
