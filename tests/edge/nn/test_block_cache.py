"""Blocks computed one after the other, from what was kept of those before, against all at once."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from soundstorm_edge.nn.block_cache import BlockCache
from soundstorm_edge.nn.conformer import Conformer, ConformerConfig
from soundstorm_runtime.errors import OptionError

SMALL = {"dim": 16, "depth": 2, "heads": 2, "dim_head": 8, "conv_kernel_size": 5, "num_residual_streams": 1}


def make(**changes: Any) -> Conformer:
    torch.manual_seed(0)
    return Conformer(ConformerConfig(**{**SMALL, "block_causal": True, **changes})).eval()


def nothing(conformer: Conformer, batch: int, padding: int = 0) -> BlockCache:
    """What is kept of no frames, with keys of padding, which must not be seen."""
    config, inner = conformer.config, conformer.config.dim * conformer.config.conv_expansion_factor
    before = conformer.blocks[0].convolution.before  # type: ignore[union-attr]
    keys = torch.full((batch, config.depth, padding, config.heads * config.dim_head), 9.0)
    convolved = torch.zeros(batch, config.depth, before, inner)  # type: ignore[arg-type]
    return BlockCache(keys, keys, convolved, torch.zeros(batch, dtype=torch.int64))


def joined(past: BlockCache, own: BlockCache) -> BlockCache:
    """Append a block to what was kept, each sample after its own length."""
    lengths = past.lengths + own.lengths
    grown = []
    for before, after in ((past.keys, own.keys), (past.values, own.values)):
        whole = torch.full((*before.shape[:2], int(lengths.max()) + 2, before.shape[3]), 7.0)
        for row, (start, count) in enumerate(zip(past.lengths.tolist(), own.lengths.tolist(), strict=True)):
            whole[row, :, :start] = before[row, :, :start]
            whole[row, :, start : start + count] = after[row, :, :count]
        grown.append(whole)
    return BlockCache(grown[0], grown[1], own.convolved, lengths)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"t5_rel_pos_bias": True},
        {"conv_kernel_size": 4},
        {"conv_causal": True},
        {"attn_flash": False, "value_residual": False, "num_residual_streams": 2},
    ],
    ids=str,
)
def test_a_block_after_a_cache_is_as_in_the_whole(changes: dict[str, Any]) -> None:
    conformer = make(**changes)
    lengths = torch.tensor([[6, 5, 4], [3, 1, 7]])  # blocks of two samples
    x = torch.randn(2, 15, 16)
    blocks = torch.tensor([[0] * 6 + [1] * 5 + [2] * 4, [0] * 3 + [1] + [2] * 11])
    mask = torch.arange(15) < lengths.sum(dim=1)[:, None]
    whole = conformer(x, mask, blocks=blocks)
    past = nothing(conformer, 2, padding=1)
    for counts in lengths.T:
        own = torch.zeros(2, int(counts.max()) + 1, 16)  # with a frame of padding
        for row in range(2):
            own[row, : counts[row]] = x[row, past.lengths[row] :][: counts[row]]
        found, kept = conformer.continued(own, counts, past)
        for row in range(2):
            expected = whole[row, past.lengths[row] :][: counts[row]]
            torch.testing.assert_close(found[row, : counts[row]], expected, atol=1e-5, rtol=1e-5)
        past = joined(past, kept)


def test_a_cache_needs_a_block_causal_network() -> None:
    conformer = make(block_causal=False)
    with pytest.raises(OptionError, match="block_causal False and a cache was given"):
        conformer.continued(torch.randn(1, 4, 16), torch.tensor([4]), nothing(conformer, 1))
