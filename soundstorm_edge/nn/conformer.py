"""The Conformer (arXiv 2005.08100) as SoundStorm uses it (arXiv 2305.09636, section 3).

Tensors are `[batch, frames, dim]`, so that pointwise convolutions are matrix products, in PyTorch and in the
exported graph alike; only the depthwise convolution is transposed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from hyper_connections import HyperConnections
from hyper_connections.hyper_connections import get_expand_reduce_stream_functions
from torch import Tensor, nn
from torch.nn import functional as F

from soundstorm_runtime.errors import OptionError

from ..errors import ConfigError
from ..support.config import MOST_LAYERS, check_positive, from_fields
from .block_cache import BlockCache, LayerCache, last_frames
from .conformer_attention import Attention, CrossAttention
from .relative_bias import RelativeBias
from .rotary import rotary_table

POSITIONS = 4096  # rotary positions kept as a table: 80 s at 50 Hz

# Added to the attention scores of padding: its exponential is 0, and half precision can represent it.
UNSEEN = -1e4

# Epsilon of the norm inside the convolution, whose input may be small: about the least of half precision.
FAINT = 1e-7


@dataclass(frozen=True)
class ConformerConfig:
    """Sizes and variant of a Conformer.

    Args:
        dim, depth: width, and number of blocks.
        dim_head, heads: of the attention.
        ff_mult: width of the feed-forward layers, in multiples of `dim`.
        conv_expansion_factor: width of the convolution, likewise.
        conv_kernel_size: of the depthwise convolution, in frames.
        attn_dropout, ff_dropout, conv_dropout: dropout rates.
        conv_causal: whether the convolution sees no later frame.
        attn_flash: whether attention uses PyTorch's fused kernel.
        t5_rel_pos_bias: the relative bias of T5 in place of rotary positions.
        num_residual_streams: hyper-connections (arXiv 2409.19606) where above 1.
        value_residual: attention mixes in the values of the first block (arXiv 2410.17897).
        cross_attention: width of a context that frames attend to; None for none.
        adaptive_norm: width of a vector per sample that sets scale, shift and gate of every branch (DiT,
            arXiv 2212.09748); None for none.
        block_causal: neither attention nor convolution of a frame sees a later block (Block Diffusion, arXiv
            2503.09573), so that the result of a block does not depend on what follows.

    Raises:
        ConfigError: a value is impossible.
    """

    dim: int
    depth: int
    dim_head: int = 64
    heads: int = 8
    ff_mult: int = 4
    conv_expansion_factor: int = 2
    conv_kernel_size: int = 31
    attn_dropout: float = 0.0
    ff_dropout: float = 0.0
    conv_dropout: float = 0.0
    conv_causal: bool = False
    attn_flash: bool = True
    t5_rel_pos_bias: bool = False
    num_residual_streams: int = 4
    value_residual: bool = True
    cross_attention: int | None = None
    adaptive_norm: int | None = None
    block_causal: bool = False

    def __post_init__(self) -> None:
        check_positive(self, "dim", "dim_head", "heads", "ff_mult", "conv_expansion_factor")
        check_positive(self, "conv_kernel_size")
        check_positive(self, "depth", "num_residual_streams", most=MOST_LAYERS)
        for name in ("attn_dropout", "ff_dropout", "conv_dropout"):
            if not 0 <= (share := getattr(self, name)) < 1:
                raise ConfigError(f"{name} is {share}, expected 0 or more and less than 1")
        if self.dim_head % 2 and not self.t5_rel_pos_bias:
            raise ConfigError(f"dim_head {self.dim_head} is odd; rotary positions need an even one")


@dataclass(frozen=True)
class BlockInputs:
    """The inputs of every block beside the frames.

    Args:
        mask: bool `[batch, frames]`.
        bias: added to the attention scores, `[batch or 1, heads or 1, frames or 1, frames]`.
        rotation: cosines and sines of the positions, `[frames, dim_head / 2]`.
        condition: `[batch, adaptive_norm]`.
        context: `[batch, length, cross_attention]`, with its own bias.
        blocks: int64 `[batch, frames]`.
        lengths: frames of each sample, int64 `[batch]`, where a cache of the frames before is given.
    """

    mask: Tensor | None
    bias: Tensor | None
    rotation: tuple[Tensor, Tensor] | None
    condition: Tensor | None
    context: Tensor | None
    context_bias: Tensor | None
    blocks: Tensor | None
    lengths: Tensor | None = None


class FeedForward(nn.Module):
    """A wide hidden layer with the swish activation."""

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        self.widen = nn.Linear(config.dim, config.dim * config.ff_mult)
        self.narrow = nn.Linear(config.dim * config.ff_mult, config.dim)
        self.dropout = nn.Dropout(config.ff_dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map `[batch, frames, dim]` to the same shape."""
        return self.dropout(self.narrow(self.dropout(F.silu(self.widen(x)))))


class Convolution(nn.Module):
    """The convolution module: gated linear unit, depthwise convolution, swish, then a norm.

    It has no batch norm, whose statistics would include the padding of a batch.
    """

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        inner, kernel = config.dim * config.conv_expansion_factor, config.conv_kernel_size
        # Padded equally on both sides; the excess of an even or causal kernel is cut off at the end.
        padding = kernel - 1 if config.conv_causal else kernel // 2
        self.widen = nn.Linear(config.dim, 2 * inner)
        self.depthwise = nn.Conv1d(inner, inner, kernel, padding=padding, groups=inner)
        self.surplus = 2 * padding - kernel + 1
        self.before, self.after = padding, kernel - 1 - padding  # frames that a frame depends on
        self.norm = nn.LayerNorm(inner, eps=FAINT, bias=False)
        self.narrow = nn.Linear(inner, config.dim)
        self.dropout = nn.Dropout(config.conv_dropout)

    def forward(self, x: Tensor, mask: Tensor | None, blocks: Tensor | None = None) -> Tensor:
        """Map `[batch, frames, dim]` to the same shape; frames outside `mask` are zeros.

        Args:
            x: the frames.
            mask: bool `[batch, frames]`.
            blocks: int64 `[batch, frames]`; later blocks are zeros to the frames of earlier ones.
        """
        real = None if mask is None else mask[:, :, None].to(x.dtype)
        y = _within(F.glu(self.widen(x), dim=-1), real)
        y = self._convolve(y) if blocks is None else self._convolve_blocks(y, blocks[:, :, None])
        return self._narrowed(_within(y, real))

    def continued(self, x: Tensor, lengths: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """Map the frames of a block, given the last inputs of the depthwise convolution before it.

        Args:
            x: the frames, `[batch, frames, dim]`.
            lengths: of each sample, int64 `[batch]`.
            past: `[batch, before, channels]`.

        Returns:
            The same shape, and the last inputs at the end of the block, like `past`.
        """
        real = frame_mask(lengths, x.shape[1])[:, :, None].to(x.dtype)
        y = _within(F.glu(self.widen(x), dim=-1), real)
        y = F.pad(torch.cat([past, y], dim=1), (0, 0, 0, self.after))
        last = last_frames(y, lengths, self.before)
        y = y.transpose(1, 2)
        y = F.conv1d(y, self.depthwise.weight, self.depthwise.bias, groups=y.shape[1]).transpose(1, 2)
        return self._narrowed(_within(y, real)), last

    def _narrowed(self, y: Tensor) -> Tensor:
        return self.dropout(self.narrow(self.norm(F.silu(y))))

    def _convolve(self, y: Tensor) -> Tensor:
        y = self.depthwise(y.transpose(1, 2))
        return (y[:, :, : -self.surplus] if self.surplus else y).transpose(1, 2)

    def _convolve_blocks(self, y: Tensor, blocks: Tensor) -> Tensor:
        """Convolve, then take away what the frames of later blocks added."""
        found = self._convolve(y)
        kernel = self.depthwise.weight[:, 0]
        for ahead in range(1, min(self.after, y.shape[1] - 1) + 1):
            later = blocks[:, ahead:] > blocks[:, :-ahead]
            added = y[:, ahead:] * later * kernel[:, self.before + ahead]
            found = found - F.pad(added, (0, 0, 0, ahead)).to(found.dtype)
        return found


def _within(y: Tensor, real: Tensor | None) -> Tensor:
    """Set frames outside the mask to zero."""
    return y if real is None else y * real


class Residual(nn.Module):
    """The residual connection of a branch: residual streams, norm, and gate."""

    def __init__(self, config: ConformerConfig, place: int) -> None:
        super().__init__()
        streams, width = config.num_residual_streams, config.adaptive_norm
        self.connection = (
            HyperConnections(streams, dim=config.dim, layer_index=place) if streams > 1 else None
        )
        self.norm = nn.LayerNorm(config.dim)
        self.modulation = None if width is None else nn.Linear(width, 3 * config.dim)
        if self.modulation is not None:
            nn.init.zeros_(self.modulation.weight)
            nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, inputs: BlockInputs) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Return the input of the branch, `[batch, frames, dim]`, and a function that adds its output."""
        y, add = (x, x.__add__) if self.connection is None else self.connection(x)
        y = self.norm(y)
        if self.modulation is None or inputs.condition is None:
            return y, add
        scale, shift, gate = self.modulation(F.silu(inputs.condition))[:, None].chunk(3, dim=-1)
        return y * (1 + scale) + shift, lambda answer: add(gate * answer)


class ConformerBlock(nn.Module):
    """Half a feed-forward, attention, convolution, half a feed-forward, and a norm.

    With a context, cross-attention follows self-attention.
    """

    def __init__(self, config: ConformerConfig, place: int) -> None:
        super().__init__()
        self.feed_forward_in = FeedForward(config)
        heads = (config.heads, config.dim_head, config.attn_dropout, config.attn_flash)
        self.attention = Attention(config.dim, *heads, mix_values=config.value_residual and place > 0)
        self.convolution = Convolution(config)
        self.feed_forward_out = FeedForward(config)
        self.residuals = nn.ModuleList(Residual(config, 4 * place + branch) for branch in range(4))
        self.cross_attention = self.cross_residual = None
        if config.cross_attention is not None:
            self.cross_attention = CrossAttention(config.dim, config.cross_attention, *heads)
            self.cross_residual = Residual(config, 4 * place + 1)
        self.norm = nn.LayerNorm(config.dim)

    def forward(
        self, x: Tensor, first_values: Tensor | None, inputs: BlockInputs, past: LayerCache | None = None
    ) -> tuple[Tensor, Tensor, LayerCache | None]:
        """Map the residual streams `[batch * streams, frames, dim]`.

        Returns:
            The same shape, the attention values, and, with the cache of the frames before, that of these.
        """
        feed_in, attend_frames, convolve, feed_out = self.residuals
        y, add = feed_in(x, inputs)
        x = add(0.5 * self.feed_forward_in(y))
        y, add = attend_frames(x, inputs)
        attended, keys, values = self.attention(y, first_values, inputs.rotation, inputs.bias, past)
        x = add(attended)
        if self.cross_attention is not None and self.cross_residual is not None:
            y, add = self.cross_residual(x, inputs)
            x = add(self.cross_attention(y, inputs.context, inputs.context_bias))
        y, add = convolve(x, inputs)
        cache = None
        if past is None or inputs.lengths is None:
            x = add(self.convolution(y, inputs.mask, inputs.blocks))
        else:
            convolved, last = self.convolution.continued(y, inputs.lengths, past.convolved)
            x = add(convolved)
            cache = LayerCache(keys.transpose(1, 2).flatten(2), values.transpose(1, 2).flatten(2), last)
        y, add = feed_out(x, inputs)
        x = add(0.5 * self.feed_forward_out(y))
        return self.norm(x), values, cache


class Conformer(nn.Module):
    """A stack of Conformer blocks.

    Args:
        config: or its fields by keyword: see `ConformerConfig`.

    Raises:
        ConfigError: a field is unknown or impossible.
    """

    def __init__(self, config: ConformerConfig | None = None, /, **fields: object) -> None:
        super().__init__()
        self.config = config = from_fields(ConformerConfig, config, fields)
        self.dim = config.dim
        self.relative_bias: RelativeBias | None = None
        if config.t5_rel_pos_bias:
            self.relative_bias = RelativeBias(config.heads, config.dim_head**0.5)
        else:
            self.register_buffer("rotary", rotary_table(POSITIONS, config.dim_head), persistent=False)
        self.blocks = nn.ModuleList(ConformerBlock(config, place) for place in range(config.depth))
        streams = config.num_residual_streams
        self.expand, self.reduce = get_expand_reduce_stream_functions(streams, disable=streams == 1)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        *,
        context: Tensor | None = None,
        context_mask: Tensor | None = None,
        condition: Tensor | None = None,
        blocks: Tensor | None = None,
    ) -> Tensor:
        """Map `[batch, frames, dim]` to the same shape.

        Args:
            x: the frames.
            mask: bool `[batch, frames]`, true for real frames.
            context: float32 `[batch, length, cross_attention]`, with its own `context_mask`.
            context_mask: bool `[batch, length]`.
            condition: float32 `[batch, adaptive_norm]`.
            blocks: int64 `[batch, frames]`, the number of each frame's block, from 0, never decreasing.

        Raises:
            OptionError: the Conformer was made for one of these and it is missing, or the reverse.
        """
        _check_given("context", context, "cross_attention", self.config.cross_attention)
        _check_given("condition", condition, "adaptive_norm", self.config.adaptive_norm)
        if (blocks is not None) != self.config.block_causal:
            raise OptionError(
                f"the Conformer has block_causal {self.config.block_causal} and blocks were "
                f"{'not ' if blocks is None else ''}given, expected both or neither"
            )
        rotation, bias = self._positions(x.shape[1]), _mask_bias(mask, x)
        if blocks is not None:
            later = torch.where(blocks[:, :, None] < blocks[:, None], UNSEEN, 0.0).to(x.dtype)[:, None]
            bias = later if bias is None else torch.minimum(later, bias)
        if self.relative_bias is not None:
            relative = self.relative_bias(x.shape[1]).to(x.dtype)
            bias = relative if bias is None else relative + bias
        inputs = BlockInputs(mask, bias, rotation, condition, context, _mask_bias(context_mask, x), blocks)
        first_values = None
        x = self.expand(x)
        for block in self.blocks:
            x, values, _ = block(x, first_values, inputs)
            first_values = values if first_values is None else first_values
        return self.reduce(x)

    def continued(self, x: Tensor, lengths: Tensor, past: BlockCache) -> tuple[Tensor, BlockCache]:
        """Map one block, `[batch, frames, dim]`, as `forward` does where it follows finished blocks.

        Args:
            x: the frames of the block.
            lengths: of each sample, int64 `[batch]`.
            past: what was kept of the frames before.

        Returns:
            The same shape, and what to keep of this block: keys and values of its own frames, and the last
            inputs of the convolutions.

        Raises:
            OptionError: the Conformer is not block-causal.
        """
        if not self.config.block_causal:
            raise OptionError(
                "the Conformer has block_causal False and a cache was given; train it with True"
            )
        frames = torch.arange(x.shape[1], device=x.device)
        mask = frame_mask(lengths, x.shape[1])
        seen = torch.cat([frame_mask(past.lengths, past.keys.shape[2]), mask], dim=1)
        bias, rotation = torch.where(seen, 0.0, UNSEEN).to(x.dtype)[:, None, None], None
        if self.relative_bias is None:
            positions = past.lengths[:, None] + frames
            cosine, sine = self.get_buffer("rotary").unbind(1)
            rotation = F.embedding(positions, cosine)[:, None], F.embedding(positions, sine)[:, None]
        else:
            before = torch.arange(past.keys.shape[2], device=x.device) - past.lengths[:, None]
            keys = torch.cat([before, frames.expand(x.shape[0], -1)], dim=1)
            bias = bias + self.relative_bias.of(keys[:, None] - frames[:, None]).to(x.dtype)
        inputs = BlockInputs(mask, bias, rotation, None, None, None, None, lengths)
        x, first_values, kept = self.expand(x), None, []
        for place, block in enumerate(self.blocks):
            x, values, cache = block(x, first_values, inputs, past.layer(place))
            first_values = values if first_values is None else first_values
            kept.append(cache)
        keys, values, convolved = (
            torch.stack([getattr(cache, name) for cache in kept], dim=1)
            for name in ("keys", "values", "convolved")
        )
        return self.reduce(x), BlockCache(keys, values, convolved, lengths)

    def _positions(self, frames: int) -> tuple[Tensor, Tensor] | None:
        if self.relative_bias is not None:
            return None
        table = self.get_buffer("rotary")
        if frames > POSITIONS:
            table = rotary_table(frames, self.config.dim_head).to(table)
        cosine, sine = table[:frames].unbind(1)
        return cosine, sine


def _mask_bias(mask: Tensor | None, like: Tensor) -> Tensor | None:
    """Return the bias of the attention scores, `[batch, 1, 1, keys]`, for a mask `[batch, keys]`."""
    return None if mask is None else torch.where(mask, 0.0, UNSEEN).to(like.dtype)[:, None, None]


def _check_given(name: str, tensor: Tensor | None, field: str, width: int | None) -> None:
    if (tensor is None) != (width is None):
        raise OptionError(
            f"the Conformer has {field} {width} and was given {'no' if tensor is None else 'a'} {name}, "
            f"expected {'none' if width is None else f'one of width {width}'}; give both or neither"
        )


def frame_mask(lengths: Tensor, frames: int) -> Tensor:
    """Return bool `[batch, frames]`, true for the first `lengths` int64 `[batch]` frames of each sample."""
    return torch.arange(frames, device=lengths.device) < lengths[:, None]
