"""What a block-causal Conformer keeps of finished blocks, so that they are computed once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class LayerCache:
    """What one layer keeps of the frames before a block.

    Args:
        keys: rotated to their positions, float32 `[batch, past, heads * dim_head]`.
        values: alike.
        convolved: the last inputs of the depthwise convolution, float32 `[batch, before, channels]`, zeros
            where there were fewer frames.
    """

    keys: Tensor
    values: Tensor
    convolved: Tensor


@dataclass(frozen=True)
class BlockCache:
    """What all layers keep; the second axis is the layer.

    Args:
        keys: float32 `[batch, layers, past, heads * dim_head]`.
        values: alike.
        convolved: float32 `[batch, layers, before, channels]`.
        lengths: frames of each sample, int64 `[batch]`; keys and values after them are padding.
    """

    keys: Tensor
    values: Tensor
    convolved: Tensor
    lengths: Tensor

    def layer(self, place: int) -> LayerCache:
        """Return what one layer keeps."""
        return LayerCache(self.keys[:, place], self.values[:, place], self.convolved[:, place])


def last_frames(x: Tensor, lengths: Tensor, count: int) -> Tensor:
    """Return the `count` frames that end `lengths` frames after the first `count` of `x`.

    Args:
        x: `[batch, count + frames, channels]`.
        lengths: int64 `[batch]`.
        count: how many.
    """
    places = lengths[:, None] + torch.arange(count, device=x.device)
    return x.gather(1, places[:, :, None].expand(-1, -1, x.shape[2]))
