"""Sampling of codes from logits, the same on every engine for equal random numbers."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def draw(
    logits: Tensor, given: Tensor, uniform: Tensor, temperature: Tensor, mask_token: int
) -> tuple[Tensor, Tensor]:
    """Sample the masked codes by inverting the cumulative distribution.

    Args:
        logits: float `[batch, frames, classes]`.
        given: the codes so far, int64 `[batch, frames]`.
        uniform: float32 `[batch, frames]` in [0, 1), one random number for each code.
        temperature: float32 `[1]`.
        mask_token: the id of a masked code.

    Returns:
        The codes int64 `[batch, frames]`, unmasked ones unchanged, and the probability of each at
        temperature 1, float32 `[batch, frames]`.
    """
    log_probabilities = logits.float().log_softmax(dim=-1)
    probabilities = (log_probabilities / temperature).softmax(dim=-1)
    ids = torch.where(given == mask_token, invert(probabilities, uniform), given)
    return ids, log_probabilities.gather(2, ids[..., None])[..., 0].exp()


def expected_vectors(logits: Tensor, codes: Tensor, level: Tensor, codebooks: Tensor) -> Tensor:
    """Return the mean of a codebook's vectors under the probabilities of a code, `[batch, frames, latent]`.

    Of all vectors, it has the least mean square error.

    Args:
        logits: of the level, float `[batch, frames, codebook_size]`.
        codes: so far, int64 `[batch, frames, levels]`, masked ones `codebook_size`; the others have their own
            vector.
        level: int64 `[1]`.
        codebooks: of the codec, float32 `[levels, codebook_size, latent]`.
    """
    given, vectors = codes.index_select(2, level)[..., 0], codebooks.index_select(0, level)[0]
    masked = given == codebooks.shape[1]
    mean = logits.float().softmax(dim=-1) @ vectors
    own = F.embedding(given.masked_fill(masked, 0), vectors)
    return torch.where(masked[..., None], mean, own)


def invert(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """Return the class at which the cumulative sum reaches `uniform`, int64 `[batch, frames]`.

    The block is found first, then the class within it: a cumulative sum over all classes is slow on every
    engine. The last sum is 1 up to rounding, so it is left out.

    Args:
        probabilities: float32 `[batch, frames, classes]`.
        uniform: float32 `[batch, frames]` in [0, 1).
    """
    classes = probabilities.shape[-1]
    size = max(d for d in range(1, math.isqrt(classes) + 1) if classes % d == 0)
    blocks = probabilities.unflatten(-1, (-1, size))
    ends = blocks.sum(dim=-1).cumsum(dim=-1)[..., :-1]
    block = (ends < uniform[..., None]).sum(dim=-1, keepdim=True)
    start = F.pad(ends, (1, 0)).gather(2, block)
    inside = blocks.gather(2, block[..., None].expand(-1, -1, -1, size))[:, :, 0]
    place = (inside.cumsum(dim=-1)[..., :-1] < uniform[..., None] - start).sum(dim=-1)
    return block[..., 0] * size + place


def keep_likeliest(logits: Tensor, filter_thres: float | None) -> Tensor:
    """Set the logits `[..., classes]` of all but the likeliest classes to -inf.

    Args:
        logits: float `[..., classes]`.
        filter_thres: share of the classes that is ruled out; None rules out none.
    """
    if filter_thres is None:
        return logits
    count = max(1, math.ceil((1 - filter_thres) * logits.shape[-1]))
    values, ids = logits.topk(count, dim=-1)
    return torch.full_like(logits, -math.inf).scatter(-1, ids, values)
