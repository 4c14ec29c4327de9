"""Read a sentence: words to ids by the voice's spelling, ids to semantic tokens by the text stage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

import numpy as np

from ..bundle.manifest import Manifest, ParallelTextSchema, TextSchema
from ..engines.base import Engine
from ..errors import TextError
from ..text.spelling import Spelling
from .text_stage import AutoregressiveText, ParallelText, TextStage, TooLongError


@dataclass(frozen=True, eq=False)  # a part equals itself alone, and can be a key
class Part:
    """A sentence, or a part of one that is too long to be spoken at once.

    tokens: int64 [tokens]. rng: the stream of random numbers that everything in it is drawn from.
    """

    tokens: np.ndarray
    rng: np.random.Generator


@dataclass(frozen=True)
class Beginning:
    """The same while it is still being read.

    tokens: arrays int64 [tokens], one after the other; to be taken once. rng: as that of `Part`.
    """

    tokens: Iterator[np.ndarray]
    rng: np.random.Generator


class SentenceReader:
    """Reads sentences."""

    def __init__(
        self, manifest: Manifest, text: TextSchema, engines: Mapping[str, Engine], spelling: Spelling
    ) -> None:
        self._stage = _text_stage(manifest, text, engines, spelling.longest_unit)
        self._spelling = spelling
        self.sentences = spelling.sentences

    def read(
        self, sentence: str, seed: np.random.SeedSequence, *, stretch: float = 1.0, room: int | None = None
    ) -> list[Part]:
        """Give the semantic tokens of a sentence, in several parts where it is too long for one.

        seed: the sentence's own. stretch: of all durations. room: tokens that a part may have at most.
        Raises `TextError` for a sentence that cannot be spoken.
        """
        found = self._begin(sentence, seed, stretch, room, whole=True)
        return [Part(np.concatenate(list(part.tokens)), part.rng) for part in found]

    def read_as_made(
        self, sentence: str, seed: np.random.SeedSequence, *, stretch: float = 1.0
    ) -> Iterator[Beginning]:
        """Give the same, each part as soon as its first tokens are there; take all of one before the next.

        Raises `TextError` as `read` does, and for a part that turns out too long while it is being read.
        """
        return self._begin(sentence, seed, stretch, room=None, whole=False)

    def _begin(
        self, sentence: str, seed: np.random.SeedSequence, stretch: float, room: int | None, *, whole: bool
    ) -> Iterator[Beginning]:
        try:
            yield from self._parts(self._spelling.units(sentence), _streams(seed), stretch, room, whole)
        except TooLongError as error:
            raise TextError(f"{error} or put commas into it: {_excerpt(sentence)}") from error

    def _parts(
        self,
        units: list[str],
        streams: Iterator[np.random.Generator],
        stretch: float,
        room: int | None,
        whole: bool,
    ) -> Iterator[Beginning]:
        rng = next(streams)
        tokens = self._stage.tokens_as_made(self._spelling.ids(units), rng, stretch=stretch, room=room)
        try:
            begun = list(tokens) if whole else [next(tokens)]
        except TooLongError:
            halves = self._spelling.halves(units)
            if not halves:
                raise
            for half in halves:
                yield from self._parts(half, streams, stretch, room, whole)
        else:
            yield Beginning(chain(begun, tokens), rng)


def _text_stage(
    manifest: Manifest, text: TextSchema, engines: Mapping[str, Engine], longest_phone: float
) -> TextStage:
    """Make the text stage that the manifest names; it takes what the other graphs can take, too."""
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
    """Give a stream for a sentence, then one for each part that it has to be split into."""
    yield np.random.default_rng(seed)
    while True:
        yield np.random.default_rng(seed.spawn(1)[0])


def _excerpt(sentence: str) -> str:
    return repr(sentence if len(sentence) <= 60 else f"{sentence[:57]}...")
