"""Transformer stacks with rotary positions: an encoder, and a decoder with a key/value cache.

Blocks are pre-norm: RMSNorm (arXiv 1910.07467), attention without biases, feed-forward with GEGLU
(arXiv 2002.05202). Positions are rotary (arXiv 2104.09864) in self-attention and absent in
cross-attention, which has one learned key and value that it can look at when no phone helps.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .conformer import frame_mask
from .rotary import rotary_table, rotate


@dataclass(frozen=True)
class BlockConfig:
    """The size of every block of a stack; attention works in `heads * dim_head` dimensions."""

    dim: int
    heads: int
    dim_head: int
    ff_mult: int
    dropout: float


def split_heads(x: Tensor, heads: int) -> Tensor:
    """Turn `[batch, length, heads * dim_head]` into `[batch, heads, length, dim_head]`."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """Turn `[batch, heads, length, dim_head]` into `[batch, length, heads * dim_head]`."""
    return x.transpose(1, 2).flatten(2)


class FeedForward(nn.Sequential):
    """GEGLU with the inner size of a plain feed-forward of equal cost: two thirds of it."""

    def __init__(self, config: BlockConfig) -> None:
        inner = config.dim * config.ff_mult * 2 // 3
        super().__init__(
            nn.RMSNorm(config.dim),
            nn.Linear(config.dim, 2 * inner),
            GEGLU(),
            nn.Dropout(config.dropout),
            nn.Linear(inner, config.dim),
        )


class GEGLU(nn.Module):
    """Gate the first half of the last dimension with the GELU of the second."""

    def forward(self, x: Tensor) -> Tensor:
        """`[..., 2 * inner]` to `[..., inner]`."""
        value, gate = x.chunk(2, dim=-1)
        return value * F.gelu(gate)


class SelfAttention(nn.Module):
    """Rotary self-attention; keys are cached as they are attended to, that is, rotated."""

    def __init__(self, config: BlockConfig) -> None:
        super().__init__()
        inner = config.heads * config.dim_head
        self.heads, self.dropout = config.heads, config.dropout
        self.norm = nn.RMSNorm(config.dim)
        self.to_queries_keys_values = nn.Linear(config.dim, 3 * inner, bias=False)
        self.to_out = nn.Linear(inner, config.dim, bias=False)

    def forward(
        self,
        x: Tensor,
        rotation: Tensor,
        *,
        mask: Tensor | None = None,
        causal: bool = False,
        past: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Attend from `x` `[batch, length, dim]` to itself and to the keys and values of the `past`.

        `rotation` holds the positions of `x`; `mask` is bool `[batch, 1, 1, length]`, false where not
        to look. Gives the change of `x`, and all keys and values `[batch, heads, past + length, dim_head]`.
        """
        projected = self.to_queries_keys_values(self.norm(x)).chunk(3, dim=-1)
        queries, keys, values = (split_heads(part, self.heads) for part in projected)
        queries, keys = rotate(queries, rotation), rotate(keys, rotation)
        if past is not None:
            keys, values = torch.cat([past[0], keys], dim=2), torch.cat([past[1], values], dim=2)
        dropout = self.dropout if self.training else 0.0
        attended = F.scaled_dot_product_attention(
            queries, keys, values, attn_mask=mask, dropout_p=dropout, is_causal=causal
        )
        return self.to_out(merge_heads(attended)), keys, values


class CrossAttention(nn.Module):
    """Attention to an encoded source, and to one learned key and value in front of it."""

    def __init__(self, config: BlockConfig) -> None:
        super().__init__()
        inner = config.heads * config.dim_head
        self.heads, self.dropout = config.heads, config.dropout
        self.norm = nn.RMSNorm(config.dim)
        self.to_queries = nn.Linear(config.dim, inner, bias=False)
        self.to_keys_values = nn.Linear(config.dim, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, config.dim, bias=False)
        self.null = nn.Parameter(torch.randn(2, config.heads, 1, config.dim_head))

    def keys_values(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """Project `[batch, phones, dim]` once: two of `[batch, heads, phones, dim_head]`."""
        keys, values = self.to_keys_values(source).chunk(2, dim=-1)
        return split_heads(keys, self.heads), split_heads(values, self.heads)

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        """Attend from `x` `[batch, length, dim]`; `mask` is bool `[batch, 1, 1, 1 + phones]`."""
        queries = split_heads(self.to_queries(self.norm(x)), self.heads)
        null_key, null_value = self.null.unsqueeze(1).expand(-1, x.shape[0], -1, -1, -1).unbind(0)
        attended = F.scaled_dot_product_attention(
            queries,
            torch.cat([null_key, keys], dim=2),
            torch.cat([null_value, values], dim=2),
            attn_mask=mask,
            dropout_p=self.dropout if self.training else 0.0,
        )
        return self.to_out(merge_heads(attended))


class EncoderBlock(nn.Module):
    """Self-attention and feed-forward."""

    def __init__(self, config: BlockConfig) -> None:
        super().__init__()
        self.self_attention = SelfAttention(config)
        self.feed_forward = FeedForward(config)

    def forward(self, x: Tensor, rotation: Tensor, mask: Tensor) -> Tensor:
        """`[batch, length, dim]` to the same."""
        x = x + self.self_attention(x, rotation, mask=mask)[0]
        return x + self.feed_forward(x)


class DecoderBlock(nn.Module):
    """Self-attention, cross-attention and feed-forward."""

    def __init__(self, config: BlockConfig) -> None:
        super().__init__()
        self.self_attention = SelfAttention(config)
        self.cross_attention = CrossAttention(config)
        self.feed_forward = FeedForward(config)

    def forward(
        self,
        x: Tensor,
        rotation: Tensor,
        cross: tuple[Tensor, Tensor],
        cross_mask: Tensor,
        past: tuple[Tensor, Tensor] | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """`[batch, length, dim]` to the same, and the keys and values to attend to from the next position.

        Without a `past`, attention is causal; with one, `length` must be 1.
        """
        change, keys, values = self.self_attention(x, rotation, causal=past is None, past=past)
        x = x + change
        x = x + self.cross_attention(x, *cross, cross_mask)
        return x + self.feed_forward(x), keys, values


class Encoder(nn.Module):
    """A stack of encoder blocks over embeddings."""

    def __init__(self, config: BlockConfig, depth: int, positions: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(EncoderBlock(config) for _ in range(depth))
        self.norm = nn.RMSNorm(config.dim)
        self.register_buffer("rotary", rotary_table(positions, config.dim_head), persistent=False)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Encode `x` `[batch, length, dim]`, of which `lengths` `[batch]` are no padding."""
        rotation = self.get_buffer("rotary")[: x.shape[1]]
        mask = frame_mask(lengths, x.shape[1])[:, None, None]
        for block in self.blocks:
            x = block(x, rotation, mask)
        return self.norm(x)


class Decoder(nn.Module):
    """A stack of decoder blocks over embeddings; its state is a cache of keys and values."""

    def __init__(self, config: BlockConfig, depth: int, positions: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(DecoderBlock(config) for _ in range(depth))
        self.norm = nn.RMSNorm(config.dim)
        self.register_buffer("rotary", rotary_table(positions, config.dim_head), persistent=False)

    def cross(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """Project what all blocks attend to: keys and values `[depth, batch, heads, phones, dim_head]`."""
        blocks = cast(Iterable[DecoderBlock], self.blocks)
        projected = [block.cross_attention.keys_values(source) for block in blocks]
        keys, values = zip(*projected, strict=True)
        return torch.stack(keys), torch.stack(values)

    def forward(
        self,
        x: Tensor,
        lengths: Tensor,
        cross: tuple[Tensor, Tensor],
        past: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Decode `x` `[batch, length, dim]`, whose positions follow those of the `past`.

        `lengths` `[batch]` are those of the source, `cross` is what the method `cross` gave. `past` are
        keys and values, `[depth, batch, heads, past, dim_head]` each; without it `x` begins the sequence.
        Gives the decoded `x`, and keys and values of every block for the position after it.
        """
        start = 0 if past is None else past[0].shape[3]
        rotation = self.get_buffer("rotary")[start : start + x.shape[1]]
        # The learned key stands before the first phone, so every sample has one position more.
        mask = frame_mask(lengths + 1, cross[0].shape[3] + 1)[:, None, None]
        keys, values = [], []
        for i, block in enumerate(self.blocks):
            block_past = None if past is None else (past[0][i], past[1][i])
            x, block_keys, block_values = block(x, rotation, (cross[0][i], cross[1][i]), mask, block_past)
            keys.append(block_keys)
            values.append(block_values)
        return self.norm(x), keys, values
