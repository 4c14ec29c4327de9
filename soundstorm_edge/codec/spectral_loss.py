"""Reconstruction losses of the codecs over several time-frequency resolutions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..nn.mel import LogMel, mel_triangles


class SpectralLoss(nn.Module):
    """L1 distance of log-mel spectra, averaged over windows of 256 to 2048 samples at 16 kHz.

    The resolutions follow SoundStream (arXiv 2107.03312, section III-D); the logarithm without the linear
    term follows the Descript codec (arXiv 2306.06546), because it measured better.
    """

    def __init__(self, sample_rate: int) -> None:
        super().__init__()
        spans = ((2048, 80), (1024, 80), (512, 64), (256, 32))
        self.resolutions = nn.ModuleList(
            LogMel(sample_rate, window // 4, window, mels) for window, mels in spans
        )

    def forward(self, fake: Tensor, real: Tensor) -> Tensor:
        """Return the distance of audio `[batch, samples]`, a scalar: about 2 at the start, 0.4 when good."""
        losses = [(mel(fake) - mel(real)).abs().mean() for mel in self.resolutions]
        return torch.stack(losses).mean()


class MultiSpectralLoss(nn.Module):
    """SoundStream's distance of mel power spectra and their logarithms (equations 4 and 5).

    One spectrum for each of `powers`: windows of `2 ** power` samples, every quarter of that, and at least
    `bins` bins of the Fourier transform.
    """

    def __init__(
        self, sample_rate: int, powers: tuple[int, ...], bins: int, mels: int, *, normalized: bool
    ) -> None:
        super().__init__()
        self.windows = [2**power for power in powers]
        self.spectra = nn.ModuleList(
            _MelPower(sample_rate, window, max(bins, window), mels, normalized=normalized)
            for window in self.windows
        )

    def forward(self, fake: Tensor, real: Tensor) -> Tensor:
        """Return the distance of audio `[batch, samples]`, a scalar, the sum over all spectra."""
        loss = fake.new_zeros(())
        for window, spectrum in zip(self.windows, self.spectra, strict=True):
            a, b = spectrum(fake), spectrum(real)
            logs = a.clamp(min=1e-20).log() - b.clamp(min=1e-20).log()
            loss = loss + (a - b).abs().sum(dim=1).mean()
            loss = loss + (window / 2) ** 0.5 * torch.linalg.vector_norm(logs, dim=1).mean()
        return loss


class _MelPower(nn.Module):
    """Mel power spectra `[batch, mels, frames]` of audio `[batch, samples]`, in float32."""

    def __init__(self, sample_rate: int, window: int, bins: int, mels: int, *, normalized: bool) -> None:
        super().__init__()
        self.window, self.bins, self.normalized = window, bins, normalized
        self.register_buffer("hann", torch.hann_window(window), persistent=False)
        self.register_buffer("filters", mel_triangles(sample_rate, bins, mels)[0].float(), persistent=False)

    def forward(self, audio: Tensor) -> Tensor:
        hann: Tensor = self.hann  # type: ignore[assignment]
        filters: Tensor = self.filters  # type: ignore[assignment]
        # Silence at the edges where the audio is too short to be reflected.
        mode = "reflect" if audio.shape[-1] > self.bins // 2 else "constant"
        spectrum = torch.stft(
            audio.float(), self.bins, self.window // 4, self.window, hann,
            center=True, pad_mode=mode, return_complex=True,
        )  # fmt: skip
        if self.normalized:
            spectrum = spectrum / hann.square().sum().sqrt()
        return filters.T @ spectrum.abs().square()
