"""Discriminators of the adversarial stage of codec training, and their losses (arXiv 2107.03312).

Waveform discriminators listen at three sampling rates (from MelGAN); one more looks at the complex
short-time Fourier transform. Both codecs train against them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

from soundstorm_runtime.errors import AudioError

SLOPE = 0.2  # of the leaky rectifiers
WAVEFORM_LAYERS = 4  # convolutions that each divide the rate by four
# Strides of the STFT residual units over (time, frequency), and their output channels as a multiple of
# the first convolution's (after section III-D of the paper). Together they divide the frequencies by 64.
STFT_UNITS = (((1, 2), 2), ((2, 2), 4), ((1, 2), 4), ((2, 2), 8), ((1, 2), 8), ((2, 2), 8))
STFT_REDUCTION = 2 ** len(STFT_UNITS)


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Sizes of the discriminators. The paper's are `max_channels=1024` and `stft_channels=32`."""

    scales: int = 3  # waveform discriminators; each hears half the sample rate of the one before
    channels: int = 16
    max_channels: int = 256
    stft_channels: int = 16
    window: int = 1024  # samples of one STFT frame
    hop: int = 256  # samples between STFT frames

    def __post_init__(self) -> None:
        for name in ("scales", "channels", "max_channels", "stft_channels", "window", "hop"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        if self.channels % 4:  # the convolutions are grouped by four channels
            raise ValueError(f"channels is {self.channels}, expected a multiple of 4")
        ratio, rest = divmod(self.max_channels, self.channels)
        if rest or ratio & (ratio - 1) or not ratio:  # else some layer does not divide into its groups
            raise ValueError(
                f"max_channels is {self.max_channels}, expected {self.channels} times a power of two"
            )
        if self.window % (2 * STFT_REDUCTION):
            raise ValueError(f"window is {self.window}, expected a multiple of {2 * STFT_REDUCTION}")
        if self.hop > self.window:
            raise ValueError(f"hop is {self.hop}, expected at most the window ({self.window})")


class Judgement(NamedTuple):
    """What one discriminator says: `logits` (high means real) and the feature maps that led to them."""

    logits: Tensor
    features: list[Tensor]


class WaveformDiscriminator(nn.Module):
    """Strided, grouped convolutions over the waveform at one sampling rate (MelGAN, arXiv 1910.06711)."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        width = config.channels
        layers: list[nn.Module] = [weight_norm(nn.Conv1d(1, width, 15, padding=7))]
        for _ in range(WAVEFORM_LAYERS):
            wider = min(4 * width, config.max_channels)
            layers.append(weight_norm(nn.Conv1d(width, wider, 41, stride=4, padding=20, groups=width // 4)))
            width = wider
        layers.append(weight_norm(nn.Conv1d(width, width, 5, padding=2)))
        self.layers = nn.ModuleList(layers)
        self.head = weight_norm(nn.Conv1d(width, 1, 3, padding=1))

    def forward(self, audio: Tensor) -> Judgement:
        """Judge `audio [batch, samples]`; logits are `[batch, 1, about samples / 256]`."""
        x, features = rearrange(audio, "b n -> b 1 n"), []
        for layer in self.layers:
            x = functional.leaky_relu(layer(x), SLOPE)
            features.append(x)
        return Judgement(self.head(x), features)


class _StftUnit(nn.Module):
    """A residual unit over time and frequency, that shrinks both by its stride.

    The paper's kernel is `stride + 2` both ways; over time it is 3 here, so that any number of frames,
    odd ones too, comes out as long as the shortcut.
    """

    def __init__(self, channels: int, wider: int, stride: tuple[int, int]) -> None:
        super().__init__()
        kernel = (3, stride[1] + 2)
        self.plain = weight_norm(nn.Conv2d(channels, channels, 3, padding=1))
        self.strided = weight_norm(nn.Conv2d(channels, wider, kernel, stride, padding=1))
        self.shortcut = weight_norm(nn.Conv2d(channels, wider, 1))
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        inner = functional.leaky_relu(self.plain(x), SLOPE)
        # Indexed rather than strided: PyTorch 2.13 on a CPU crashes in the gradient of a pointwise
        # convolution whose two strides differ (channels-last layout, as the STFT gives it).
        kept = x[:, :, :: self.stride[0], :: self.stride[1]]
        return functional.leaky_relu(self.strided(inner) + self.shortcut(kept), SLOPE)


class StftDiscriminator(nn.Module):
    """Two-dimensional convolutions over the complex STFT, real and imaginary part as two channels."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.window, self.hop = config.window, config.hop
        self.register_buffer("taper", torch.hann_window(config.window), persistent=False)
        width = config.stft_channels
        layers: list[nn.Module] = [weight_norm(nn.Conv2d(2, width, 7, padding=3))]
        for stride, multiple in STFT_UNITS:
            wider = multiple * config.stft_channels
            layers.append(_StftUnit(width, wider, stride))
            width = wider
        self.layers = nn.ModuleList(layers)
        self.head = weight_norm(nn.Conv2d(width, 1, (1, config.window // (2 * STFT_REDUCTION))))

    def forward(self, audio: Tensor) -> Judgement:
        """Judge `audio [batch, samples]`; logits are `[batch, 1, about samples / hop / 8, 1]`."""
        taper: Tensor = self.taper  # type: ignore[assignment]
        spectrum = torch.stft(
            audio, self.window, self.hop, window=taper, normalized=True, return_complex=True
        )
        # The bin at the Nyquist frequency goes, so that the frequencies halve evenly down to the head.
        x = rearrange(torch.view_as_real(spectrum[:, :-1]), "b f t c -> b c t f")
        features = []
        for layer in self.layers:
            x = layer(x)
            features.append(x)
        return Judgement(self.head(x), features)


class Discriminators(nn.Module):
    """All discriminators together: the waveform ones, from the full rate downwards, then the STFT one."""

    def __init__(self, config: DiscriminatorConfig | None = None) -> None:
        super().__init__()
        self.config = config or DiscriminatorConfig()
        self.waveform = nn.ModuleList(WaveformDiscriminator(self.config) for _ in range(self.config.scales))
        self.stft = StftDiscriminator(self.config)

    def forward(self, audio: Tensor) -> list[Judgement]:
        """Judge `audio`, float `[batch, samples]`: a `(logits, feature maps)` of each discriminator.

        Raises `AudioError` for another shape or dtype, or audio shorter than one STFT window.
        """
        if audio.ndim != 2 or not audio.is_floating_point():
            raise AudioError(
                f"audio is {audio.dtype} {list(audio.shape)}, expected floating point [batch, samples]"
            )
        if audio.shape[1] < self.config.window:
            raise AudioError(
                f"audio has {audio.shape[1]} samples, expected at least {self.config.window} "
                "(the STFT window); train on longer excerpts"
            )
        judgements, heard = [], audio
        for discriminator in self.waveform:
            judgements.append(discriminator(heard))
            heard = functional.avg_pool1d(heard, 4, stride=2, padding=1, count_include_pad=False)
        return [*judgements, self.stft(audio)]


def discriminator_loss(real: Sequence[Judgement], fake: Sequence[Judgement]) -> Tensor:
    """Hinge loss of the discriminators, a scalar: real logits above 1, fake ones below -1 (equation 1).

    Compute `fake` from detached audio, so that no gradient reaches the codec.
    """
    losses = [
        functional.relu(1 - r.logits).mean() + functional.relu(1 + f.logits).mean()
        for r, f in zip(real, fake, strict=True)
    ]
    return torch.stack(losses).mean()


def adversarial_loss(fake: Sequence[Judgement]) -> Tensor:
    """Hinge loss of the codec, a scalar: its audio should be taken for real (equation 2)."""
    return torch.stack([functional.relu(1 - judgement.logits).mean() for judgement in fake]).mean()


def feature_matching_loss(real: Sequence[Judgement], fake: Sequence[Judgement]) -> Tensor:
    """Mean absolute difference of all feature maps, a scalar (equation 3); `real` gets no gradient."""
    losses = [
        functional.l1_loss(fake_map, real_map.detach())
        for r, f in zip(real, fake, strict=True)
        for real_map, fake_map in zip(r.features, f.features, strict=True)
    ]
    return torch.stack(losses).mean()
