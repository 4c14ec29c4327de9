"""Transformer stacks with rotary positions: an encoder, and a decoder with a key/value cache.

Blocks are pre-norm: RMSNorm (arXiv 1910.07467), attention without biases, feed-forward with GEGLU (arXiv
2002.05202). Self-attention has rotary positions (arXiv 2104.09864), cross-attention none. Cross-attention has
one learned key and value to attend to where no phone is relevant, and where the source is withheld. Query
heads may share key and value heads in self-attention (grouped queries, arXiv 2305.13245).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .rotary import rotary_table, rotate

Cache = tuple[Sequence[Tensor] | Tensor, Sequence[Tensor] | Tensor]  # keys, values: by block


@dataclass(frozen=True)
class BlockConfig:
    """The size of the blocks of a stack; attention has `heads * dim_head` dimensions.

    kv_heads: key and value heads of self-attention; query head i uses key head i modulo these.
    """

    dim: int
    heads: int
    kv_heads: int
    dim_head: int
    ff_mult: int
    attn_dropout: float
    ff_dropout: float


def _norm(dim: int) -> nn.RMSNorm:
    """Return a norm with a small epsilon: PyTorch's default changes the fourth digit of logits."""
    return nn.RMSNorm(dim, eps=1e-12)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """Reshape `[batch, length, heads * dim_head]` to `[batch, heads, length, dim_head]`."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """Reshape `[batch, heads, length, dim_head]` to `[batch, length, heads * dim_head]`."""
    return x.transpose(1, 2).flatten(2)


def share_heads(x: Tensor, heads: int, dim: int = 1) -> Tensor:
    """Repeat keys or values along `dim`, in turn, for each of `heads` query heads."""
    return x if x.shape[dim] == heads else torch.cat([x] * (heads // x.shape[dim]), dim=dim)


class FeedForward(nn.Sequential):
    """GEGLU with two thirds of the inner size, which costs as much as a plain feed-forward."""

    def __init__(self, dim: int, mult: int = 4, dropout: float = 0.0) -> None:
        inner = dim * mult * 2 // 3
        super().__init__(
            _norm(dim),
            nn.Linear(dim, 2 * inner),
            GEGLU(),
            nn.Dropout(dropout),
            nn.Linear(inner, dim),
        )


class GEGLU(nn.Module):
    """Multiplies the first half of the last dimension by the GELU of the second."""

    def forward(self, x: Tensor) -> Tensor:
        """Map `[..., 2 * inner]` to `[..., inner]`."""
        value, gate = x.chunk(2, dim=-1)
        return value * F.gelu(gate)


class SelfAttention(nn.Module):
    """Rotary self-attention; the cached keys are already rotated."""

    def __init__(self, config: BlockConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.dropout = config.heads, config.kv_heads, config.attn_dropout
        self.sizes = [heads * config.dim_head for heads in (self.heads, self.kv_heads, self.kv_heads)]
        self.norm = _norm(config.dim)
        self.to_queries_keys_values = nn.Linear(config.dim, sum(self.sizes), bias=False)
        self.to_out = nn.Linear(self.sizes[0], config.dim, bias=False)

    def forward(
        self,
        x: Tensor,
        rotation: Tensor,
        *,
        mask: Tensor | None = None,
        causal: bool = False,
        past: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Attend from `x` to itself and to the cached keys and values.

        Args:
            x: `[batch, length, dim]`.
            rotation: of the positions of `x`.
            mask: bool, false where not to attend; broadcasts to `[batch, heads, length, past + length]`.
            causal: whether attention is causal.
            past: cached keys and values.

        Returns:
            The update of `x`, and all keys and values `[batch, kv_heads, past + length, dim_head]`.
        """
        projected = self.to_queries_keys_values(self.norm(x)).split(self.sizes, dim=-1)
        heads = (self.heads, self.kv_heads, self.kv_heads)
        queries, keys, values = (split_heads(part, n) for part, n in zip(projected, heads, strict=True))
        queries, keys = rotate(queries, rotation), rotate(keys, rotation)
        if past is not None:
            keys, values = torch.cat([past[0], keys], dim=2), torch.cat([past[1], values], dim=2)
        attended = F.scaled_dot_product_attention(
            queries,
            share_heads(keys, self.heads),
            share_heads(values, self.heads),
            attn_mask=mask,
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=causal,
        )
        return self.to_out(merge_heads(attended)), keys, values


class CrossAttention(nn.Module):
    """Attention to an encoded source, preceded by one learned key and value."""

    def __init__(self, config: BlockConfig) -> None:
        super().__init__()
        inner = config.heads * config.dim_head
        self.heads, self.dropout = config.heads, config.attn_dropout
        self.norm = _norm(config.dim)
        self.to_queries = nn.Linear(config.dim, inner, bias=False)
        self.to_keys_values = nn.Linear(config.dim, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, config.dim, bias=False)
        self.null = nn.Parameter(torch.randn(2, config.heads, 1, config.dim_head))

    def keys_values(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """Project `[batch, phones, dim]` once: keys and values `[batch, heads, phones, dim_head]`."""
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
        self.feed_forward = FeedForward(config.dim, config.ff_mult, config.ff_dropout)

    def forward(self, x: Tensor, rotation: Tensor, mask: Tensor) -> Tensor:
        """Map `[batch, length, dim]` to the same shape."""
        x = x + self.self_attention(x, rotation, mask=mask)[0]
        return x + self.feed_forward(x)


class DecoderBlock(nn.Module):
    """Self-attention, cross-attention and feed-forward."""

    def __init__(self, config: BlockConfig) -> None:
        super().__init__()
        self.self_attention = SelfAttention(config)
        self.cross_attention = CrossAttention(config)
        self.feed_forward = FeedForward(config.dim, config.ff_mult, config.ff_dropout)

    def forward(
        self,
        x: Tensor,
        rotation: Tensor,
        mask: Tensor | None,
        cross: tuple[Tensor, Tensor],
        cross_mask: Tensor,
        past: tuple[Tensor, Tensor] | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Map `[batch, length, dim]` to the same shape; also return the keys and values for the cache.

        Without a `mask`, attention is causal; with a `past` as well, `length` must be 1.
        """
        causal = mask is None and past is None
        change, keys, values = self.self_attention(x, rotation, mask=mask, causal=causal, past=past)
        x = x + change
        x = x + self.cross_attention(x, *cross, cross_mask)
        return x + self.feed_forward(x), keys, values


class Encoder(nn.Module):
    """A stack of encoder blocks over embeddings."""

    def __init__(self, config: BlockConfig, depth: int, positions: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(EncoderBlock(config) for _ in range(depth))
        self.norm = _norm(config.dim)
        self.register_buffer("rotary", rotary_table(positions, config.dim_head), persistent=False)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Encode `x` `[batch, length, dim]`; `mask` is bool `[batch, length]`, false for padding."""
        rotation = self.get_buffer("rotary")[: x.shape[1]]
        for block in self.blocks:
            x = block(x, rotation, mask[:, None, None])
        return self.norm(x)


class EarlyExit(nn.Module):
    """Predicts semantic tokens from the output of block `layer` of a decoder."""

    def __init__(self, dim: int, rows: int, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.feed_forward = FeedForward(dim)
        self.norm = _norm(dim)
        self.to_logits = nn.Linear(dim, rows, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        """Map `[..., dim]` to `[..., ids]`."""
        return self.to_logits(self.norm(hidden + self.feed_forward(hidden)))


class Decoded(NamedTuple):
    """The result of the decoder.

    Args:
        x: after the final norm, `[batch, length, dim]`.
        hidden: the output of every block, of that shape.
        keys, values: of every block, `[batch, kv_heads, past + length, dim_head]`.
    """

    x: Tensor
    hidden: list[Tensor]
    keys: list[Tensor]
    values: list[Tensor]


class Decoder(nn.Module):
    """A stack of decoder blocks over embeddings; its state is a cache of keys and values."""

    def __init__(self, config: BlockConfig, depth: int, positions: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(DecoderBlock(config) for _ in range(depth))
        self.norm = _norm(config.dim)
        self.register_buffer("rotary", rotary_table(positions, config.dim_head), persistent=False)

    def cross(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """Project the source for all blocks: keys and values `[depth, batch, heads, phones, dim_head]`."""
        blocks = cast(Iterable[DecoderBlock], self.blocks)
        projected = [block.cross_attention.keys_values(source) for block in blocks]
        keys, values = zip(*projected, strict=True)
        return torch.stack(keys), torch.stack(values)

    def forward(
        self,
        x: Tensor,
        cross: tuple[Tensor, Tensor],
        cross_mask: Tensor,
        past: Cache | None = None,
        mask: Tensor | None = None,
        depth: int | None = None,
    ) -> Decoded:
        """Decode embeddings whose positions follow those of the cache.

        Args:
            x: `[batch, length, dim]`.
            cross: the result of the method `cross`.
            cross_mask: bool `[batch, 1 + phones]`; the first column is the learned key.
            past: cached keys and values of each block, `[batch, kv_heads, past, dim_head]`; None at the start
                of the sequence.
            mask: bool `[batch, length]`, false for padding in `x`.
            depth: run the first `depth` blocks only.
        """
        start = 0 if past is None else past[0][0].shape[2]
        rotation = self.get_buffer("rotary")[start : start + x.shape[1]]
        look = _causal_mask(x, past, mask)
        decoded = Decoded(x, [], [], [])
        for i, block in enumerate(self.blocks[:depth]):
            block_past = None if past is None else (past[0][i], past[1][i])
            block_cross = (cross[0][i], cross[1][i])
            x, keys, values = block(x, rotation, look, block_cross, cross_mask[:, None, None], block_past)
            for parts, part in zip(decoded[1:], (x, keys, values), strict=True):
                parts.append(part)
        return decoded._replace(x=self.norm(x))


def _causal_mask(x: Tensor, past: Cache | None, mask: Tensor | None) -> Tensor | None:
    """Return where each position of `x` may attend, or None where causality alone decides."""
    length = x.shape[1]
    if mask is None and (past is None or length == 1):
        return None
    start = 0 if past is None else past[0][0].shape[2]
    causal = torch.ones(length, start + length, dtype=torch.bool, device=x.device).tril(start)
    return causal if mask is None else causal & mask[:, None, None]
