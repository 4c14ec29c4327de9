"""The text stage on the device: phones to semantic tokens, in NumPy around any engine."""

from __future__ import annotations

import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ..engines.base import Engine
from ..errors import EngineError, TextError

_log = logging.getLogger(__name__)


class TooLongError(TextError):
    """A sentence is longer than the voice takes at once; its parts may be spoken one by one."""


@dataclass(frozen=True)
class TokenStream:
    """The semantic tokens of a sentence.

    Attributes:
        tokens: Arrays int64 [tokens] as they are made; can be iterated once.
        counts: Tokens of each phone, int64 [phones]; None where the stage has no durations.
    """

    tokens: Iterator[np.ndarray]
    counts: np.ndarray | None = None


class TextStage(ABC):
    """Phones to semantic tokens.

    Args:
        encoder: Engine of the graph `text_encoder`.
        max_tokens: Tokens that a sentence may have at most.

    Attributes:
        has_durations: Whether the tokens of each phone are known.
    """

    has_durations: bool

    def __init__(self, encoder: Engine, max_tokens: int) -> None:
        self._encoder = encoder
        self.max_tokens = max_tokens

    def semantic_tokens(
        self,
        phones: np.ndarray,
        rng: np.random.Generator,
        *,
        stretch: float = 1.0,
        room: int | None = None,
    ) -> np.ndarray:
        """Return all tokens that `start` makes, int64 [tokens]."""
        return np.concatenate(list(self.start(phones, rng, stretch=stretch, room=room).tokens))

    def start(
        self,
        phones: np.ndarray,
        rng: np.random.Generator,
        *,
        stretch: float = 1.0,
        room: int | None = None,
        lengths: np.ndarray | None = None,
    ) -> TokenStream:
        """Encode phones and start to make their semantic tokens.

        Args:
            phones: Ids, int64 [phones].
            rng: Source of the random numbers.
            stretch: Factor of all durations; above 1 is slower speech.
            room: Tokens that may be made, where that is less than `max_tokens`.
            lengths: Tokens of each phone, float [phones], NaN where the stage decides; an autoregressive
                stage decides on all of them.

        Raises:
            TooLongError: There are more phones or tokens than the voice takes at once; the tokens of an
                autoregressive stage may raise it while they are iterated.
        """
        self._check_phones(phones)
        most = self.max_tokens if room is None else min(room, self.max_tokens)
        encoded = self._encode(phones)
        if lengths is not None and "durations" in encoded:
            kept = np.isnan(lengths)
            own = np.where(kept, encoded["durations"][0] * stretch, np.maximum(lengths, 1))
            encoded, stretch = {**encoded, "durations": own[None]}, 1.0
        return self._from_encoded(encoded, len(phones), rng, stretch, most)

    def _check_phones(self, phones: np.ndarray) -> None:
        limit = self._encoder.axes["phones"].max
        if len(phones) > limit:
            raise TooLongError(f"a sentence has {len(phones)} phones, expected at most {limit}; shorten it")

    def _encode(self, phones: np.ndarray) -> dict[str, np.ndarray]:
        return self._encoder.run({"phones": phones[None], "lengths": np.array([len(phones)])})

    @abstractmethod
    def _from_encoded(
        self,
        encoded: dict[str, np.ndarray],
        phones: int,
        rng: np.random.Generator,
        stretch: float,
        most: int,
    ) -> TokenStream:
        """Make at most `most` tokens of the outputs of the encoder for so many phones."""


def _too_long(tokens: str, most: int) -> TooLongError:
    return TooLongError(f"a sentence has {tokens} semantic tokens, expected at most {most}; shorten it")


class ParallelText(TextStage):
    """Durations first, then all tokens at once, so that no phone is skipped or repeated.

    Args:
        encoder: Engine of the graph `text_encoder`.
        decoder: Engine of the graph `text_decoder`.
        max_tokens: Tokens that a sentence may have at most.
    """

    has_durations = True

    def __init__(self, encoder: Engine, decoder: Engine, max_tokens: int) -> None:
        super().__init__(encoder, max_tokens)
        self._decoder = decoder

    def planned(
        self, phones: np.ndarray, plan: Callable[[np.ndarray], np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Make tokens with durations that the caller plans.

        Args:
            phones: Ids, int64 [phones].
            plan: Returns the tokens of each phone, int64 [phones], each at least 1, for the durations that
                the stage predicts, float32 [phones] in tokens.
        """
        self._check_phones(phones)
        encoded = self._encode(phones)
        counts = plan(encoded["durations"][0])
        stream = self._with_counts(encoded, counts, self.max_tokens)
        return np.concatenate(list(stream.tokens)), counts

    def _from_encoded(
        self,
        encoded: dict[str, np.ndarray],
        phones: int,
        rng: np.random.Generator,
        stretch: float,
        most: int,
    ) -> TokenStream:
        return self._with_counts(encoded, token_counts(encoded["durations"][0] * stretch), most)

    def _with_counts(self, encoded: dict[str, np.ndarray], counts: np.ndarray, most: int) -> TokenStream:
        total, phones = int(counts.sum()), len(counts)
        if total > most:
            raise _too_long(str(total), most)
        starts = np.cumsum(counts) - counts
        progress = (np.arange(total) - np.repeat(starts, counts)) / np.repeat(counts, counts)
        feeds = {
            "hidden": encoded["hidden"],
            "phone_index": np.repeat(np.arange(phones), counts)[None],
            "progress": progress.astype(np.float32)[None],
            "lengths": np.array([total]),
        }
        return TokenStream(self._decode(feeds), counts)

    def _decode(self, feeds: dict[str, np.ndarray]) -> Iterator[np.ndarray]:
        yield self._decoder.run(feeds)["semantic_tokens"][0]


class AutoregressiveText(TextStage):
    """One token after the other, with the key/value cache as inputs and outputs of the graph.

    The id `vocabulary` starts and ends a sequence. Speed is applied to the tokens, one for each stretch of
    time: slower speech repeats some of them, faster speech leaves some out.
    Source: SPEAR-TTS, arXiv 2302.03540.

    Args:
        encoder: Engine of the graph `text_encoder`.
        step: Engine of the graph `text_step`.
        max_tokens: Tokens that a sentence may have at most.
        vocabulary: Number of semantic tokens.
        rate: Semantic tokens a second.
        temperature: Sampling temperature of the tokens; 0 takes the most likely one.
        longest_phone: Seconds; a sentence that is longer than its phones at this length has gone astray, and
            is cut there.
    """

    has_durations = False

    def __init__(
        self,
        encoder: Engine,
        step: Engine,
        max_tokens: int,
        vocabulary: int,
        rate: int,
        temperature: float = 0.0,
        longest_phone: float = 0.4,
    ) -> None:
        super().__init__(encoder, max_tokens)
        self._step = step
        self._vocabulary = vocabulary
        self._rate = rate
        self._temperature = temperature
        self._longest_phone = longest_phone

    def _from_encoded(
        self,
        encoded: dict[str, np.ndarray],
        phones: int,
        rng: np.random.Generator,
        stretch: float,
        most: int,
    ) -> TokenStream:
        return TokenStream(self._tokens(encoded, phones, rng, stretch, most))

    def _tokens(
        self,
        encoded: dict[str, np.ndarray],
        phones: int,
        rng: np.random.Generator,
        stretch: float,
        most: int,
    ) -> Iterator[np.ndarray]:
        layers, batch, heads, _, dim_head = encoded["cross_keys"].shape
        empty = np.zeros((layers, batch, heads, 0, dim_head), np.float32)
        state = {"keys": empty, "values": empty}
        limit = max(1, round(self._longest_phone * phones * self._rate))
        end = last = self._vocabulary
        for made in range(limit):
            given, more = (math.ceil(round(count * stretch, 6)) for count in (made, made + 1))
            if given > most:
                raise _too_long(f"more than {most}", most)
            token = {"token": np.array([last]), "lengths": np.array([phones])}
            results = self._step.run({**token, **encoded, **state})
            state = {"keys": results["next_keys"], "values": results["next_values"]}
            logits = results["logits"][0]
            if not made:
                logits = logits[:end]  # a sentence has one token at least
            last = _sample(logits, self._temperature, rng)
            if last == end:
                return
            if more > given:
                yield np.full(more - given, last)
        _log.warning(
            "a sentence of %d phones did not end within %d semantic tokens; cut there", phones, limit
        )


def token_counts(durations: np.ndarray) -> np.ndarray:
    """Round durations to whole tokens, each at least 1.

    The ends of the phones are rounded, not their lengths: errors carry over to the next phone instead of
    adding up, and what is added to a very short phone is taken from those after it.

    Args:
        durations: float [phones] in tokens.

    Returns:
        int64 [phones].

    Raises:
        EngineError: A duration is not a positive number.
    """
    if not (np.isfinite(durations).all() and (durations > 0).all()):
        raise EngineError(
            "the text encoder returned a duration that is not a positive number; "
            "export the voice again with soundstorm-export"
        )
    ends = np.rint(np.cumsum(durations, dtype=np.float64)).astype(np.int64)
    place = np.arange(1, len(ends) + 1)
    # The smallest ends that are not before the rounded ones and grow by 1 at least.
    ends = np.maximum(np.maximum.accumulate(ends - place), 0) + place
    return np.diff(ends, prepend=0)


def _sample(logits: np.ndarray, temperature: float, rng: np.random.Generator) -> int:
    """Sample a token from logits, float32 [tokens]."""
    if temperature == 0:
        return int(logits.argmax())
    scaled = (logits - logits.max()).astype(np.float64) / temperature
    cumulative = np.cumsum(np.exp(scaled))
    token = np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right")
    return min(int(token), len(logits) - 1)  # the product may round up to the very end
