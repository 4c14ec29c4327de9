"""The network between codes and logits: levels, groups, conditions and heads."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from soundstorm_edge.nn.conformer import Conformer, ConformerConfig
from soundstorm_edge.soundstorm.conformer_wrapper import ConformerWrapper, ConformerWrapperConfig
from soundstorm_runtime.errors import OptionError

TINY = ConformerConfig(dim=16, depth=1, heads=2, dim_head=8, conv_kernel_size=3)
CODES, LEVELS, FRAMES = 10, 4, 6


def make(**changes: Any) -> ConformerWrapper:
    torch.manual_seed(0)
    fields = {"codebook_size": CODES, "num_quantizers": LEVELS, "conformer": TINY} | changes
    return ConformerWrapper(**fields).eval()


@pytest.fixture
def codes() -> torch.Tensor:
    return torch.randint(CODES + 1, (2, FRAMES, LEVELS), generator=torch.Generator().manual_seed(1))


def test_the_conformer_may_be_one_or_what_makes_one() -> None:
    ready = Conformer(TINY)
    assert make(conformer=ready).conformer is ready
    fields = {"dim": 16, "depth": 1, "heads": 2, "dim_head": 8, "conv_kernel_size": 3}
    config = ConformerWrapperConfig(CODES, LEVELS, TINY)
    assert (
        make(conformer=fields).config
        == make(conformer=ready).config
        == ConformerWrapper(config).config
        == config
    )


@pytest.mark.parametrize("groups", [1, 2])
def test_shapes_flattened_or_not(codes: torch.Tensor, groups: int) -> None:
    net = make(num_quantizers=LEVELS // groups, grouped_quantizers=groups)
    logits, embeddings = net(codes, return_logits_and_embeddings=True)
    assert logits.shape == (2, FRAMES * LEVELS, CODES)
    assert embeddings.shape == (2, FRAMES * LEVELS, 16)
    torch.testing.assert_close(net(codes.flatten(1)), logits)
    torch.testing.assert_close(net(codes, return_embeddings=True), embeddings)


def test_one_level_is_what_all_levels_are(codes: torch.Tensor) -> None:
    net = make()
    whole = net(codes).unflatten(1, (FRAMES, LEVELS))
    hidden = net.hidden(codes)
    for level in range(LEVELS):
        torch.testing.assert_close(net.heads(hidden, torch.tensor([level])), whole[:, :, level])
    each = net.heads(hidden, torch.tensor([3, 1]))
    torch.testing.assert_close(each, torch.stack([whole[0, :, 3], whole[1, :, 1]]))


def test_summed_embeddings_are_the_sum_of_all(codes: torch.Tensor) -> None:
    net = make()
    hidden = net.hidden(codes)
    whole = net(codes, return_embeddings=True).unflatten(1, (FRAMES, LEVELS)).sum(dim=2)
    torch.testing.assert_close(net.heads.summed_embeddings(hidden), whole)
    said = net(codes, return_embeddings=True)
    torch.testing.assert_close(
        net(codes, sum_embeds=said), net(codes, sum_embeds=whole), atol=1e-5, rtol=1e-5
    )
    assert (net(codes, sum_embeds=said) - net(codes)).abs().max() > 1e-3


def test_every_level_and_group_has_embeddings_of_its_own() -> None:
    for groups in (1, 2):
        net = make(num_quantizers=LEVELS // groups, grouped_quantizers=groups)
        seen = []
        for level in range(LEVELS):
            codes = torch.zeros(1, 1, LEVELS, dtype=torch.long)
            codes[..., level] = 1
            seen.append(net.hidden(codes).flatten())
        assert torch.pdist(torch.stack(seen)).min() > 1e-3


def test_a_condition_of_each_frame_or_of_the_batch(codes: torch.Tensor) -> None:
    net, cond = make(), torch.randn(2, 16)
    repeated = cond[:, None].expand(-1, FRAMES, -1)
    torch.testing.assert_close(net(codes, cond=cond), net(codes, cond=repeated))
    assert (net(codes, cond=cond) - net(codes)).abs().max() > 1e-3


def test_what_the_conformer_takes_goes_through(codes: torch.Tensor) -> None:
    net = make(conformer=ConformerConfig(dim=16, depth=1, heads=2, dim_head=8, cross_attention=5))
    assert net(codes, context=torch.randn(2, 3, 5)).shape == (2, FRAMES * LEVELS, CODES)


def test_a_level_embedding_tells_the_level(codes: torch.Tensor) -> None:
    net = make(level_embedding=True)
    first, second = (net.hidden(codes, level=torch.tensor([level])) for level in (0, 1))
    assert (first - second).abs().max() > 1e-3
    with pytest.raises(OptionError, match="has a level embedding and was given no level"):
        net(codes)


def test_codes_of_another_codec_are_refused(codes: torch.Tensor) -> None:
    with pytest.raises(OptionError, match=r"shape \[2, 6, 3\], expected \[batch, frames, 4\] or flattened"):
        make()(codes[..., :3])
    with pytest.raises(OptionError, match=r"shape \[2, 23\]"):
        make()(codes.flatten(1)[:, 1:])
