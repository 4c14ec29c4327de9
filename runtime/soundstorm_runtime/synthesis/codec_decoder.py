"""Codes to audio by the codec's decoder, of one utterance that may come in pieces.

What a piece is joined to is carried from one to the next, so that all pieces together are the sound of the
whole: there is nothing to fade over.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import numpy as np

from ..audio.inverse_stft import InverseStft, inverse_stft
from ..bundle.manifest import AudioSchema
from ..engines.base import Engine
from ..errors import EngineError


class CodecDecoder(ABC):
    """Decodes one utterance. What `push` gives, all together, has `hop` samples for each frame.

    context: codes int64 [frames, levels] that come before, and whose own sound is left out.
    """

    def __init__(self, facts: AudioSchema, context: np.ndarray) -> None:
        self._facts = facts
        self._codes = context  # those that the next piece has to be decoded with
        self._skip = len(context) * facts.hop

    def push(self, codes: np.ndarray, last: bool = False) -> np.ndarray:
        """Take codes int64 [frames, levels]; give float32 [samples] in [-1, 1] that no later ones change.

        last: whether the utterance ends with them. Raises `EngineError` for samples that are no numbers.
        """
        self._codes = np.concatenate([self._codes, codes])
        audio = self._decode(last)
        if not np.isfinite(audio).all():
            raise EngineError(
                "the codec's decoder gave samples that are not finite numbers; "
                "try another provider or precision, or export the voice again with soundstorm-export"
            )
        skipped = min(self._skip, len(audio))
        self._skip -= skipped
        return np.clip(audio[skipped:], -1, 1)

    @abstractmethod
    def _decode(self, last: bool) -> np.ndarray:
        """Decode what can be decoded of `_codes`, and keep there what later ones need."""


class WholeDecoder(CodecDecoder):
    """Waits for the last codes and decodes them all at once, with any codec."""

    def __init__(self, facts: AudioSchema, context: np.ndarray, decoder: Engine) -> None:
        super().__init__(facts, context)
        self._decoder = decoder

    def _decode(self, last: bool) -> np.ndarray:
        if not last:
            return np.zeros(0, np.float32)
        decoded = self._decoder.run({"codes": self._codes[None]})
        if self._facts.codec == "spectral":
            return inverse_stft(decoded["spectrum"], self._facts.window, self._facts.stft_hop)[0]
        return decoded["audio"][0]


class SpectralStreamDecoder(CodecDecoder):
    """Decodes a spectrum with the frames before and after it that it depends on, and joins by overlap.

    It is late by `AudioSchema.lookahead` frames, and by the overlap of the windows.
    """

    def __init__(self, facts: AudioSchema, context: np.ndarray, decoder: Engine) -> None:
        super().__init__(facts, context)
        self._decoder = decoder
        self._reach = facts.context or 0, facts.lookahead or 0
        self._before = 0  # frames of `_codes` whose spectrum was given already
        self._inverse = InverseStft(facts.window, facts.stft_hop)

    def _decode(self, last: bool) -> np.ndarray:
        context, lookahead = self._reach
        before, after = self._before, len(self._codes) - (0 if last else lookahead)
        if after <= before:
            spectrum = np.zeros((1, 0), np.float32)
        else:
            spectrum = self._decoder.run({"codes": self._codes[None]})["spectrum"][:, before:after]
            start = max(0, after - context)
            self._codes, self._before = self._codes[start:], after - start
        return self._inverse.push(spectrum, last)[0]


class CausalStreamDecoder(CodecDecoder):
    """Decodes piece by piece, with the decoder's state as an argument: nothing is decoded twice."""

    def __init__(self, facts: AudioSchema, context: np.ndarray, decoder: Engine) -> None:
        super().__init__(facts, context)
        self._decoder = decoder
        inputs = decoder.graph.inputs
        shapes = {t.name: (t.dtype, [1, *map(int, t.axes[1:])]) for t in inputs if t.name != "codes"}
        self._state = {name: np.zeros(shape, dtype) for name, (dtype, shape) in shapes.items()}

    def _decode(self, last: bool) -> np.ndarray:
        if not len(self._codes):
            return np.zeros(0, np.float32)
        results = self._decoder.run({"codes": self._codes[None], **self._state})
        self._codes = self._codes[:0]
        self._state = {name: results[f"next_{name}"] for name in self._state}
        return results["audio"][0]


def delay(facts: AudioSchema, stream: Engine | None) -> int | None:
    """Return how many frames late sound made in pieces is; None where none comes before the last piece."""
    if stream is not None:
        return 0
    if facts.lookahead is None:
        return None
    return facts.lookahead + math.ceil((facts.window - facts.stft_hop) / 2 / facts.hop)


def begin_sound(
    facts: AudioSchema, context: np.ndarray, decoder: Engine, stream: Engine | None
) -> CodecDecoder:
    """Make the decoder of an utterance that comes in pieces, after codes int64 [frames, levels].

    decoder: of whole utterances; stream: with its state as an argument, where the bundle has it. A bundle
    that does not say how its codec can be decoded in pieces has it decoded as a whole.
    """
    if stream is not None:
        return CausalStreamDecoder(facts, context, stream)
    if facts.lookahead is not None:
        return SpectralStreamDecoder(facts, context, decoder)
    return WholeDecoder(facts, context, decoder)
