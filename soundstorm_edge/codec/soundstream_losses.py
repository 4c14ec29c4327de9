"""The training losses of SoundStream: five of the codec, and those of its discriminators."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from .adversarial import adversarial_loss, feature_matching_loss, frozen, gradient_penalty, hinge_loss
from .discriminators import DiscriminatorConfig, Discriminators
from .soundstream_config import SoundStreamConfig
from .spectral_loss import MultiSpectralLoss


class LossBreakdown(NamedTuple):
    """The losses of the codec without their weights, scalars."""

    recon: Tensor
    multi_spectral_recon: Tensor
    adversarial: Tensor
    feature: Tensor
    commitment: Tensor


class SoundStreamLosses(nn.Module):
    """The discriminators and spectral losses, and how the losses are weighted."""

    def __init__(self, config: SoundStreamConfig) -> None:
        super().__init__()
        self.config = config
        self.discriminators = Discriminators(
            DiscriminatorConfig(
                scales=config.discr_multi_scales,
                stft=config.complex_stft_discr_kwargs,
                stft_normalized=config.stft_normalized,
                stft_abs=config.complex_stft_discr_logits_abs,
            )
        )
        self.spectral = MultiSpectralLoss(
            config.target_sample_hz,
            config.multi_spectral_window_powers_of_two,
            config.multi_spectral_n_ffts,
            config.multi_spectral_n_mels,
            normalized=config.stft_normalized,
        )

    def codec(self, real: Tensor, fake: Tensor, commitment: Tensor) -> tuple[Tensor, LossBreakdown]:
        """Return the weighted sum of the codec's losses for audio `[batch, samples]`, and its parts.

        The discriminators get no gradient.
        """
        config = self.config
        with frozen(self.discriminators):
            truth, seen = self.discriminators(real), self.discriminators(fake)
        spectral = real.new_zeros(())
        if config.multi_spectral_recon_loss_weight:
            spectral = self.spectral(fake, real)
        parts = LossBreakdown(
            F.mse_loss(fake, real),
            spectral,
            adversarial_loss(seen),
            feature_matching_loss(truth, seen),
            commitment,
        )
        total = (
            config.recon_loss_weight * parts.recon
            + config.multi_spectral_recon_loss_weight * parts.multi_spectral_recon
            + config.adversarial_loss_weight * parts.adversarial
            + config.feature_loss_weight * parts.feature
            + parts.commitment
        )
        return total, parts

    def discriminator(self, real: Tensor, fake: Tensor, *, penalize: bool) -> dict[str, Tensor]:
        """Return the hinge loss of each discriminator by name ("scale:0.5", "stft"), scalars.

        With `penalize`, also the gradient penalty of each ("scale_grad_penalty:0.5", "stft_grad_penalty").
        The codec gets no gradient.
        """
        real_inputs, fake_inputs = (
            [audio.detach().requires_grad_(penalize) for audio in self.discriminators.inputs(whole)]
            for whole in (real, fake)
        )
        names = self.discriminators.names
        of_real, of_fake = self.discriminators.outputs(real_inputs), self.discriminators.outputs(fake_inputs)
        losses = {name: hinge_loss(r, f) for name, r, f in zip(names, of_real, of_fake, strict=True)}
        if penalize:
            for name, r, f in zip(names, real_inputs, fake_inputs, strict=True):
                kind, _, scale = name.partition(":")
                penalty = gradient_penalty(r, losses[name]) + gradient_penalty(f, losses[name])
                losses[f"{kind}_grad_penalty{':' if scale else ''}{scale}"] = penalty
        return losses


def total_discriminator_loss(losses: dict[str, Tensor]) -> Tensor:
    """Add up the results of `SoundStreamLosses.discriminator`: the mean over the scales, plus the STFT."""
    scales = sum(name.startswith("scale:") for name in losses)
    total = next(iter(losses.values())).new_zeros(())
    for name, loss in losses.items():
        total = total + (loss / scales if name.startswith("scale") else loss)
    return total
