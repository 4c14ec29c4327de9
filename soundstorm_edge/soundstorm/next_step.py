"""A whole step of decoding as one function of tensors, for engines that keep the codes where they compute.

How many codes are kept does not depend on the codes, so that ranking and masking need no control flow. The
loop in NumPy (`soundstorm_runtime.decoding.maskgit`) defines what this computes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..nn.conformer import frame_mask
from .model import SoundStorm


def step_next(
    model: SoundStorm,
    codes: Tensor,
    start: Tensor,
    level: Tensor,
    semantic_tokens: Tensor,
    lengths: Tensor,
    uniform: Tensor,
    temperature: Tensor,
    noise: Tensor,
    noisy: Tensor,
    revise: Tensor,
    stay: Tensor,
    *past: Tensor,
) -> Tensor:
    """Sample the codes of one level, and mask the least certain again: the graph `step_next`.

    Args:
        codes: int64 `[batch, frames, levels]`, masked ones `codebook_size`.
        start: the codes that decoding began with, alike.
        level: int64 `[1]`.
        semantic_tokens: int64 `[batch, frames]`.
        lengths: frames of each sample, int64 `[batch]`.
        uniform: float32 `[batch, frames]` in [0, 1).
        temperature: float32 `[1]`.
        noise: added to the logarithm of the confidence, float32 `[batch, frames]`.
        noisy: int64 `[1]`, 1 where it is added; 0 ranks by the confidence itself.
        revise: int64 `[1]`, 1 where codes that were kept may be masked again.
        stay: how many codes of the level are masked afterwards, int64 `[batch]`.
        past: of a block-causal network, the fields of a `BlockCache`.

    Returns:
        The codes of the next step, int64 `[batch, frames, levels]`.
    """
    mask_token, frames = model.codebook_size, codes.shape[1]
    ids, confidence = model.step(codes, level, semantic_tokens, lengths, uniform, temperature, *past)
    within = frame_mask(lengths, frames)
    given = codes.index_select(2, level)[..., 0]
    masked = (given == mask_token) & within
    fresh = (start.index_select(2, level)[..., 0] == mask_token) & within
    candidates = masked | (fresh & (revise > 0))  # what is masked is fresh
    logarithm = confidence.clamp(min=torch.finfo(torch.float32).tiny).log() + noise
    scores = torch.where(noisy > 0, logarithm, confidence).where(candidates, math.inf)
    again = candidates & (ranks(scores) < stay[:, None])
    of_level = torch.where(masked, ids, given).masked_fill(again, mask_token)
    places = torch.arange(codes.shape[2], device=codes.device)
    return torch.where(places == level, of_level[..., None], codes)


def ranks(scores: Tensor) -> Tensor:
    """Count, for each of `[batch, frames]`, how many are lower, or equal and earlier: float32 alike.

    This is its place in a stable sort, by comparisons of all pairs, which every engine has.
    """
    places = torch.arange(scores.shape[1], device=scores.device)
    one, other = scores[:, :, None], scores[:, None, :]
    before = (other < one) | ((other == one) & (places[None, :] < places[:, None]))
    return before.float().sum(dim=-1)
