"""Filters of pulses and noise as spectra, in training and in PyTorch's own decoding.

`soundstorm_runtime.audio.harmonic_source` computes the same on the device.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from soundstorm_runtime.audio.harmonic_source import HIGHEST, LEAST

from .interface import Pitch

LOWEST_PITCH, USUAL_PITCH, HIGHEST_PITCH = 50.0, 170.0, 600.0  # Hz


def filters_from(predicted: Tensor, bins: int) -> Tensor:
    """Turn the decoder's results `[..., 2 * bins + 2]` to magnitudes, shares of noise, Hz and voicing."""
    magnitude = predicted[..., :bins].exp().clamp(max=1e2)  # so that a single frame cannot dominate the loss
    noise_share, pitch, voiced = predicted[..., bins:].split([bins, 1, 1], dim=-1)
    hertz = (USUAL_PITCH * pitch.exp()).clamp(LOWEST_PITCH, HIGHEST_PITCH)
    return torch.cat([magnitude, noise_share.sigmoid(), hertz, voiced.sigmoid()], dim=-1)


def excite(filters: Tensor, window: Tensor, hop: int, sample_rate: int, pitch: Pitch | None = None) -> Tensor:
    """Filter pulses and noise.

    Args:
        filters: float32 `[batch, transforms, 2 * bins + 2]`, from `filters_from`.
        window: of the transforms, float32 `[samples]`.
        hop: samples from one transform to the next.
        sample_rate: in Hz.
        pitch: that of the audio to be reconstructed, in place of the predicted one.

    Returns:
        Spectra, complex64 `[batch, transforms, bins]`. The noise is that of the device, except in training.
    """
    batch, transforms, width = filters.shape
    bins = width // 2 - 1
    magnitude, noise_share, hertz, voiced = filters.split([bins, bins, 1, 1], dim=-1)
    given = Pitch(hertz[..., 0], voiced[..., 0]) if pitch is None else pitch
    harmonic = given.voiced[..., None] * (1 - noise_share)
    pulses = _pulses(given.hertz.detach(), window, hop, sample_rate)
    if torch.is_grad_enabled():
        noise = torch.randn(batch, transforms, bins, 2, device=filters.device)
    else:
        drawn = np.random.default_rng(0).standard_normal((transforms, bins, 2), np.float32)
        noise = torch.from_numpy(drawn).to(filters.device).expand(batch, -1, -1, -1)
    return magnitude * (
        harmonic * pulses + (1 - harmonic) * torch.view_as_complex(noise.contiguous()) * 0.5**0.5
    )


def _pulses(hertz: Tensor, window: Tensor, hop: int, sample_rate: int) -> Tensor:
    """Return spectra of pulses, complex64 `[batch, transforms, bins]`, of mean power 1 over the bins."""
    pitch = hertz.double()
    before = torch.cat([pitch[:, :1], pitch[:, :-1]], dim=1)
    cycles = ((before + pitch) / 2).cumsum(dim=1) * (hop / sample_rate)
    time = (torch.arange(len(window), device=hertz.device) - len(window) / 2) / sample_rate
    at = (cycles % 1)[..., None] + pitch[..., None] * time
    at = (at - at.round()).float()
    harmonics = (HIGHEST * sample_rate / pitch).floor().float()[..., None]
    sine = (torch.pi * at).sin()
    is_peak = sine.abs() < 1e-5
    ratio = (torch.pi * (2 * harmonics + 1) * at).sin() / torch.where(is_peak, 1.0, 2 * sine) - 0.5
    spectrum = torch.fft.rfft(torch.where(is_peak, harmonics, ratio) * window)
    return spectrum / (spectrum.abs().square().mean(dim=-1, keepdim=True) + LEAST).sqrt()
