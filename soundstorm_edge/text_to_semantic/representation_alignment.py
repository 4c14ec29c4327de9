"""Regularisation by the similarity of representations (arXiv 2309.08773, section 2.3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def similarity_loss(
    source: Tensor, source_mask: Tensor, target: Tensor, target_mask: Tensor, temperature: float | None
) -> Tensor:
    """Return the difference between the similarities of a batch's sources and of its targets, a scalar.

    Both are pooled over time; the loss is the mean squared difference of their cosine similarities over all
    pairs of samples. A decoder without a source thus learns to place its targets as the encoder places the
    sources. A batch of one has no pair, and a loss of 0.

    Args:
        source, target: float `[batch, length, dim]`, of different lengths.
        source_mask, target_mask: bool `[batch, length]`, false for padding.
        temperature: of a smooth maximum (log-sum-exp); None takes the maximum.
    """
    similarities = []
    for x, mask in ((source, source_mask), (target, target_mask)):
        x = x.masked_fill(~mask[..., None], -torch.inf)
        pooled = x.amax(dim=1) if temperature is None else temperature * (x / temperature).logsumexp(dim=1)
        unit = F.normalize(pooled, dim=-1)
        similarities.append(unit @ unit.T)
    pairs = ~torch.eye(len(source), dtype=torch.bool, device=source.device)
    difference = (similarities[0] - similarities[1])[pairs]
    return difference.square().sum() / max(1, len(difference))
