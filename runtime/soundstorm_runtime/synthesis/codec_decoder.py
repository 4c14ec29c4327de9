"""Codes to audio by the codec's decoder, for one utterance whose codes may come in pieces.

Whatever audio a piece depends on is carried over from the piece before it, so that the pieces together are
exactly the audio of the whole utterance, without cross-fades.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import numpy as np

from ..audio.harmonic_source import HarmonicSource
from ..audio.inverse_stft import InverseStft
from ..bundle.manifest import AudioSchema
from ..engines.base import Engine
from ..errors import EngineError


class CodecDecoder(ABC):
    """Decodes one utterance. All results of `push` together have `hop` samples for each frame.

    Args:
        codec: The codec of the voice.
        context: Codes before the utterance, int64 [frames, levels], whose own audio is left out.
    """

    def __init__(self, codec: AudioSchema, context: np.ndarray) -> None:
        self._codec = codec
        self._codes = context  # those that the next piece has to be decoded with
        self._skip = len(context) * codec.hop

    def push(self, codes: np.ndarray, last: bool = False) -> np.ndarray:
        """Add codes and return the audio that later codes do not change.

        Args:
            codes: int64 [frames, levels].
            last: Whether the utterance ends with them.

        Returns:
            float32 [samples] in [-1, 1].

        Raises:
            EngineError: The decoder returned samples that are not finite.
        """
        self._codes = np.concatenate([self._codes, codes])
        audio = self._decode(last)
        if not np.isfinite(audio).all():
            raise EngineError(
                "the codec's decoder returned samples that are not finite numbers; "
                "try another provider or precision, or export the voice again with soundstorm-export"
            )
        skipped = min(self._skip, len(audio))
        self._skip -= skipped
        return np.clip(audio[skipped:], -1, 1)

    @abstractmethod
    def _decode(self, last: bool) -> np.ndarray:
        """Decode what can be decoded of `_codes`, and keep there what later codes depend on."""


class WholeDecoder(CodecDecoder):
    """Waits for the last codes and decodes all of them at once, with any codec.

    Args:
        codec: The codec of the voice.
        context: Codes before the utterance, int64 [frames, levels].
        decoder: Engine of the graph `decoder`.
    """

    def __init__(self, codec: AudioSchema, context: np.ndarray, decoder: Engine) -> None:
        super().__init__(codec, context)
        self._decoder = decoder

    def _decode(self, last: bool) -> np.ndarray:
        if not last:
            return np.zeros(0, np.float32)
        (decoded,) = self._decoder.run({"codes": self._codes[None]}).values()
        if self._codec.codec == "spectral":
            return _SpectralSynthesis(self._codec).push(decoded, last=True)
        return decoded[0]


class _SpectralSynthesis:
    """Turns what the spectral codec's decoder predicts into audio, in pieces."""

    def __init__(self, codec: AudioSchema) -> None:
        shape = (codec.window, codec.stft_hop)
        self._source = HarmonicSource(*shape, codec.sample_rate) if codec.source else None
        self._inverse, self._transforms = InverseStft(*shape), codec.transforms

    def push(self, predicted: np.ndarray, last: bool) -> np.ndarray:
        """Add spectra or filters, float32 [1, frames, numbers], and return float32 [samples]."""
        if self._source is not None:
            predicted = self._source.push(predicted.reshape(-1, predicted.shape[2] // self._transforms))[None]
        return self._inverse.push(predicted, last)[0]


class SpectralStreamDecoder(CodecDecoder):
    """Decodes spectra with the frames around them that they depend on, and joins them by overlap-add.

    Its latency is `AudioSchema.lookahead` frames and the overlap of the windows.

    Args:
        codec: The codec of the voice.
        context: Codes before the utterance, int64 [frames, levels].
        decoder: Engine of the graph `decoder`.
    """

    def __init__(self, codec: AudioSchema, context: np.ndarray, decoder: Engine) -> None:
        super().__init__(codec, context)
        self._decoder = decoder
        self._before, self._ahead = codec.context or 0, codec.lookahead or 0
        self._done = 0  # frames of `_codes` whose audio was made already
        self._synthesis = _SpectralSynthesis(codec)

    def _decode(self, last: bool) -> np.ndarray:
        start, end = self._done, len(self._codes) - (0 if last else self._ahead)
        if end <= start:
            predicted = np.zeros((1, 0, self._codec.decoder_width), np.float32)
        else:
            (predicted,) = self._decoder.run({"codes": self._codes[None]}).values()
            predicted = predicted[:, start:end]
            kept = max(0, end - self._before)
            self._codes, self._done = self._codes[kept:], end - kept
        return self._synthesis.push(predicted, last)


class CausalStreamDecoder(CodecDecoder):
    """Decodes piece by piece, with the decoder's state as an input: nothing is decoded twice.

    Args:
        codec: The codec of the voice.
        context: Codes before the utterance, int64 [frames, levels].
        decoder: Engine of the graph `decoder_stream`.
    """

    def __init__(self, codec: AudioSchema, context: np.ndarray, decoder: Engine) -> None:
        super().__init__(codec, context)
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


def streaming_latency(codec: AudioSchema, stream: Engine | None) -> int | None:
    """Return by how many frames audio decoded in pieces lags; None where only whole utterances are decoded.

    Args:
        codec: The codec of the voice.
        stream: Engine of the graph `decoder_stream`, if the bundle has it.
    """
    if stream is not None:
        return 0
    if codec.lookahead is None:
        return None
    return codec.lookahead + math.ceil((codec.window - codec.stft_hop) / 2 / codec.hop)


def make_codec_decoder(
    codec: AudioSchema, context: np.ndarray, decoder: Engine, stream: Engine | None
) -> CodecDecoder:
    """Return the decoder of an utterance whose codes come in pieces.

    Args:
        codec: The codec of the voice. One that does not say how it can be decoded in pieces is decoded as a
            whole.
        context: Codes before the utterance, int64 [frames, levels].
        decoder: Engine of the graph `decoder`.
        stream: Engine of the graph `decoder_stream`, if the bundle has it.
    """
    if stream is not None:
        return CausalStreamDecoder(codec, context, stream)
    if codec.lookahead is not None:
        return SpectralStreamDecoder(codec, context, decoder)
    return WholeDecoder(codec, context, decoder)
