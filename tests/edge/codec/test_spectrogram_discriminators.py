"""The spectrogram discriminators: shapes, gradients, what they learn, and what is refused."""

from __future__ import annotations

import math

import pytest
import torch

from soundstorm_edge.codec.adversarial import adversarial_loss, discriminator_loss
from soundstorm_edge.codec.discriminators import DiscriminatorConfig, Discriminators
from soundstorm_edge.codec.spectrogram_discriminators import (
    SpectrogramDiscriminatorConfig,
    SpectrogramDiscriminators,
)
from soundstorm_edge.errors import ConfigError
from soundstorm_edge.support.config import from_dict
from soundstorm_edge.training.stages.codec_stage import CodecRecipe, build_discriminators
from soundstorm_runtime.errors import AudioError

TINY = SpectrogramDiscriminatorConfig(windows=(512, 256), channels=4)
TINIEST = DiscriminatorConfig(scales=(), channels=4, max_channels=16)


@pytest.fixture
def discriminators() -> SpectrogramDiscriminators:
    torch.manual_seed(0)
    return SpectrogramDiscriminators(TINY)


def test_each_window_has_logits_over_frames_and_bands(discriminators: SpectrogramDiscriminators) -> None:
    outputs = discriminators(torch.randn(2, 1024))
    assert [tuple(output.logits.shape) for output in outputs] == [(2, 1, 9, 8), (2, 1, 17, 4)]
    assert all(feature.isfinite().all() for output in outputs for feature in output.features)


def test_silence_has_finite_gradients(discriminators: SpectrogramDiscriminators) -> None:
    audio = torch.zeros(1, 1024, requires_grad=True)
    adversarial_loss(discriminators(audio)).backward()
    assert audio.grad is not None
    assert audio.grad.isfinite().all()


def test_gradients_reach_every_parameter_and_the_audio(discriminators: SpectrogramDiscriminators) -> None:
    audio = torch.randn(2, 1024, requires_grad=True)
    adversarial_loss(discriminators(audio)).backward()
    assert audio.grad is not None
    assert audio.grad.abs().sum() > 0
    assert [n for n, p in discriminators.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_phases_are_told_apart_where_magnitudes_are_equal(discriminators: SpectrogramDiscriminators) -> None:
    """Pulses against the same harmonics in random phases, which a metallic decoder makes of them."""
    optimizer = torch.optim.Adam(discriminators.parameters(), 3e-3)
    time = torch.arange(1024) / 16_000
    generator = torch.Generator().manual_seed(1)

    def harmonics(aligned: bool) -> torch.Tensor:
        pitch = 100 + 100 * torch.rand(8, 1, 1, generator=generator)
        order = torch.arange(1, 31)[None, :, None]
        phases = torch.rand(8, 30, 1, generator=generator) * (0 if aligned else 2 * math.pi)
        return torch.cos(2 * math.pi * pitch * order * time + phases).sum(1) / 10

    for _ in range(60):
        loss = discriminator_loss(discriminators(harmonics(True)), discriminators(harmonics(False)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for real, fake in zip(discriminators(harmonics(True)), discriminators(harmonics(False)), strict=True):
        assert real.logits.mean() > fake.logits.mean() + 0.5


def test_a_recipe_puts_them_in_place_of_the_others() -> None:
    table = {"adversarial": 1.0, "spectrogram_discriminators": {"windows": [512]}}
    recipe = from_dict(CodecRecipe, table, "codec")
    assert isinstance(build_discriminators(recipe), SpectrogramDiscriminators)
    assert isinstance(build_discriminators(CodecRecipe(discriminators=TINIEST)), Discriminators)


def test_impossible_values_are_refused(discriminators: SpectrogramDiscriminators) -> None:
    with pytest.raises(ConfigError, match=r"windows is \[100\], expected one or more multiples of 4"):
        SpectrogramDiscriminatorConfig(windows=(100,))
    with pytest.raises(AudioError, match="audio has 300 samples, expected at least 512"):
        discriminators(torch.zeros(1, 300))
