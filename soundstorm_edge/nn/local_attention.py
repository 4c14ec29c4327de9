"""Causal attention within a window, for the frames of a codec.

The layers and their weights are those of the library local-attention, whose own code cannot be exported with
a dynamic length.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from .rotary import rotate

SCALE = 8.0  # scale of the products of normalized queries and keys


class LocalTransformer(nn.Module):
    """Blocks of windowed attention and a feed-forward over `[batch, frames, dim]`.

    A frame attends to itself and the `window` frames before it. Positions are rotary with the decay of xPos
    (arXiv 2212.10554; `xpos_scale_base` frames, half a window by default), or, with `dynamic_bias`, a bias
    that a small network computes from the distance.
    """

    def __init__(
        self,
        dim: int,
        depth: int,
        heads: int,
        dim_head: int,
        window: int,
        *,
        xpos_scale_base: float | None = None,
        dynamic_bias: bool = False,
    ) -> None:
        super().__init__()
        self.bias = DistanceBias(dim // 2, heads, window) if dynamic_bias else None
        base = None if dynamic_bias else xpos_scale_base or window // 2
        self.layers = nn.ModuleList(_Block(dim, heads, dim_head, window, base) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        """Map `[batch, frames, dim]` to the same shape."""
        bias = self.bias() if self.bias is not None else None
        for layer in self.layers:
            x = layer(x, bias)
        return x


class _Block(nn.Module):
    def __init__(self, dim: int, heads: int, dim_head: int, window: int, base: float | None) -> None:
        super().__init__()
        self.attention = LocalAttention(dim, heads, dim_head, window, base)
        self.feed_forward = FeedForward(dim)

    def forward(self, x: Tensor, bias: Tensor | None) -> Tensor:
        x = x + self.attention(x, bias)
        return x + self.feed_forward(x)


class LocalAttention(nn.Module):
    """Attention of normalized queries and keys, with a gate for each head's values.

    Frames are cut into pieces of one window; the queries of a piece attend to the keys of that piece and the
    one before.
    """

    def __init__(self, dim: int, heads: int, dim_head: int, window: int, xpos_base: float | None) -> None:
        super().__init__()
        self.heads, self.window, self.xpos_base = heads, window, xpos_base
        self.norm = nn.LayerNorm(dim)
        self.to_qkv = nn.Linear(dim, 3 * heads * dim_head, bias=False)
        self.query_scale = nn.Parameter(torch.ones(dim_head))
        self.key_scale = nn.Parameter(torch.ones(dim_head))
        self.to_gates = nn.Linear(dim, heads)
        self.to_out = nn.Linear(heads * dim_head, dim, bias=False)
        if xpos_base is not None:
            self.register_buffer("frequencies", 10_000 ** -(torch.arange(0, dim_head, 2) / dim_head))

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """Attend over `[batch, frames, dim]`; `bias` is `[heads, window, 2 * window]`, or none."""
        frames = x.shape[1]
        pieces = (frames + self.window - 1) // self.window
        x = self.norm(x)
        padded = F.pad(self.to_qkv(x), (0, 0, 0, pieces * self.window - frames))
        query, key, value = rearrange(
            padded, "b (p w) (three h e) -> three b h p w e", three=3, h=self.heads, w=self.window
        )
        query = F.normalize(query, dim=-1) * self.query_scale
        key, value = _with_previous(F.normalize(key, dim=-1) * self.key_scale), _with_previous(value)
        return self.attend(x, query, key, value, bias)

    def attend(
        self,
        x: Tensor,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        bias: Tensor | None,
        past_frames: Tensor | int = 0,
    ) -> Tensor:
        """Attend from each piece to itself and the one before.

        Args:
            x: `[batch, frames, dim]`, the input of the gates.
            query: `[batch, heads, pieces, window, dim_head]`.
            key, value: `[batch, heads, pieces, 2 * window, dim_head]`; the first window of the first piece
                has the last of the `past_frames`.
            bias: `[heads, window, 2 * window]`, or None.
            past_frames: number of frames before.
        """
        place = torch.arange(2 * self.window, device=x.device)
        distance = place[self.window :, None] - place
        starts = self.window * torch.arange(query.shape[2], device=x.device)
        exists = starts[:, None] + place >= self.window - past_frames
        visible = (distance >= 0) & (distance <= self.window) & exists[:, None]
        query, key = self._placed(query, key)
        scores = SCALE * query @ key.transpose(-1, -2)
        if bias is not None:
            scores = scores + bias[:, None]
        scores = scores.masked_fill(~visible, torch.finfo(scores.dtype).min)
        heard = rearrange(scores.softmax(dim=-1) @ value, "b h p w e -> b (p w) h e")[:, : x.shape[1]]
        gated = heard * self.to_gates(x).sigmoid()[..., None]
        return self.to_out(gated.flatten(-2))

    def _placed(self, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        """Rotate queries and keys by their positions, with decay over distance (xPos)."""
        if self.xpos_base is None:
            return query, key
        frequencies: Tensor = self.frequencies  # type: ignore[assignment]
        place = torch.arange(2 * self.window, device=query.device, dtype=frequencies.dtype)
        angles = place[:, None] * frequencies
        rotation = torch.stack((angles.cos(), angles.sin()), dim=1)
        size = 2 * len(frequencies)
        share = (torch.arange(0, size, 2, device=query.device) + 0.4 * size) / (1.4 * size)
        fading = share ** ((place - self.window) / self.xpos_base)[:, None]
        fading = torch.cat((fading, fading), dim=-1)
        query = rotate(query, rotation[self.window :]) * fading[self.window :]
        return query, rotate(key, rotation) / fading


class DistanceBias(nn.Module):
    """A bias per head and distance between query and key, computed by a small network."""

    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.network = nn.Sequential(
            nn.Linear(1, dim), nn.SiLU(), nn.Linear(dim, dim), nn.SiLU(), nn.Linear(dim, heads)
        )

    def forward(self) -> Tensor:
        """Return the bias `[heads, window, 2 * window]`."""
        weight: Tensor = self.network[0].weight  # type: ignore[assignment]
        place = torch.arange(2 * self.window, device=weight.device)
        by_distance = self.network(place[:, None].to(weight.dtype))
        return rearrange(by_distance[(place[self.window :, None] - place).abs()], "i j h -> h i j")


class FeedForward(nn.Module):
    """A norm, and two layers with a gated GELU between them (arXiv 2002.05202)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        inner = int(dim * 4 * 2 / 3)
        self.norm = nn.LayerNorm(dim)
        self.widen = nn.Linear(dim, 2 * inner, bias=False)
        self.narrow = nn.Linear(inner, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map `[batch, frames, dim]` to the same shape."""
        values, gates = self.widen(self.norm(x)).chunk(2, dim=-1)
        return self.narrow(values * F.gelu(gates))


def _with_previous(pieces: Tensor) -> Tensor:
    """Prepend the frames of the piece before to each piece: `[..., pieces, 2 * window, dim]`."""
    previous = F.pad(pieces, (0, 0, 0, 0, 1, 0))[..., :-1, :, :]
    return torch.cat((previous, pieces), dim=-2)
