"""SoundStream: a causal convolutional codec with residual VQ (arXiv 2107.03312).

Nothing here looks into the future: frame t of the codes depends on no sample after its own last one, and
its decoded samples on no later frame. Convolutions pad with silence on the left, exactly what a stream has
before it begins, so that a streaming decoder only has to carry each convolution's `context`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from .codec import Codec, CodecOutput
from .quantizer import Quantizer

KERNEL = 7  # of residual units, of the encoder's first convolution and of the decoder's two outer ones
LATENT_KERNEL = 3  # of the encoder's last convolution


@dataclass(frozen=True)
class SoundStreamConfig:
    """Sizes of SoundStream; the encoder has a block per stride, the decoder mirrors it.

    Block i makes `channels * channel_multipliers[i]` channels; one frame is the product of the strides.
    """

    kind: Literal["soundstream"] = "soundstream"
    sample_rate: int = 16_000
    channels: int = 32
    strides: tuple[int, ...] = (2, 4, 5, 8)
    channel_multipliers: tuple[int, ...] = (2, 4, 8, 16)
    dilations: tuple[int, ...] = (1, 3, 9)  # one residual unit of a block each
    dim: int = 512  # of the latents that are quantized
    levels: int = 12
    codebook_size: int = 1024

    def __post_init__(self) -> None:
        for name in ("sample_rate", "channels", "dim", "levels", "codebook_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        for name in ("strides", "channel_multipliers", "dilations"):
            values = getattr(self, name)
            if not values or min(values) < 1:
                raise ValueError(f"{name} is {list(values)}, expected one or more numbers of at least 1")
        if len(self.strides) != len(self.channel_multipliers):
            raise ValueError(
                f"strides has {len(self.strides)} entries and channel_multipliers "
                f"{len(self.channel_multipliers)}, expected one multiplier for each stride"
            )

    @property
    def hop(self) -> int:
        """Samples of one frame."""
        return math.prod(self.strides)

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels before the first block of the encoder and after each."""
        return (self.channels, *(self.channels * multiple for multiple in self.channel_multipliers))


class CausalConv1d(nn.Conv1d):
    """A convolution over `[batch, channels, length]` whose output i sees no input after `(i + 1) * stride`.

    The length must be a multiple of the stride; it is divided by it.
    """

    @property
    def context(self) -> int:
        """Past inputs that a stream must keep: how many this pads on the left."""
        return self.dilation[0] * (self.kernel_size[0] - 1) + 1 - self.stride[0]

    def forward(self, input: Tensor) -> Tensor:
        """Convolve after padding with zeros on the left."""
        return super().forward(F.pad(input, (self.context, 0)))


class CausalConvTranspose1d(nn.ConvTranspose1d):
    """Upsamples `[batch, channels, length]` to `length * stride`; input i touches no output before its own.

    What a plain transposed convolution adds on the right of the last input's own outputs is trimmed.
    """

    @property
    def context(self) -> int:
        """Past inputs that a stream must keep: how many still reach into the next output."""
        return (self.kernel_size[0] - 1) // self.stride[0]

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Upsample, and trim on the right."""
        return super().forward(input, output_size)[..., : input.shape[-1] * self.stride[0]]


class ResidualUnit(nn.Module):
    """A dilated convolution and a pointwise one, added to what came in (figure 3 of the paper)."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.dilated = CausalConv1d(channels, channels, KERNEL, dilation=dilation)
        self.pointwise = CausalConv1d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map `[batch, channels, length]` to the same shape."""
        return x + F.elu(self.pointwise(F.elu(self.dilated(x))))


def _encoder(config: SoundStreamConfig) -> nn.Sequential:
    """Audio `[batch, 1, samples]` to latents `[batch, dim, frames]`."""

    def layers() -> Iterator[nn.Module]:
        yield CausalConv1d(1, config.channels, KERNEL)
        for width, wider, stride in zip(config.widths, config.widths[1:], config.strides, strict=False):
            yield from (ResidualUnit(width, dilation) for dilation in config.dilations)
            yield CausalConv1d(width, wider, 2 * stride, stride)
        yield CausalConv1d(config.widths[-1], config.dim, LATENT_KERNEL)

    return nn.Sequential(*layers())


def _decoder(config: SoundStreamConfig) -> nn.Sequential:
    """Latents `[batch, dim, frames]` to audio `[batch, 1, samples]`."""
    widths, strides = config.widths[::-1], config.strides[::-1]

    def layers() -> Iterator[nn.Module]:
        yield CausalConv1d(config.dim, widths[0], KERNEL)
        for width, narrower, stride in zip(widths, widths[1:], strides, strict=False):
            yield CausalConvTranspose1d(width, narrower, 2 * stride, stride)
            yield from (ResidualUnit(narrower, dilation) for dilation in config.dilations)
        yield CausalConv1d(config.channels, 1, KERNEL)

    return nn.Sequential(*layers())


class SoundStream(Codec):
    """Causal convolutional encoder, residual VQ, and the mirrored decoder.

    The codebooks start from the first audio that passes through; before that, codes decode to nothing
    that means anything.
    """

    def __init__(self, config: SoundStreamConfig) -> None:
        super().__init__()
        self.config = config
        self.sample_rate, self.hop = config.sample_rate, config.hop
        self.levels, self.codebook_size = config.levels, config.codebook_size
        self.encoder = _encoder(config)
        self.quantizer = Quantizer(config.dim, config.levels, config.codebook_size)
        self.decoder = _decoder(config)

    def forward(self, audio: Tensor) -> CodecOutput:
        """Reconstruct float32 audio `[batch, samples]` of any length.

        The last frame is filled with silence, which is cut off the reconstruction.
        """
        quantized, codes, loss = self.quantizer(self._latents(self.pad_to_frames(audio)))
        return CodecOutput(self._synthesize(quantized)[:, : audio.shape[1]], codes, loss)

    def decode_from_codebook_indices(self, codes: Tensor) -> Tensor:
        """Turn codes int64 `[batch, frames, levels]` into audio float32 `[batch, frames * hop]`."""
        return self._synthesize(self.quantizer.decode(codes))

    def _encode(self, audio: Tensor) -> Tensor:
        return self.quantizer.encode(self._latents(audio))

    def _latents(self, audio: Tensor) -> Tensor:
        return rearrange(self.encoder(rearrange(audio, "b n -> b 1 n")), "b d t -> b t d")

    def _synthesize(self, quantized: Tensor) -> Tensor:
        return rearrange(self.decoder(rearrange(quantized, "b t d -> b d t")), "b 1 n -> b n")
