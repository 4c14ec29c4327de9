"""SoundStream: a causal convolutional codec with residual VQ (arXiv 2107.03312).

With `pad_mode="constant"` (and `strided_pad_mode`) the codec is causal: the codes of frame t depend on no
sample after its own last one, and its decoded samples on no later frame. The state of a streaming decoder is
then the `context` of each convolution and a window of frames for the attention.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import soxr
import torch
from einops import rearrange
from torch import Tensor, nn

from soundstorm_runtime.errors import AudioError, OptionError

from ..nn.causal_convolution import KERNEL, CausalConv1d, CausalConvTranspose1d, ResidualUnit
from ..nn.local_attention import LocalTransformer
from ..support.config import from_dict, from_fields, to_dict
from ..support.tensor_files import load_tensors, save_tensors, unwrap_weights
from .interface import Codec, CodecOutput, Pitch
from .quantizer import GroupedQuantizer
from .soundstream_config import SoundStreamConfig
from .soundstream_losses import SoundStreamLosses, total_discriminator_loss

__all__ = ["AudioLMSoundStream", "MusicLMSoundStream", "SoundStream", "SoundStreamConfig"]

UNITS = 3  # residual units of a block
LATENT_KERNEL = 3  # of the encoder's last convolution
KIND = "SoundStream"


class FiLM(nn.Module):
    """Scales and shifts latents by a condition (arXiv 1709.07871)."""

    def __init__(self, dim: int, conditions: int) -> None:
        super().__init__()
        self.to_scale_and_shift = nn.Linear(conditions, 2 * dim)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Map `[batch, frames, dim]` to the same shape, by a condition `[conditions]`."""
        scale, shift = self.to_scale_and_shift(condition).chunk(2, dim=-1)
        return x * scale + shift


class SoundStream(Codec):
    """Causal convolutional encoder, local attention, residual VQ, and the mirrored decoder.

    The codebooks are initialised from the first audio; before that, decoding is meaningless.

    Args:
        config: or its fields by keyword: see `SoundStreamConfig`.

    Raises:
        ConfigError: a field is unknown or impossible.
    """

    def __init__(self, config: SoundStreamConfig | None = None, /, **fields: Any) -> None:
        super().__init__()
        given = {name: value for name, value in fields.items() if value is not None}  # None is a default
        self.config = config = from_fields(SoundStreamConfig, config, given)
        self.sample_rate, self.hop = config.sample_rate, config.hop
        self.levels, self.codebook_size = config.levels, config.codebook_size
        self.encoder = _encoder(config)
        self.encoder_attention = _attention(config)
        self.encoder_film = FiLM(config.codebook_dim, 2)
        self.quantizer = GroupedQuantizer(config)
        self.decoder_film = FiLM(config.codebook_dim, 2)
        self.decoder_attention = _attention(config)
        self.decoder = _decoder(config)
        self.losses = SoundStreamLosses(config) if config.discriminators else None

    @property
    def target_sample_hz(self) -> int:
        """The sample rate in Hz."""
        return self.sample_rate

    @property
    def downsample_factor(self) -> int:
        """Samples of a frame."""
        return self.hop

    @property
    def seq_len_multiple_of(self) -> int:
        """Samples of a frame."""
        return self.hop

    @property
    def num_quantizers(self) -> int:
        """Levels of each group."""
        return self.config.rq_num_quantizers

    @property
    def rq_groups(self) -> int:
        """Groups of channels, each with a residual quantizer."""
        return self.config.rq_groups

    def non_discr_parameters(self) -> list[nn.Parameter]:
        """Return the parameters without those of the discriminators."""
        return [p for name, p in self.named_parameters() if not name.startswith("losses.")]

    def forward(
        self,
        x: Tensor,
        target: Tensor | None = None,
        is_denoising: bool | None = None,
        return_encoded: bool = False,
        return_codes_only: bool = False,
        return_discr_loss: bool = False,
        return_discr_losses_separately: bool = False,
        return_loss_breakdown: bool = False,
        return_recons_only: bool = False,
        input_sample_hz: int | None = None,
        apply_grad_penalty: bool = False,
        curtail_from_left: bool = False,
    ) -> Any:
        """Return the training loss of audio, or what a flag asks for.

        Args:
            x: audio float32 `[batch, samples]` or `[samples]`; samples beyond whole frames are cut off.
            target: audio that the reconstruction is compared with; `x` by default.
            is_denoising: whether to remove the noise of `x` or to keep it; with a target.
            input_sample_hz: sample rate of `x` and `target`, where it is not that of the codec.
            apply_grad_penalty: whether the loss of the discriminators has gradient penalties.
            curtail_from_left: whether samples are cut off at the start.

        Returns:
            The first of these that is asked for, or the loss, a scalar. return_codes_only: codes int64
            `[batch, frames, levels]`. return_encoded: quantized latents float32 `[batch, frames, dim]`,
            codes, commitment loss. return_recons_only: the reconstruction `[batch, samples]`.
            return_discr_loss: the loss of the discriminators, or, return_discr_losses_separately, (name,
            loss) pairs.
            return_loss_breakdown: the loss and its parts.

        Raises:
            AudioError: the audio has another shape or dtype, or is shorter than a frame.
            OptionError: a loss is asked for, but the codec was made with `discriminators=False`.
        """
        if is_denoising is not None and target is None:
            raise AudioError("is_denoising was given without target, expected both; give the clean audio")
        real = self._whole_frames(x, input_sample_hz, curtail_from_left)
        if return_codes_only:
            return self.quantizer.encode(self.latents(real))
        quantized, codes, commitment = self._quantized(real, is_denoising)
        if return_encoded:
            return quantized, codes, commitment
        fake = self._synthesize(self._filmed(self.decoder_film, quantized, is_denoising))
        if return_recons_only:
            return fake
        if target is not None:
            real = self._whole_frames(target, input_sample_hz, curtail_from_left)
        if self.losses is None:
            raise OptionError("this SoundStream was made with discriminators=False; it has no losses")
        if return_discr_loss:
            losses = self.losses.discriminator(real, fake, penalize=apply_grad_penalty)
            return (
                list(losses.items()) if return_discr_losses_separately else total_discriminator_loss(losses)
            )
        total, parts = self.losses.codec(real, fake, commitment)
        return (total, parts) if return_loss_breakdown else total

    def reconstruct(self, audio: Tensor, pitch: Pitch | None = None) -> CodecOutput:
        """Encode and decode audio float32 `[batch, samples]` of any length."""
        quantized, codes, loss = self._quantized(self.pad_to_frames(audio))
        return CodecOutput(self._synthesize(quantized)[:, : audio.shape[1]], codes, loss)

    def tokenize(self, audio: Tensor) -> Tensor:
        """Encode audio float32 `[batch, samples]` or `[samples]` as codes int64 `[batch, frames, levels]`.

        The last frame is padded with silence. Raises `AudioError` as `Codec.tokenize` does.
        """
        return super().tokenize(audio[None] if audio.ndim == 1 else audio)

    def decode(self, x: Tensor, quantize: bool = False) -> Tensor:
        """Decode latents float32 `[batch, frames, dim]` to audio `[batch, samples]`.

        Args:
            x: the latents.
            quantize: whether they are still to be quantized.
        """
        return self._synthesize(self.quantizer(x)[0] if quantize else x)

    def decode_from_codebook_indices(self, codes: Tensor) -> Tensor:
        """Decode codes int64 `[batch, frames, levels]` to audio float32 `[batch, frames * hop]`.

        Also accepts codes by group, `[groups, batch, frames, levels of a group]`.
        """
        if codes.ndim == 4:
            codes = rearrange(codes, "g b n q -> b n (g q)")
        return self._synthesize(self.quantizer.decode(codes))

    def latents(self, audio: Tensor) -> Tensor:
        """Encode audio float32 `[batch, samples]`, whole frames, to latents `[batch, frames, dim]`."""
        latents = rearrange(self.encoder(rearrange(audio, "b n -> b 1 n")), "b d t -> b t d")
        return latents if self.encoder_attention is None else self.encoder_attention(latents)

    def save(self, path: str | Path) -> None:
        """Write configuration and weights to one file, for `init_and_load_from`."""
        save_tensors(Path(path), KIND, {"config": to_dict(self.config), "model": self.state_dict()})

    @classmethod
    def init_and_load_from(cls, path: str | Path) -> SoundStream:
        """Read a file of `save`, in evaluation mode.

        Files of audiolm-pytorch are read by `soundstorm_edge.interop.from_audiolm_pytorch`.

        Raises:
            CheckpointError: the file cannot be used.
        """
        content = load_tensors(Path(path), KIND, ("config", "model"))
        codec = cls(from_dict(SoundStreamConfig, content["config"], "config"))
        codec.load_state_dict(unwrap_weights(content["model"]))
        return codec.eval()

    def _encode(self, audio: Tensor) -> Tensor:
        return self.quantizer.encode(self.latents(audio))

    def _quantized(self, audio: Tensor, denoising: bool | None = None) -> tuple[Tensor, Tensor, Tensor]:
        return self.quantizer(self._filmed(self.encoder_film, self.latents(audio), denoising))

    def _filmed(self, film: FiLM, x: Tensor, denoising: bool | None) -> Tensor:
        return x if denoising is None else film(x, x.new_tensor([denoising, not denoising]))

    def _synthesize(self, quantized: Tensor) -> Tensor:
        if self.decoder_attention is not None:
            quantized = self.decoder_attention(quantized)
        return rearrange(self.decoder(rearrange(quantized, "b t d -> b d t")), "b 1 n -> b n")

    def _whole_frames(self, audio: Tensor, rate: int | None, from_left: bool) -> Tensor:
        if not audio.is_floating_point():
            raise AudioError(f"audio is {audio.dtype} {list(audio.shape)}, expected float [batch, samples]")
        audio = audio.reshape(-1, audio.shape[-1])
        if rate is not None and rate != self.sample_rate:
            resampled = soxr.resample(audio.detach().T.cpu().numpy(), rate, self.sample_rate)
            audio = torch.from_numpy(resampled).T.to(audio)
        samples = audio.shape[1] // self.hop * self.hop
        if not samples:
            raise AudioError(f"audio has {audio.shape[1]} samples, expected at least one frame ({self.hop})")
        return audio[:, -samples:] if from_left else audio[:, :samples]


def AudioLMSoundStream(**fields: Any) -> SoundStream:
    """Return the codec of AudioLM (arXiv 2209.03143): 16 kHz, 50 frames a second, 12 levels."""
    return SoundStream(
        **{"strides": (2, 4, 5, 8), "target_sample_hz": 16_000, "rq_num_quantizers": 12, **fields}
    )


def MusicLMSoundStream(**fields: Any) -> SoundStream:
    """Return the codec of MusicLM (arXiv 2301.11325): 24 kHz, 50 frames a second, 12 levels."""
    return SoundStream(
        **{"strides": (3, 4, 5, 8), "target_sample_hz": 24_000, "rq_num_quantizers": 12, **fields}
    )


def _attention(config: SoundStreamConfig) -> LocalTransformer | None:
    if not config.use_local_attn:
        return None
    return LocalTransformer(
        config.codebook_dim,
        config.attn_depth,
        config.attn_heads,
        config.attn_dim_head,
        config.attn_window_size,
        xpos_scale_base=config.attn_xpos_scale_base,
        dynamic_bias=config.attn_dynamic_pos_bias,
    )


def _units(config: SoundStreamConfig, width: int, dilations: tuple[int, ...]) -> Iterator[nn.Module]:
    for dilation in islice(cycle(dilations), UNITS):
        yield ResidualUnit(width, dilation, config.pad_mode, squeeze_excite=config.squeeze_excite)


def _encoder(config: SoundStreamConfig) -> nn.Sequential:
    """Return the network from audio `[batch, 1, samples]` to latents `[batch, dim, frames]`."""
    pad, strided_pad = config.pad_mode, config.strided_pad_mode

    def blocks() -> Iterator[nn.Module]:
        for width, wider, stride in zip(config.widths, config.widths[1:], config.strides, strict=False):
            units = _units(config, width, config.enc_cycle_dilations)
            yield nn.Sequential(*units, CausalConv1d(width, wider, 2 * stride, stride, pad_mode=strided_pad))

    first = CausalConv1d(1, config.channels, KERNEL, pad_mode=pad)
    last = CausalConv1d(config.widths[-1], config.codebook_dim, LATENT_KERNEL, pad_mode=pad)
    return nn.Sequential(first, *blocks(), last)


def _decoder(config: SoundStreamConfig) -> nn.Sequential:
    """Return the network from latents `[batch, dim, frames]` to audio `[batch, 1, samples]`."""
    widths, strides, pad = config.widths[::-1], config.strides[::-1], config.pad_mode

    def blocks() -> Iterator[nn.Module]:
        for width, narrower, stride in zip(widths, widths[1:], strides, strict=False):
            units = _units(config, narrower, config.dec_cycle_dilations)
            yield nn.Sequential(CausalConvTranspose1d(width, narrower, 2 * stride, stride), *units)

    first = CausalConv1d(config.codebook_dim, widths[0], KERNEL, pad_mode=pad)
    last = CausalConv1d(config.channels, 1, KERNEL, pad_mode=pad)
    return nn.Sequential(first, *blocks(), last)
