"""The Conformer (arXiv 2005.08100) as SoundStorm uses it (arXiv 2305.09636, section 3).

Everything is `[batch, frames, dim]`, so that pointwise convolutions are matrix products, in PyTorch
and in the exported graph alike; the depthwise convolution alone is transposed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from soundstorm_runtime.errors import OptionError

from .config import check_positive
from .rotary import rotary_table, rotate

POSITIONS = 4096  # frames that a Conformer takes at once: 80 s at 50 Hz

# Added to the attention scores of padding: its exponential is 0, and half precision holds it.
UNSEEN = -1e4


@dataclass(frozen=True)
class ConformerConfig:
    """Sizes of a Conformer; `kernel` is odd and counts frames, `expansion` widens the convolution."""

    dim: int = 256
    depth: int = 6
    heads: int = 4
    dim_head: int = 64
    ff_mult: int = 4
    kernel: int = 5
    expansion: int = 2
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_positive(self, "dim", "depth", "heads", "dim_head", "ff_mult", "kernel", "expansion")
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel {self.kernel} is even, expected an odd number of frames")
        if self.dim_head % 2:
            raise ValueError(f"dim_head {self.dim_head} is odd; rotary positions need an even one")


class FeedForward(nn.Module):
    """Layer norm, a wide layer with swish, and back."""

    def __init__(self, dim: int, mult: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.widen = nn.Linear(dim, dim * mult)
        self.narrow = nn.Linear(dim * mult, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map `[batch, frames, dim]` to the same shape."""
        return self.dropout(self.narrow(self.dropout(F.silu(self.widen(self.norm(x))))))


class Attention(nn.Module):
    """Multi-head self-attention with rotary positions, through PyTorch's fused kernel."""

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        inner = config.heads * config.dim_head
        self.heads = config.heads
        self.dropout = config.dropout
        self.norm = nn.LayerNorm(config.dim)
        self.to_qkv = nn.Linear(config.dim, 3 * inner, bias=False)
        self.to_out = nn.Linear(inner, config.dim)

    def forward(self, x: Tensor, rotation: Tensor, bias: Tensor | None) -> Tensor:
        """Map `[batch, frames, dim]`; `bias` `[batch, 1, 1, frames]` is added to the scores of every key."""
        batch, frames, _ = x.shape
        qkv = self.to_qkv(self.norm(x)).view(batch, frames, 3, self.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        attended = F.scaled_dot_product_attention(
            rotate(q, rotation),
            rotate(k, rotation),
            v,
            attn_mask=bias,
            dropout_p=self.dropout if self.training else 0.0,
        )
        return self.to_out(attended.transpose(1, 2).reshape(batch, frames, -1))


class Convolution(nn.Module):
    """The convolution module: gated linear unit, depthwise convolution, swish, then layer norm.

    There is no batch norm: its statistics would see the padding of a batch.
    """

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        inner = config.dim * config.expansion
        self.norm = nn.LayerNorm(config.dim)
        self.widen = nn.Linear(config.dim, 2 * inner)
        self.depthwise = nn.Conv1d(inner, inner, config.kernel, padding=config.kernel // 2, groups=inner)
        self.inner_norm = nn.LayerNorm(inner)
        self.narrow = nn.Linear(inner, config.dim)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Map `[batch, frames, dim]`; frames outside `mask` count as silence to their neighbours."""
        y = F.glu(self.widen(self.norm(x)), dim=-1)
        if mask is not None:
            y = y * mask[:, :, None].to(y.dtype)
        y = self.depthwise(y.transpose(1, 2)).transpose(1, 2)
        return self.dropout(self.narrow(self.inner_norm(F.silu(y))))


class ConformerBlock(nn.Module):
    """Half a feed-forward, attention, convolution, half a feed-forward, and a norm."""

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        self.feed_forward_in = FeedForward(config.dim, config.ff_mult, config.dropout)
        self.attention = Attention(config)
        self.convolution = Convolution(config)
        self.feed_forward_out = FeedForward(config.dim, config.ff_mult, config.dropout)
        self.norm = nn.LayerNorm(config.dim)

    def forward(self, x: Tensor, rotation: Tensor, mask: Tensor | None, bias: Tensor | None) -> Tensor:
        """Map `[batch, frames, dim]` to the same shape."""
        x = x + 0.5 * self.feed_forward_in(x)
        x = x + self.attention(x, rotation, bias)
        x = x + self.convolution(x, mask)
        x = x + 0.5 * self.feed_forward_out(x)
        return self.norm(x)


class Conformer(nn.Module):
    """A stack of Conformer blocks."""

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("rotary", rotary_table(POSITIONS, config.dim_head), persistent=False)
        self.blocks = nn.ModuleList(ConformerBlock(config) for _ in range(config.depth))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map `[batch, frames, dim]` to the same shape; `mask` `[batch, frames]` is true where frames are."""
        frames = x.shape[1]
        if frames > POSITIONS:
            raise OptionError(f"{frames} frames at once, expected at most {POSITIONS}; split them into parts")
        rotation = self.get_buffer("rotary")[:frames]
        bias = None if mask is None else torch.where(mask, 0.0, UNSEEN).to(x.dtype)[:, None, None]
        for block in self.blocks:
            x = block(x, rotation, mask, bias)
        return x


def frame_mask(lengths: Tensor, frames: int) -> Tensor:
    """Give bool `[batch, frames]`, true for the first `lengths` int64 `[batch]` frames of each sample."""
    return torch.arange(frames, device=lengths.device) < lengths[:, None]
