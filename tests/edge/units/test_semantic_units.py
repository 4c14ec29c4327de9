"""Semantic units: frames, invariance, clustering."""

import numpy as np
import pytest
import torch

from soundstorm_edge.units.semantic_units import SpectralUnits, SpectralUnitsConfig


def noise_and_tone(seconds: float = 1.0) -> torch.Tensor:
    samples = int(seconds * 16_000)
    tone = 0.3 * torch.sin(2 * torch.pi * 440 * torch.arange(samples) / 16_000)
    noise = 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(0))
    return torch.cat((tone, noise))[None]


@pytest.fixture(scope="module")
def units() -> SpectralUnits:
    units = SpectralUnits(SpectralUnitsConfig(vocabulary=8))
    units.fit(units.features(noise_and_tone())[0].numpy(), seed=0)
    return units


def test_tokens_tell_sounds_apart(units: SpectralUnits) -> None:
    tokens = units.tokenize(noise_and_tone())[0].numpy()
    assert tokens.shape == (100,)
    assert not set(tokens[3:47]) & set(tokens[53:97])


def test_a_louder_recording_has_the_same_tokens(units: SpectralUnits) -> None:
    audio = noise_and_tone()
    assert (units.tokenize(audio) == units.tokenize(2 * audio)).float().mean() > 0.97


@pytest.mark.parametrize("rate", [25, 50])
def test_rate(rate: int) -> None:
    units = SpectralUnits(SpectralUnitsConfig(vocabulary=4, rate=rate, window=1280))
    assert units.tokenize(torch.randn(1, 16_000)).shape == (1, rate)


def test_nearest_centroid(units: SpectralUnits) -> None:
    features = units.features(noise_and_tone(0.2))[0].numpy()
    distance = ((features[:, None] - units.centroids.numpy()) ** 2).sum(-1)
    np.testing.assert_array_equal(units.tokenize(noise_and_tone(0.2))[0], distance.argmin(1))
