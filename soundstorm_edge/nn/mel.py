"""Log-mel spectra, for the spectral codec, the semantic units and the spectral losses."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LogMel(nn.Module):
    """Audio `[batch, samples]` to natural-log mel magnitudes `[batch, samples // hop, mels]`.

    Frame t is centred on the middle of samples `t * hop` to `(t + 1) * hop`; the edges are reflected.
    """

    def __init__(self, sample_rate: int, hop: int, window: int, mels: int) -> None:
        super().__init__()
        self.hop, self.window = hop, window
        self.register_buffer("hann", torch.hann_window(window), persistent=False)
        self.register_buffer("filters", mel_filters(sample_rate, window, mels), persistent=False)

    def forward(self, audio: Tensor) -> Tensor:
        """Compute in float32, also under autocast."""
        hann: Tensor = self.hann  # type: ignore[assignment]
        filters: Tensor = self.filters  # type: ignore[assignment]
        edge = (self.window - self.hop) // 2
        # Silence where the audio is too short to be reflected.
        mode = "reflect" if audio.shape[-1] > edge else "constant"
        padded = F.pad(audio.float()[:, None], (edge, edge + (self.window - self.hop) % 2), mode)[:, 0]
        frames = padded.unfold(-1, self.window, self.hop) * hann
        magnitudes = torch.fft.rfft(frames).abs()
        return (magnitudes @ filters).clamp(min=1e-5).log()


def mel_filters(sample_rate: int, window: int, mels: int) -> Tensor:
    """Return triangular filters `[window // 2 + 1, mels]`, evenly spaced in mel: 2595 log10(1 + f/700).

    They have unit area (times 100), so that the output of a filter does not grow with its width.
    """
    triangles, widths = mel_triangles(sample_rate, window, mels)
    return (triangles * 2 / widths).float() * 100


def mel_triangles(sample_rate: int, window: int, mels: int) -> tuple[Tensor, Tensor]:
    """Return triangles with a peak of 1, float64 `[window // 2 + 1, mels]`, and their widths in Hz."""
    top = 2595 * math.log10(1 + sample_rate / 2 / 700)
    corners = 700 * (10 ** (torch.linspace(0, top, mels + 2, dtype=torch.float64) / 2595) - 1)
    bins = torch.linspace(0, sample_rate / 2, window // 2 + 1, dtype=torch.float64)[:, None]
    low, middle, high = corners[:-2], corners[1:-1], corners[2:]
    rising, falling = (bins - low) / (middle - low), (high - bins) / (high - middle)
    return torch.minimum(rising, falling).clamp(min=0), high - low
