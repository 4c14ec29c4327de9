"""Reconstruction loss of the codecs over several time-frequency resolutions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .mel import LogMel


class SpectralLoss(nn.Module):
    """L1 between log-mel spectra, averaged over windows of 256 to 2048 samples at 16 kHz.

    The several resolutions follow SoundStream (arXiv 2107.03312, section III-D); the log alone, without
    its linear term, follows the Descript codec (arXiv 2306.06546), where it measured better.
    """

    def __init__(self, sample_rate: int) -> None:
        super().__init__()
        spans = ((2048, 80), (1024, 80), (512, 64), (256, 32))
        self.resolutions = nn.ModuleList(
            LogMel(sample_rate, window // 4, window, mels) for window, mels in spans
        )

    def forward(self, fake: Tensor, real: Tensor) -> Tensor:
        """Compare audio `[batch, samples]`; a scalar, about 2 at the start and 0.4 when good."""
        losses = [(mel(fake) - mel(real)).abs().mean() for mel in self.resolutions]
        return torch.stack(losses).mean()
