"""Read a sentence: words to phones by the lexicon, phones to semantic tokens by the text stage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from .engine import Engine
from .errors import BundleError, TextError
from .lexicon import Lexicon
from .manifest import Manifest, ParallelTextFacts, TextFacts
from .semantic import AutoregressiveText, ParallelText, TextStage, TooLongError

PAUSE = "pau"  # the phone of silence: at both ends of a sentence and at its phrase breaks


@dataclass(frozen=True, eq=False)  # a part equals itself alone, and can be a key
class Part:
    """A sentence, or a part of one that is too long to be spoken at once.

    tokens: int64 [tokens]. rng: the stream of random numbers that everything in it is drawn from.
    """

    tokens: np.ndarray
    rng: np.random.Generator


class Reader:
    """Reads sentences. `can_stretch` tells whether it reads at any pace."""

    def __init__(
        self, manifest: Manifest, text: TextFacts, engines: Mapping[str, Engine], lexicon: Lexicon
    ) -> None:
        self._stage = _text_stage(manifest, text, engines)
        self._lexicon = lexicon
        self._name = manifest.name
        self._ids = {symbol: place for place, symbol in enumerate(text.symbols)}
        self.can_stretch = self._stage.can_stretch

    def read(
        self, sentence: str, seed: np.random.SeedSequence, *, stretch: float = 1.0, room: int | None = None
    ) -> list[Part]:
        """Give the semantic tokens of a sentence, in several parts where it is too long for one.

        seed: the sentence's own. stretch: of all durations. room: tokens that a part may have at most.
        Raises `TextError` for a sentence that cannot be spoken.
        """
        try:
            return list(self._parts(self._lexicon.phones(sentence), _streams(seed), stretch, room))
        except TooLongError as error:
            raise TextError(f"{error} or put commas into it: {_excerpt(sentence)}") from error

    def _parts(
        self, phones: list[str], streams: Iterator[np.random.Generator], stretch: float, room: int | None
    ) -> Iterator[Part]:
        rng = next(streams)
        try:
            yield Part(self._stage.semantic_tokens(self._of(phones), rng, stretch=stretch, room=room), rng)
        except TooLongError:
            halves = _split_at_break(phones)
            if not halves:
                raise
            for half in halves:
                yield from self._parts(half, streams, stretch, room)

    def _of(self, phones: list[str]) -> np.ndarray:
        try:
            return np.array([self._ids[phone] for phone in phones], np.int64)
        except KeyError as error:
            raise BundleError(
                f"the lexicon of voice '{self._name}' has the phone {error.args[0]!r}, "
                f"expected one of {', '.join(self._ids)}; export it again with soundstorm-export"
            ) from error


def _text_stage(manifest: Manifest, text: TextFacts, engines: Mapping[str, Engine]) -> TextStage:
    """Make the text stage that the manifest names; it takes what the other graphs can take, too."""
    axes, encoder = manifest.axes, engines["text_encoder"]
    frames = axes["frames"].max // manifest.frames_per_token
    if isinstance(text, ParallelTextFacts):
        return ParallelText(encoder, engines["text_decoder"], min(frames, axes["tokens"].max))
    semantic, limit = manifest.semantic, min(frames, axes["past"].max)
    return AutoregressiveText(encoder, engines["text_step"], limit, semantic.vocabulary, semantic.rate)


def _streams(seed: np.random.SeedSequence) -> Iterator[np.random.Generator]:
    """Give a stream for a sentence, then one for each part that it has to be split into."""
    yield np.random.default_rng(seed)
    while True:
        yield np.random.default_rng(seed.spawn(1)[0])


def _split_at_break(phones: list[str]) -> list[list[str]]:
    """Split phones at the phrase break nearest to the middle, or give nothing where there is none."""
    breaks = [place for place, phone in enumerate(phones) if phone == PAUSE and 0 < place < len(phones) - 1]
    if not breaks:
        return []
    middle = min(breaks, key=lambda place: abs(place - len(phones) / 2))
    return [phones[: middle + 1], phones[middle:]]


def _excerpt(sentence: str) -> str:
    return repr(sentence if len(sentence) <= 60 else f"{sentence[:57]}...")
