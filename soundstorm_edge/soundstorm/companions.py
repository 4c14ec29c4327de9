"""The models that work beside SoundStorm: ours, or those of audiolm-pytorch where that is present."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from soundstorm_runtime.errors import OptionError

from ..codec.interface import Codec
from ..text_to_semantic.autoregressive import TextToSemantic
from ..units.semantic_units import SemanticTokenizer
from .semantic_conditioning import SemanticCondition
from .soundstorm_config import SoundStormOptions

if TYPE_CHECKING:
    from .model import SoundStorm


class CodecShape:
    """What there is to know of a codec: its rate, and the shape of its codes."""

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
    """Give how many frames of the codec a semantic token lasts; 1 where a rate is not known.

    Either of codec and wav2vec may be None: then the options tell.
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
        facts = CodecShape(codec)
        frame = facts.hop / facts.sample_rate
    return 1.0 if token is None or frame is None else round(token / frame, 9)


def audio_to_codes(codec: Any, audio: Tensor) -> Tensor:
    """Turn audio float32 `[batch, samples]` into codes int64 `[batch, frames, levels]`."""
    codes: Tensor = codec.tokenize(audio)
    # That of audiolm-pytorch puts its groups before all else, where it has several.
    return codes if codes.ndim == 3 else codes.permute(1, 2, 0, 3).flatten(2)


@torch.no_grad()
def codes_to_audio(codec: Any, codes: Tensor, lengths: list[int]) -> list[Tensor]:
    """Turn codes int64 `[batch, frames, levels]` into the audio of each sample, `[samples]`.

    Each is decoded by itself where they are of unlike lengths: what comes after one does not sound in it.
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
    """Turn audio float32 `[batch, samples]` into semantic tokens int64 `[batch, tokens]`."""
    if isinstance(wav2vec, SemanticTokenizer):
        return wav2vec.tokenize(audio)
    return wav2vec.eval()(audio, flatten=False)


def one_wav2vec(text_to_semantic: TextToSemantic | None, wav2vec: nn.Module | None) -> nn.Module | None:
    """Give the model that makes semantic tokens of audio; the text stage may have brought one."""
    brought = None if text_to_semantic is None else text_to_semantic.wav2vec
    if brought is not None and wav2vec is not None and brought is not wav2vec:
        raise OptionError(
            "wav2vec was given, and is in spear_tts_text_to_semantic already; leave it out here"
        )
    return brought if wav2vec is None else wav2vec


def make_condition(
    options: SoundStormOptions,
    dim: int,
    codec: nn.Module | None,
    wav2vec: nn.Module | None,
    text_to_semantic: TextToSemantic | None,
) -> SemanticCondition | None:
    """Make what embeds the semantic tokens of whoever makes them; None where nobody does."""
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
    """Raise `OptionError` unless the codec makes codes of this shape."""
    facts = CodecShape(codec)
    if (facts.levels, facts.codebook_size) != (levels, codebook_size):
        raise OptionError(
            f"soundstream has {facts.levels} levels of {facts.codebook_size} codes, the network {levels} of "
            f"{codebook_size}; they must be equal"
        )


def read(
    model: SoundStorm, x: Tensor, mask: Tensor | None, tokens: Tensor | None
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Give the codes `[batch, frames, levels]`, mask and condition of what `SoundStorm.forward` was given."""
    codes = x
    if x.is_floating_point():
        if model.soundstream is None:
            raise OptionError("audio was given to a model without soundstream; give codes")
        if tokens is None and model.condition is not None and model.wav2vec is not None:
            tokens = audio_to_tokens(model.wav2vec, x)
        codes = audio_to_codes(model.soundstream.eval(), x)
    codes = model.net.as_frames(codes)
    if model.options.pad_id is not None:
        padding = (codes == model.options.pad_id).any(dim=-1)
        mask = ~padding if mask is None else mask & ~padding
        codes = codes.masked_fill(padding[..., None], 0)
    if model.condition is None and tokens is None:
        return codes, mask, None
    if model.condition is None or tokens is None:
        has, given = ("no", "were") if model.condition is None else ("a", "were not")
        raise OptionError(
            f"the model has {has} condition and cond_semantic_token_ids {given} given; give them to a model "
            "with num_semantic_token_ids, and to no other"
        )
    cond, _ = model.condition(tokens, codes.shape[1])
    if model.options.cond_drop_prob:
        cond = cond * (torch.rand(len(cond), 1, 1, device=cond.device) >= model.options.cond_drop_prob)
    return codes, mask, cond
