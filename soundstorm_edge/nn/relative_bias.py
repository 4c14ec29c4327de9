"""Relative position bias of T5 (arXiv 1910.10683): a learned score for the distance of a key."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

BUCKETS = 32  # half of them for keys before the query, half for those after it
MAX_DISTANCE = 128  # all greater distances share the last bucket


class RelativeBias(nn.Module):
    """One number for each head and bucket of distances, times `scale`."""

    def __init__(self, heads: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.embedding = nn.Embedding(BUCKETS, heads)
        self.register_buffer("buckets", _buckets(), persistent=False)

    def forward(self, frames: int) -> Tensor:
        """Return the bias of the attention scores, float32 `[heads, frames, frames]`."""
        position = torch.arange(frames, device=self.embedding.weight.device)
        return self._by_distance(position - position[:, None])

    def of(self, distance: Tensor) -> Tensor:
        """Return the biases of distances int64 `[batch, queries, keys]`, `[batch, heads, queries, keys]`."""
        return self._by_distance(distance).transpose(0, 1)

    def _by_distance(self, distance: Tensor) -> Tensor:
        # The bias depends on the distance only, so one row of biases serves every pair of frames.
        by_distance = self.embedding(self.get_buffer("buckets")).t() * self.scale
        return by_distance[:, distance.clamp(-MAX_DISTANCE, MAX_DISTANCE) + MAX_DISTANCE]


def _buckets() -> Tensor:
    """Return the bucket of each distance from `-MAX_DISTANCE` to `MAX_DISTANCE`, int64.

    Small distances have a bucket each, large ones share buckets that widen logarithmically.
    """
    distance = torch.arange(-MAX_DISTANCE, MAX_DISTANCE + 1)
    half, size = BUCKETS // 2, distance.abs()
    near = half // 2
    far = torch.log(size.clamp(min=1).float() / near) / math.log(MAX_DISTANCE / near) * (half - near)
    bucket = torch.where(size < near, size, (near + far.long()).clamp(max=half - 1))
    return bucket + half * (distance > 0)
