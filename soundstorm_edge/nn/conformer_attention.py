"""The attention of the Conformer: self-attention of the frames, and cross-attention to a context."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .block_cache import LayerCache
from .rotary import turn


class Attention(nn.Module):
    """Multi-head self-attention of the frames.

    Args:
        flash: whether PyTorch's fused kernel is used.
        mix_values: whether a share of every head's values, learned per frame, is that of the first block
            (arXiv 2410.17897).
    """

    def __init__(
        self, dim: int, heads: int, dim_head: int, dropout: float, flash: bool, *, mix_values: bool
    ) -> None:
        super().__init__()
        self.heads, self.dropout, self.flash = heads, dropout, flash
        self.to_qkv = nn.Linear(dim, 3 * heads * dim_head, bias=False)
        self.to_out = nn.Linear(heads * dim_head, dim)
        self.to_mix = nn.Linear(dim, heads, bias=False) if mix_values else None

    def forward(
        self,
        x: Tensor,
        first_values: Tensor | None,
        rotation: tuple[Tensor, Tensor] | None,
        bias: Tensor | None,
        past: LayerCache | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Map `[batch, frames, dim]` to the same shape; also return the keys and values of these frames.

        Args:
            x: the frames.
            first_values: of the first block, `[batch, heads, frames, dim_head]`.
            rotation: cosines and sines, `[frames, dim_head / 2]`, or `[batch, 1, frames, dim_head / 2]`.
            bias: added to the scores, `[batch or 1, heads or 1, frames or 1, past + frames]`.
            past: keys and values of frames before these, which are attended to as well.
        """
        batch, frames, _ = x.shape
        qkv = self.to_qkv(x).view(batch, frames, 3, self.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        if self.to_mix is not None and first_values is not None:
            v = v.lerp(first_values, self.to_mix(x).sigmoid().transpose(1, 2)[..., None])
        if rotation is not None:
            q, k = turn(q, *rotation), turn(k, *rotation)
        all_k, all_v = k, v
        if past is not None:
            all_k, all_v = self._after(past.keys, k), self._after(past.values, v)
        attended = attend(q, all_k, all_v, bias, self.dropout if self.training else 0.0, self.flash)
        return self.to_out(attended.transpose(1, 2).reshape(batch, frames, -1)), k, v

    def _after(self, past: Tensor, own: Tensor) -> Tensor:
        """Join `[batch, past, heads * dim_head]` and `[batch, heads, frames, dim_head]` like the latter."""
        return torch.cat([past.unflatten(2, (self.heads, -1)).transpose(1, 2), own], dim=2)


class CrossAttention(nn.Module):
    """Multi-head attention of the frames to a context of vectors of `width`, without positions."""

    def __init__(self, dim: int, width: int, heads: int, dim_head: int, dropout: float, flash: bool) -> None:
        super().__init__()
        self.heads, self.dropout, self.flash = heads, dropout, flash
        self.to_q = nn.Linear(dim, heads * dim_head, bias=False)
        self.to_kv = nn.Linear(width, 2 * heads * dim_head, bias=False)
        self.to_out = nn.Linear(heads * dim_head, dim)

    def forward(self, x: Tensor, context: Tensor, bias: Tensor | None) -> Tensor:
        """Map `[batch, frames, dim]` to the same shape, given a context `[batch, length, width]`.

        bias: added to the scores, `[batch, 1, 1, length]`.
        """
        batch, frames, _ = x.shape
        q = self.to_q(x).view(batch, frames, self.heads, -1).transpose(1, 2)
        kv = self.to_kv(context).view(batch, context.shape[1], 2, self.heads, -1)
        k, v = kv.permute(2, 0, 3, 1, 4).unbind(0)
        attended = attend(q, k, v, bias, self.dropout if self.training else 0.0, self.flash)
        return self.to_out(attended.transpose(1, 2).reshape(batch, frames, -1))


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, dropout: float, flash: bool) -> Tensor:
    """Weight values `[batch, heads, keys, dim_head]` for every query `[batch, heads, queries, dim_head]`."""
    if flash:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=dropout)
    scores = q @ k.transpose(2, 3) * q.shape[-1] ** -0.5
    weights = (scores if bias is None else scores + bias).softmax(dim=-1)
    return F.dropout(weights, dropout) @ v
