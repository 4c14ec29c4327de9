"""Discriminators of spectrograms that one CPU core can train (after EnCodec, arXiv 2210.13438, section 3.4).

Each sees the complex STFT at one resolution. The first convolutions have strides along frequency, so that a
step costs a tenth of one with the discriminators of SoundStream.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from soundstorm_runtime.errors import AudioError

from ..errors import ConfigError
from ..support.config import check_positive
from .adversarial import DiscriminatorOutput

SLOPE = 0.1  # of the leaky rectifiers
COMPRESSION = 0.3  # exponent of the magnitudes: quiet high frequencies count as much as loud low ones


@dataclass(frozen=True)
class SpectrogramDiscriminatorConfig:
    """Sizes of the spectrogram discriminators.

    Args:
        windows: STFT windows in samples, a discriminator for each; every quarter of a window is transformed.
        channels: of the first convolution; the last has four times as many.

    Raises:
        ConfigError: a value is impossible.
    """

    windows: tuple[int, ...] = (2048, 1024, 512)
    channels: int = 16

    def __post_init__(self) -> None:
        check_positive(self, "channels")
        if not self.windows or any(window < 128 or window % 4 for window in self.windows):
            raise ConfigError(
                f"windows is {list(self.windows)}, expected one or more multiples of 4, each at least 128"
            )


class SpectrogramDiscriminator(nn.Module):
    """Two-dimensional convolutions over the compressed complex STFT at one resolution."""

    def __init__(self, window: int, channels: int) -> None:
        super().__init__()
        self.window = window
        self.register_buffer("hann", torch.hann_window(window), persistent=False)
        c = channels
        self.layers = nn.ModuleList(  # kernels, strides and padding over (frames, frequencies)
            [
                nn.Conv2d(2, c, (3, 8), (1, 4), (1, 2)),
                nn.Conv2d(c, 2 * c, (3, 8), (1, 4), (1, 2)),
                nn.Conv2d(2 * c, 4 * c, (3, 4), (1, 2), (1, 1)),
                nn.Conv2d(4 * c, 4 * c, 3, padding=1),
            ]
        )
        self.head = nn.Conv2d(4 * c, 1, 3, padding=1)

    def forward(self, audio: Tensor) -> DiscriminatorOutput:
        """Return the output for audio `[batch, samples]`; logits are `[batch, 1, frames, bins / 32]`."""
        hann: Tensor = self.hann  # type: ignore[assignment]
        spectrum = torch.stft(
            audio.float(), self.window, self.window // 4, self.window, hann,
            normalized=True, return_complex=True,
        )  # fmt: skip
        parts = torch.view_as_real(spectrum)
        magnitude = parts.square().sum(-1, keepdim=True).add(1e-8).sqrt()
        x = (parts * magnitude ** (COMPRESSION - 1)).permute(0, 3, 2, 1)
        features = []
        for layer in self.layers:
            x = functional.leaky_relu(layer(x), SLOPE)
            features.append(x)
        return DiscriminatorOutput(self.head(x), features)


class SpectrogramDiscriminators(nn.ModuleList):
    """A discriminator for each window."""

    def __init__(self, config: SpectrogramDiscriminatorConfig) -> None:
        super().__init__(SpectrogramDiscriminator(window, config.channels) for window in config.windows)
        self.config = config

    def forward(self, audio: Tensor) -> list[DiscriminatorOutput]:
        """Return the output of each discriminator for audio float `[batch, samples]`.

        Raises:
            AudioError: audio shorter than the longest window.
        """
        longest = max(self.config.windows)
        if audio.shape[-1] < longest:
            raise AudioError(
                f"audio has {audio.shape[-1]} samples, expected at least {longest} (the longest window); "
                "train on longer excerpts"
            )
        return [discriminator(audio) for discriminator in self]
