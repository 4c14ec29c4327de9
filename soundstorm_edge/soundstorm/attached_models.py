"""The models attached to a SoundStorm: codec, semantic tokenizer and text stage.

They are this package's own, or those of audiolm-pytorch: scripts written for soundstorm-pytorch pass these.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from soundstorm_runtime.errors import OptionError

from ..codec.interface import Codec
from ..codec.quantizer import Quantizer
from ..codec.spectral_codec import SpectralCodec
from ..errors import ConfigError
from ..text_to_semantic.autoregressive import TextToSemantic
from ..units.semantic_units import SemanticTokenizer
from .semantic_conditioning import SemanticCondition
from .soundstorm_config import SoundStormOptions


class CodecShape:
    """The sample rate of a codec, and the shape of its codes."""

    def __init__(self, codec: Any) -> None:
        ours = isinstance(codec, Codec)
        self.sample_rate: int = codec.sample_rate if ours else codec.target_sample_hz
        self.hop: int = codec.hop if ours else codec.downsample_factor
        self.levels: int = codec.levels if ours else codec.num_quantizers * codec.rq_groups
        self.codebook_size: int = codec.codebook_size


def frames_per_token(
    options: SoundStormOptions,
    codec: Any,
    wav2vec: Any,
    text_to_semantic: TextToSemantic | None,
) -> float:
    """Return the duration of a semantic token in frames of the codec; 1 where a rate is unknown.

    The rates are those of the models; where `codec` or `wav2vec` is None, those of the options.
    """
    samples, rate = options.wav2vec_downsample_factor, options.wav2vec_target_sample_hz
    token = samples / rate if samples and rate else None  # seconds
    if isinstance(wav2vec, SemanticTokenizer):
        token = 1 / wav2vec.rate
    elif wav2vec is not None:
        token = wav2vec.downsample_factor / wav2vec.target_sample_hz
    elif token is None and text_to_semantic is not None:
        token = 1 / text_to_semantic.config.rate
    samples, rate = options.codec_downsample_factor, options.codec_target_sample_hz
    frame = samples / rate if samples and rate else None
    if codec is not None:
        shape = CodecShape(codec)
        frame = shape.hop / shape.sample_rate
    return 1.0 if token is None or frame is None else round(token / frame, 9)


def audio_to_codes(codec: Any, audio: Tensor) -> Tensor:
    """Encode audio float32 `[batch, samples]` as codes int64 `[batch, frames, levels]`."""
    codes: Tensor = codec.tokenize(audio)
    # The codec of audiolm-pytorch puts its groups first, where it has several.
    return codes if codes.ndim == 3 else codes.permute(1, 2, 0, 3).flatten(2)


@torch.no_grad()
def codes_to_audio(codec: Any, codes: Tensor, lengths: list[int]) -> list[Tensor]:
    """Decode codes to one waveform per sample, float32 `[samples]`.

    Samples of different lengths are decoded one by one, so that padding does not affect their ends.

    Args:
        codec: ours, or one of audiolm-pytorch.
        codes: int64 `[batch, frames, levels]`.
        lengths: frames of each sample.
    """
    if len(set(lengths)) == 1:
        audio = codec.decode_from_codebook_indices(codes[:, : lengths[0]])
        return list(audio.flatten(1))
    return [
        codec.decode_from_codebook_indices(row[None, :length]).flatten()
        for row, length in zip(codes, lengths, strict=True)
    ]


@torch.no_grad()
def audio_to_tokens(wav2vec: Any, audio: Tensor) -> Tensor:
    """Encode audio float32 `[batch, samples]` as semantic tokens int64 `[batch, tokens]`."""
    if isinstance(wav2vec, SemanticTokenizer):
        return wav2vec.tokenize(audio)
    return wav2vec.eval()(audio, flatten=False)


def residual_quantizer(codec: Any) -> Quantizer:
    """Return the quantizer of a codec, for `DecodeOptions.expected`.

    Raises:
        OptionError: there is no codec, or it does not have one quantizer whose vectors add up to its latents.
    """
    if not isinstance(codec, SpectralCodec):
        has = "no codec" if codec is None else f"a {type(codec).__name__}"
        raise OptionError(
            f"the decode option expected needs a SpectralCodec, but the model has {has}; leave it out"
        )
    return codec.quantizer


def semantic_tokenizer(
    text_to_semantic: TextToSemantic | None, wav2vec: nn.Module | None
) -> nn.Module | None:
    """Return the model that turns audio into semantic tokens: `wav2vec`, or that of the text stage."""
    own = None if text_to_semantic is None else text_to_semantic.wav2vec
    if own is not None and wav2vec is not None and own is not wav2vec:
        raise ConfigError(
            "wav2vec was given, and is in spear_tts_text_to_semantic already; leave it out here"
        )
    return own if wav2vec is None else wav2vec


def make_condition(
    options: SoundStormOptions,
    dim: int,
    codec: nn.Module | None,
    wav2vec: nn.Module | None,
    text_to_semantic: TextToSemantic | None,
) -> SemanticCondition | None:
    """Return the embedding of semantic tokens that fits the attached models; None where there are none."""
    ratio = frames_per_token(options, codec, wav2vec, text_to_semantic)
    if text_to_semantic is not None:
        speech = text_to_semantic.alphabets["speech"]
        return SemanticCondition(
            speech.size,
            dim,
            pad=speech.pad,
            width=text_to_semantic.config.dim,
            embedding=cast(nn.Embedding, text_to_semantic.embedding["speech"]),
            frames_per_token=ratio,
        )
    vocabulary = options.num_semantic_token_ids
    if vocabulary is None and wav2vec is not None:
        vocabulary = _vocabulary(wav2vec)
    if vocabulary is None:
        return None
    return SemanticCondition(vocabulary, dim, pad=options.semantic_pad_id, frames_per_token=ratio)


def _vocabulary(wav2vec: Any) -> int:
    return wav2vec.vocabulary if isinstance(wav2vec, SemanticTokenizer) else int(wav2vec.codebook_size)


def check_codec(codec: nn.Module, levels: int, codebook_size: int) -> None:
    """Raise `ConfigError` unless the codec makes codes of this shape."""
    shape = CodecShape(codec)
    if (shape.levels, shape.codebook_size) != (levels, codebook_size):
        raise ConfigError(
            f"soundstream has {shape.levels} levels of {shape.codebook_size} codes, the network {levels} of "
            f"{codebook_size}; they must be equal"
        )
