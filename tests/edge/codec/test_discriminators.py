import math

import pytest
import torch

from soundstorm_edge.codec.adversarial import (
    DiscriminatorOutput,
    adversarial_loss,
    discriminator_loss,
    feature_matching_loss,
    frozen,
    gradient_penalty,
)
from soundstorm_edge.codec.discriminators import DiscriminatorConfig, Discriminators, StftDiscriminatorConfig
from soundstorm_edge.errors import ConfigError
from soundstorm_edge.support.config import from_dict
from soundstorm_runtime.errors import AudioError

STFT = StftDiscriminatorConfig(
    channels=2,
    strides=((2, 2), (2, 2), (2, 1)),
    chan_mults=(1, 2, 2),
    n_fft=256,
    win_length=256,
    hop_length=64,
)
TINY = DiscriminatorConfig(channels=4, max_channels=16, stft=STFT)


@pytest.fixture
def discriminators() -> Discriminators:
    torch.manual_seed(0)
    return Discriminators(TINY)


def sines(batch: int, samples: int) -> torch.Tensor:
    pitch = torch.linspace(150, 600, batch)[:, None]
    time = torch.arange(samples) / 16_000
    return sum((0.3 / k * torch.sin(2 * math.pi * k * pitch * time + k) for k in (1, 2, 3)), torch.zeros(()))


def output(logits: list[float], features: list[float]) -> DiscriminatorOutput:
    return DiscriminatorOutput(torch.tensor(logits), [torch.tensor([value]) for value in features])


@pytest.mark.parametrize("samples", [256, 257, 511, 1000])
def test_each_discriminator_gives_logits_and_feature_maps(
    discriminators: Discriminators, samples: int
) -> None:
    outputs = discriminators(torch.randn(2, samples))
    assert len(outputs) == 4  # three waveform scales and the STFT
    for logits, features in outputs:
        assert logits.shape[:2] == (2, 1)
        assert logits.numel() >= 2
        assert all(feature.shape[0] == 2 and feature.isfinite().all() for feature in features)


def test_each_scale_hears_half_the_rate_of_the_one_before(discriminators: Discriminators) -> None:
    first_maps = [features[0].shape[-1] for _, features in discriminators(torch.randn(1, 1024))[:3]]
    assert first_maps == [256, 129, 65]  # a quarter of what is heard
    assert discriminators.names == ["scale:1", "scale:0.5", "scale:0.25", "stft"]


def test_the_stft_discriminator_sees_phase_and_not_only_magnitude(discriminators: Discriminators) -> None:
    audio = torch.randn(1, 512)
    assert not torch.allclose(discriminators.stft(audio).logits, discriminators.stft(-audio).logits)


def test_the_stft_discriminator_may_judge_real_and_imaginary_parts() -> None:
    logits = (
        Discriminators(DiscriminatorConfig((), 4, 16, STFT, stft_abs=False)).stft(torch.randn(1, 512)).logits
    )
    assert logits.shape[-1] == 2
    assert (logits < 0).any()


def test_gradients_reach_every_parameter_and_the_audio(discriminators: Discriminators) -> None:
    audio = torch.randn(2, 1024, requires_grad=True)
    adversarial_loss(discriminators(audio)).backward()
    assert audio.grad is not None
    assert audio.grad.abs().sum() > 0
    missing = [n for n, p in discriminators.named_parameters() if p.grad is None or not p.grad.any()]
    assert missing == []


def test_every_discriminator_learns_to_tell_noise_from_sines(discriminators: Discriminators) -> None:
    optimizer = torch.optim.Adam(discriminators.parameters(), 3e-3)
    real, losses = sines(8, 1024), []
    for _ in range(40):
        loss = discriminator_loss(discriminators(real), discriminators(0.3 * torch.randn(8, 1024)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) / 5 < 0.5 * losses[0]
    unseen = 0.3 * torch.randn(8, 1024)
    for r, f in zip(discriminators(real), discriminators(unseen), strict=True):
        assert r.logits.mean() > f.logits.mean() + 0.5


def test_hinge_losses_by_hand() -> None:
    real = [output([2.0, 0.5], []), output([-1.0], [])]
    fake = [output([-2.0, 0.0], []), output([3.0], [])]
    # (0 + 0.5) / 2 + (0 + 1) / 2 = 0.75 and 2 + 4 = 6
    assert discriminator_loss(real, fake).item() == pytest.approx((0.75 + 6) / 2)
    # the means are -1 and 3
    assert adversarial_loss(fake).item() == pytest.approx(-1.0)


def test_gradient_penalty_by_hand() -> None:
    audio = torch.tensor([[1.0, 2.0], [0.0, 3.0]], requires_grad=True)
    loss = (audio * torch.tensor([[1.0, 2.0], [0.0, 1.0]])).sum()
    # squared norms 1 + 4 and 1, their mean 3, ten times
    assert gradient_penalty(audio, loss).item() == pytest.approx(30.0)


def test_frozen_discriminators_pass_gradients_on_and_keep_none(discriminators: Discriminators) -> None:
    audio = torch.randn(1, 512, requires_grad=True)
    next(discriminators.parameters()).requires_grad_(False)
    with frozen(discriminators):
        adversarial_loss(discriminators(audio)).backward()
    assert audio.grad is not None
    assert all(p.grad is None for p in discriminators.parameters())
    assert [p.requires_grad for p in discriminators.parameters()].count(False) == 1, "that it was before"


def test_feature_matching_by_hand_over_all_maps() -> None:
    real = [output([0.0], [1.0, 2.0]), output([0.0], [5.0])]
    fake = [output([9.0], [1.5, 2.0]), output([9.0], [4.0])]
    assert feature_matching_loss(real, fake).item() == pytest.approx((0.5 + 0.0 + 1.0) / 3)


def test_feature_matching_gives_the_recording_no_gradient(discriminators: Discriminators) -> None:
    real = torch.randn(1, 512, requires_grad=True)
    fake = torch.randn(1, 512, requires_grad=True)
    feature_matching_loss(discriminators(real), discriminators(fake)).backward()
    assert real.grad is None
    assert fake.grad is not None


def test_wrong_audio_is_refused(discriminators: Discriminators) -> None:
    with pytest.raises(AudioError, match=r"\[512\], expected floating point \[batch, samples\]"):
        discriminators(torch.randn(512))
    with pytest.raises(AudioError, match=r"torch\.int16"):
        discriminators(torch.zeros(1, 512, dtype=torch.int16))
    with pytest.raises(AudioError, match="255 samples, expected at least 256"):
        discriminators(torch.randn(1, 255))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scale": 3}, "unknown key 'scale'; valid keys: scales, channels"),
        ({"scales": [0.5, 1]}, "scales is .0.5, 1.0., expected falling numbers above 0"),
        ({"channels": 6}, "channels is 6, expected a multiple of 4"),
        ({"max_channels": 48}, "max_channels is 48, expected 16 times a power of two"),
        ({"max_channels": 8}, "max_channels is 8"),
        ({"stft": {"strides": [[2, 2]]}}, "strides has 1 entries and chan_mults 6"),
        ({"stft": {"n_fft": 128, "win_length": 128}}, "n_fft 128 leaves 9 frequencies after all strides"),
        ({"stft": {"win_length": 2048}}, "win_length is 2048, expected at most n_fft .1024"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_dict(DiscriminatorConfig, settings, "discriminators")
