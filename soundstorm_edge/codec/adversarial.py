"""Losses between a codec and its discriminators (arXiv 2107.03312)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

PENALTY = 10.0  # weight of the gradient penalty


class DiscriminatorOutput(NamedTuple):
    """The output of one discriminator: `logits` (high for real audio) and the feature maps before them."""

    logits: Tensor
    features: list[Tensor]


@contextlib.contextmanager
def frozen(discriminators: nn.Module) -> Iterator[None]:
    """Disable gradients of the discriminators' weights, which the loss of the codec does not need."""
    trained = [parameter for parameter in discriminators.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


def hinge_loss(real: DiscriminatorOutput, fake: DiscriminatorOutput) -> Tensor:
    """Hinge loss of one discriminator, a scalar: real logits above 1, fake ones below -1 (equation 1)."""
    return functional.relu(1 - real.logits).mean() + functional.relu(1 + fake.logits).mean()


def discriminator_loss(real: Sequence[DiscriminatorOutput], fake: Sequence[DiscriminatorOutput]) -> Tensor:
    """Mean hinge loss of the discriminators, a scalar.

    Compute `fake` from detached audio, so that the codec gets no gradient.
    """
    return torch.stack([hinge_loss(r, f) for r, f in zip(real, fake, strict=True)]).mean()


def gradient_penalty(audio: Tensor, loss: Tensor) -> Tensor:
    """Penalty on the gradient of a discriminator's loss with respect to its audio, a scalar.

    Ten times the squared norm of the gradient, mean over the batch (after arXiv 1704.00028, towards 0).
    """
    (gradient,) = torch.autograd.grad(loss, audio, create_graph=True)
    return PENALTY * gradient.flatten(1).square().sum(dim=1).mean()


def adversarial_loss(fake: Sequence[DiscriminatorOutput]) -> Tensor:
    """Adversarial loss of the codec, a scalar (equation 2, without the clipping)."""
    return torch.stack([-output.logits.mean() for output in fake]).mean()


def feature_matching_loss(real: Sequence[DiscriminatorOutput], fake: Sequence[DiscriminatorOutput]) -> Tensor:
    """Mean absolute difference of all feature maps, a scalar (equation 3); `real` gets no gradient."""
    losses = [
        (fake_map - real_map.detach()).abs().mean()
        for r, f in zip(real, fake, strict=True)
        for real_map, fake_map in zip(r.features, f.features, strict=True)
    ]
    return torch.stack(losses).mean()
