"""Rotary positions (arXiv 2104.09864): queries and keys are rotated by angles proportional to their place."""

from __future__ import annotations

import torch
from torch import Tensor


def rotary_table(positions: int, dim_head: int) -> Tensor:
    """Return cosines and sines of all positions: float32 `[positions, 2, dim_head / 2]`.

    It is a constant of the exported graph: angles computed on the device would be wrong in half precision,
    which has no integers above 2048.
    """
    frequencies = 1 / 10_000 ** (torch.arange(0, dim_head, 2) / dim_head)
    angles = torch.arange(positions)[:, None] * frequencies
    return torch.stack([angles.cos(), angles.sin()], dim=1)


def rotate(x: Tensor, rotation: Tensor) -> Tensor:
    """Rotate `x` `[..., length, dim_head]` by `rotation` `[length, 2, dim_head / 2]`."""
    return turn(x, *rotation.unbind(1))


def turn(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotate `x` `[..., length, dim_head]` by cosines and sines `[..., length, dim_head / 2]`.

    Dimension i is paired with i + dim_head / 2: halves are cheaper to slice than even and odd dimensions.
    """
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1)
