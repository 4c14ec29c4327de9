"""Discriminators of the adversarial training of codecs (arXiv 2107.03312).

Waveform discriminators work at several sample rates (from MelGAN), one more on the complex short-time
Fourier transform.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from soundstorm_runtime.errors import AudioError

from ..errors import ConfigError
from ..support.config import check_positive
from .adversarial import DiscriminatorOutput

SLOPE = 0.1  # of the leaky rectifiers
WAVEFORM_LAYERS = 4  # convolutions with a stride of four
STFT_HEAD = 16  # frequencies that the last convolution of the STFT discriminator spans


@dataclass(frozen=True)
class StftDiscriminatorConfig:
    """Sizes of the STFT discriminator: one residual unit per stride over (frequency, time).

    Unit i has `channels * chan_mults[i]` output channels; windows of `win_length` samples, every
    `hop_length`, are transformed to `n_fft` bins.
    """

    channels: int = 32
    strides: tuple[tuple[int, int], ...] = ((1, 2), (2, 2), (1, 2), (2, 2), (1, 2), (2, 2))
    chan_mults: tuple[int, ...] = (1, 2, 4, 4, 8, 8)
    n_fft: int = 1024
    hop_length: int = 256
    win_length: int = 1024

    def __post_init__(self) -> None:
        check_positive(self, "channels", "n_fft", "hop_length", "win_length")
        if len(self.strides) != len(self.chan_mults):
            raise ConfigError(
                f"strides has {len(self.strides)} entries and chan_mults {len(self.chan_mults)}, "
                "expected one multiple for each stride"
            )
        if self.win_length > self.n_fft:
            raise ConfigError(f"win_length is {self.win_length}, expected at most n_fft ({self.n_fft})")
        bins = self.n_fft // 2 + 1
        for stride, _ in self.strides:
            bins = (bins - stride % 2) // stride + 1
        if bins < STFT_HEAD:
            raise ConfigError(
                f"n_fft {self.n_fft} leaves {bins} frequencies after all strides, expected {STFT_HEAD}"
            )


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Sizes of the discriminators; the defaults are those of audiolm-pytorch.

    Args:
        scales: a waveform discriminator for each, which gets this share of the sample rate, finest first.
        channels, max_channels: of the waveform discriminators.
        stft: sizes of the STFT discriminator.
        stft_abs: whether its logits are magnitudes, or real and imaginary parts.
    """

    scales: tuple[float, ...] = (1.0, 0.5, 0.25)
    channels: int = 16
    max_channels: int = 1024
    stft: StftDiscriminatorConfig = field(default_factory=StftDiscriminatorConfig)
    stft_normalized: bool = False
    stft_abs: bool = True

    def __post_init__(self) -> None:
        check_positive(self, "channels", "max_channels")
        if any(not 0 < coarse < fine for fine, coarse in self._steps()):
            raise ConfigError(f"scales is {list(self.scales)}, expected falling numbers above 0")
        if self.channels % 4:  # the convolutions are grouped by four channels
            raise ConfigError(f"channels is {self.channels}, expected a multiple of 4")
        ratio, rest = divmod(self.max_channels, self.channels)
        if rest or ratio & (ratio - 1) or not ratio:  # otherwise a layer does not divide into its groups
            raise ConfigError(
                f"max_channels is {self.max_channels}, expected {self.channels} times a power of two"
            )

    def _steps(self) -> list[tuple[float, float]]:
        return list(zip(self.scales, self.scales[1:], strict=False))

    @property
    def factors(self) -> tuple[int, ...]:
        """The decimation before each scale but the first."""
        return tuple(int(fine / coarse) for fine, coarse in self._steps())


class WaveformDiscriminator(nn.Module):
    """Strided, grouped convolutions over the waveform at one sampling rate (MelGAN, arXiv 1910.06711)."""

    def __init__(self, channels: int = 16, max_channels: int = 1024) -> None:
        super().__init__()
        self.first = nn.Conv1d(1, channels, 15, padding=7)
        self.layers = nn.ModuleList()
        for _ in range(WAVEFORM_LAYERS):
            wider = min(4 * channels, max_channels)
            layer = nn.Conv1d(channels, wider, 41, stride=4, padding=20, groups=channels // 4)
            self.layers.append(layer)
            channels = wider
        self.last = nn.Conv1d(channels, channels, 5, padding=2)
        self.head = nn.Conv1d(channels, 1, 3, padding=1)

    def forward(self, audio: Tensor) -> DiscriminatorOutput:
        """Return the output for audio `[batch, samples]`; logits are `[batch, 1, about samples / 256]`."""
        x, features = self.first(rearrange(audio, "b n -> b 1 n")), []
        for layer in self.layers:
            x = functional.leaky_relu(layer(x), SLOPE)
            features.append(x)
        return DiscriminatorOutput(self.head(functional.leaky_relu(self.last(x), SLOPE)), features)


class ComplexConv2d(nn.Module):
    """A convolution with complex weights, stored as pairs of real numbers for any optimizer."""

    def __init__(
        self, channels: int, wider: int, kernel: int | tuple[int, int], stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        like = nn.Conv2d(channels, wider, kernel, dtype=torch.complex64)
        self.weight = nn.Parameter(torch.view_as_real(like.weight.detach()).clone())
        self.bias = nn.Parameter(torch.view_as_real(like.bias.detach()).clone())  # type: ignore[union-attr]
        self.stride, self.padding = stride, padding

    def forward(self, x: Tensor) -> Tensor:
        """Convolve complex `[batch, channels, frequencies, frames]`."""
        weight, bias = torch.view_as_complex(self.weight), torch.view_as_complex(self.bias)
        return functional.conv2d(x, weight, bias, self.stride, self.padding)


class ModReLU(nn.Module):
    """A rectifier of magnitudes that keeps phases (arXiv 1705.09792)."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.tensor(0.0))

    def forward(self, x: Tensor) -> Tensor:
        """Rectify complex numbers of any shape."""
        return torch.polar(functional.relu(x.abs() + self.bias), x.angle())


class _StftUnit(nn.Module):
    """A residual unit of two convolutions, and one more that reduces the size by the stride."""

    def __init__(self, channels: int, wider: int, stride: tuple[int, int]) -> None:
        super().__init__()
        kernel = (stride[0] + 2, stride[1] + 2)
        self.before = ComplexConv2d(channels, channels, 3, padding=1)
        self.rectify = ModReLU()
        self.after = ComplexConv2d(channels, channels, 3, padding=1)
        self.strided = ComplexConv2d(channels, wider, kernel, stride, (kernel[0] // 2, kernel[1] // 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.strided(x + self.after(self.rectify(self.before(x))))


class StftDiscriminator(nn.Module):
    """Two-dimensional complex convolutions over the STFT."""

    def __init__(
        self, config: StftDiscriminatorConfig, *, normalized: bool = False, absolute: bool = True
    ) -> None:
        super().__init__()
        self.config, self.normalized, self.absolute = config, normalized, absolute
        self.register_buffer("taper", torch.hann_window(config.win_length), persistent=False)
        width = config.channels
        self.first = ComplexConv2d(1, width, 7, padding=3)
        self.layers = nn.ModuleList()
        for stride, multiple in zip(config.strides, config.chan_mults, strict=True):
            wider = multiple * config.channels
            self.layers.append(_StftUnit(width, wider, stride))
            width = wider
        self.head = ComplexConv2d(width, 1, (STFT_HEAD, 1))

    def forward(self, audio: Tensor) -> DiscriminatorOutput:
        """Return the output for audio `[batch, samples]`; feature maps are complex.

        Logits are float `[batch, 1, frequencies, frames]`, with a last axis of 2 where they are real and
        imaginary parts.
        """
        config = self.config
        taper: Tensor = self.taper  # type: ignore[assignment]
        spectrum = torch.stft(
            audio.float(), config.n_fft, config.hop_length, config.win_length, taper,
            normalized=self.normalized, return_complex=True,
        )  # fmt: skip
        x = self.first(rearrange(spectrum, "b f t -> b 1 f t"))
        features = [x]
        for layer in self.layers:
            x = layer(x)
            features.append(x)
        logits = self.head(x)
        return DiscriminatorOutput(logits.abs() if self.absolute else torch.view_as_real(logits), features)


class Discriminators(nn.Module):
    """All discriminators: the waveform ones, finest scale first, then the STFT one."""

    def __init__(self, config: DiscriminatorConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or DiscriminatorConfig()
        self.waveform = nn.ModuleList(
            WaveformDiscriminator(config.channels, config.max_channels) for _ in config.scales
        )
        self.stft = StftDiscriminator(
            config.stft, normalized=config.stft_normalized, absolute=config.stft_abs
        )

    @property
    def names(self) -> list[str]:
        """The name of each discriminator, in the order of the outputs."""
        return [*(f"scale:{scale:g}" for scale in self.config.scales), "stft"]

    def forward(self, audio: Tensor) -> list[DiscriminatorOutput]:
        """Return the output of each discriminator for audio float `[batch, samples]`.

        Raises:
            AudioError: another shape or dtype, or audio shorter than an STFT window.
        """
        return self.outputs(self.inputs(audio))

    def outputs(self, inputs: Sequence[Tensor]) -> list[DiscriminatorOutput]:
        """Return the output of each discriminator for the results of `inputs`."""
        return [one(audio) for one, audio in zip([*self.waveform, self.stft], inputs, strict=True)]

    def inputs(self, audio: Tensor) -> list[Tensor]:
        """Return the input of each discriminator for `audio`: `[batch, samples at its rate]`."""
        if audio.ndim != 2 or not audio.is_floating_point():
            raise AudioError(
                f"audio is {audio.dtype} {list(audio.shape)}, expected floating point [batch, samples]"
            )
        if audio.shape[1] < self.config.stft.n_fft:
            raise AudioError(
                f"audio has {audio.shape[1]} samples, expected at least {self.config.stft.n_fft} "
                "(the STFT window); train on longer excerpts"
            )
        scales = [audio] if self.waveform else []
        for factor in self.config.factors:
            scales.append(functional.avg_pool1d(scales[-1], 2 * factor, factor, factor))
        return [*scales, audio]
