"""The Conformer: padding, positions, and each of its variants."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from soundstorm_edge.errors import ConfigError
from soundstorm_edge.nn.conformer import POSITIONS, Conformer, ConformerConfig, frame_mask
from soundstorm_edge.nn.rotary import rotary_table, rotate
from soundstorm_runtime.errors import OptionError

TINY = ConformerConfig(dim=16, depth=2, heads=2, dim_head=8, conv_kernel_size=5)
VARIANTS: list[dict[str, Any]] = [
    {},
    {"num_residual_streams": 1, "value_residual": False},
    {"num_residual_streams": 2},
    {"t5_rel_pos_bias": True},
    {"t5_rel_pos_bias": True, "dim_head": 7},
    {"conv_causal": True},
    {"conv_kernel_size": 4},
    {"conv_kernel_size": 4, "conv_causal": True},
    {"conv_kernel_size": 1, "conv_expansion_factor": 1, "ff_mult": 1},
    {"attn_flash": False},
]


def make(**changes: Any) -> Conformer:
    """A Conformer of which no parameter is at its initial value."""
    torch.manual_seed(0)
    conformer = Conformer(dataclasses.replace(TINY, **changes)).eval()
    with torch.no_grad():
        for parameter in conformer.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return conformer


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_padding_changes_nothing(changes: dict[str, Any]) -> None:
    conformer, x = make(**changes), torch.randn(2, 9, 16)
    alone = conformer(x[:, :6], frame_mask(torch.tensor([6, 6]), 6))
    padded = conformer(x, frame_mask(torch.tensor([6, 6]), 9))
    assert padded.shape == x.shape
    torch.testing.assert_close(padded[:, :6], alone, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(conformer(x[:, :6]), alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_gradients_reach_every_parameter(changes: dict[str, Any]) -> None:
    conformer = make(**changes).train()
    conformer(torch.randn(2, 5, 16)).pow(2).sum().backward()
    assert [n for n, p in conformer.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_fields_or_a_configuration() -> None:
    fields = {field.name: getattr(TINY, field.name) for field in dataclasses.fields(TINY)}
    assert Conformer(**fields).config == Conformer(TINY).config == TINY
    with pytest.raises(
        ConfigError, match="ConformerConfig has the unknown key 'width'; valid keys: dim, depth"
    ):
        Conformer(dim=16, depth=1, width=3)
    with pytest.raises(ConfigError, match="lacks the key 'depth'"):
        Conformer(dim=16)
    with pytest.raises(ConfigError, match="and the fields dim were given, expected one or the other"):
        Conformer(TINY, dim=16)
    with pytest.raises(ConfigError, match="of type int was given, expected ConformerConfig; give its fields"):
        Conformer(512, depth=2)  # type: ignore[arg-type]


def test_every_frame_sees_every_other() -> None:
    x = torch.randn(1, 12, 16, requires_grad=True)
    make()(x)[0, 0].sum().backward()
    assert x.grad is not None
    assert (x.grad[0].abs().sum(dim=1) > 0).all()


@pytest.mark.parametrize(
    ("kernel", "causal", "seen"), [(5, False, range(2, 7)), (4, False, range(2, 6)), (4, True, range(1, 5))]
)
def test_the_frames_a_convolution_sees(kernel: int, causal: bool, seen: range) -> None:
    """Frame 4 hears its neighbours; of an even kernel the one more lies before it."""
    convolution = make(conv_kernel_size=kernel, conv_causal=causal).blocks[0].convolution
    x = torch.randn(1, 10, 16, requires_grad=True)
    convolution(x, None)[0, 4].sum().backward()
    assert x.grad is not None
    assert x.grad[0].abs().sum(dim=1).nonzero().flatten().tolist() == list(seen)


def test_fused_attention_is_attention() -> None:
    x, mask = torch.randn(2, 9, 16), frame_mask(torch.tensor([9, 4]), 9)
    for changes in ({}, {"t5_rel_pos_bias": True}):
        plain = make(**changes, attn_flash=False)
        torch.testing.assert_close(make(**changes)(x, mask), plain(x, mask), atol=1e-5, rtol=1e-5)


def test_relative_bias_hangs_on_the_distance_alone() -> None:
    conformer = make(t5_rel_pos_bias=True)
    assert conformer.relative_bias is not None
    bias = conformer.relative_bias(300)
    assert bias.shape == (2, 300, 300)
    torch.testing.assert_close(bias[:, 1:, 1:], bias[:, :-1, :-1])
    assert (bias[:, 0, 3] != bias[:, 3, 0]).all(), "before is not after"
    torch.testing.assert_close(bias[:, 0, 128], bias[:, 0, 299])
    x = torch.randn(1, 6, 16)
    assert (conformer(x).flip(1) - conformer(x.flip(1))).abs().max() > 1e-3, "the order of frames counts"


def test_rotation_depends_on_distance_alone() -> None:
    table = rotary_table(40, 8)
    query, key = torch.randn(2, 8)
    products = [rotate(query, table[i][None]) @ rotate(key, table[i + 7][None]).T for i in (0, 5, 32)]
    torch.testing.assert_close(products[1:], [products[0]] * 2)
    torch.testing.assert_close(rotate(query, table[:1])[0], query)


def test_positions_go_on_after_the_table() -> None:
    conformer = make(depth=1)
    rotation = conformer._positions(POSITIONS + 2)
    assert rotation is not None
    for found, table in zip(rotation, conformer.get_buffer("rotary").unbind(1), strict=True):
        assert len(found) == POSITIONS + 2
        torch.testing.assert_close(found[:POSITIONS], table)


def test_one_residual_stream_is_a_plain_residual() -> None:
    assert not any("connection" in name for name, _ in make(num_residual_streams=1).named_parameters())
    streams = {name for name, _ in make(num_residual_streams=3).named_parameters() if "static_beta" in name}
    assert len(streams) == 2 * 4


def test_values_of_the_first_block_are_mixed_into_the_others() -> None:
    first, second = make().blocks
    assert first.attention.to_mix is None
    y, values = torch.randn(1, 4, 16), torch.randn(1, 2, 4, 8)
    with torch.no_grad():
        second.attention.to_mix.weight.zero_()  # a share of one half
        mixed = second.attention(y, values, None, None)[2]
        own = second.attention(y, None, None, None)[2]
    torch.testing.assert_close(mixed, (own + values) / 2)
    assert make(value_residual=False).blocks[1].attention.to_mix is None


def test_frames_attend_to_a_context() -> None:
    conformer = make(cross_attention=6)
    x, context = torch.randn(2, 5, 16), torch.randn(2, 7, 6)
    whole = conformer(x, context=context)
    assert (whole - conformer(x, context=context + 1)).abs().max() > 1e-3
    torch.testing.assert_close(
        conformer(x, context=context[:, torch.randperm(7)]), whole, atol=1e-5, rtol=1e-5
    )
    padded, mask = F.pad(context, (0, 0, 0, 3), value=9.0), frame_mask(torch.tensor([7, 7]), 10)
    torch.testing.assert_close(conformer(x, context=padded, context_mask=mask), whole, atol=1e-5, rtol=1e-5)


def test_adaptive_norm_begins_as_nothing_and_learns() -> None:
    torch.manual_seed(0)
    conformer = Conformer(dataclasses.replace(TINY, adaptive_norm=6, num_residual_streams=1))
    x = torch.randn(2, 5, 16)
    untouched = x
    for block in conformer.blocks:
        untouched = block.norm(untouched)
    torch.testing.assert_close(conformer(x, condition=torch.randn(2, 6)), untouched)

    conformer = make(adaptive_norm=6)
    condition = torch.randn(2, 6)
    whole = conformer(x, condition=condition)
    changed = conformer(x, condition=torch.stack([condition[0], condition[1] + 1]))
    torch.testing.assert_close(changed[0], whole[0])
    assert (changed[1] - whole[1]).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("changes", "given", "message"),
    [
        ({"cross_attention": 6}, {}, "cross_attention 6 and was given no context, expected one of width 6"),
        (
            {},
            {"context": torch.zeros(1, 2, 6)},
            "cross_attention None and was given a context, expected none",
        ),
        ({"adaptive_norm": 6}, {}, "adaptive_norm 6 and was given no condition"),
    ],
)
def test_a_condition_is_given_where_it_is_wanted(changes, given, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(OptionError, match=message):
        make(**changes)(torch.zeros(1, 3, 16), **given)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dim_head": 7}, "dim_head 7 is odd; rotary positions need an even one"),
        ({"conv_kernel_size": 0}, "conv_kernel_size is 0, expected 1 or more"),
        ({"ff_dropout": 1.0}, "ff_dropout is 1.0, expected 0 or more and less than 1"),
    ],
)
def test_impossible_sizes_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(TINY, **changes)


@pytest.mark.parametrize("dropout", ["attn_dropout", "ff_dropout", "conv_dropout"])
@pytest.mark.parametrize("flash", [True, False])
def test_dropouts_work_in_training_alone(dropout: str, flash: bool) -> None:
    conformer, x = make(**{dropout: 0.5, "attn_flash": flash}), torch.randn(1, 5, 16)
    torch.testing.assert_close(conformer(x), conformer(x))
    conformer.train()
    assert (conformer(x) - conformer(x)).abs().max() > 1e-3


def test_there_is_no_batch_norm() -> None:
    assert not any("BatchNorm" in type(module).__name__ for module in make().modules())


@pytest.mark.parametrize("changes", [{}, {"t5_rel_pos_bias": True}, {"conv_kernel_size": 4}], ids=str)
def test_no_block_sees_a_later_one(changes: dict[str, Any]) -> None:
    conformer, x = make(block_causal=True, **changes), torch.randn(2, 10, 16)
    blocks = torch.tensor([[0] * 3 + [1] * 4 + [2] * 3, [0] * 6 + [1] * 4])
    whole = conformer(x, blocks=blocks)
    for row, ends in ((0, (3, 7)), (1, (6,))):
        for end in ends:
            alone = conformer(x[row : row + 1, :end], blocks=blocks[row : row + 1, :end])
            torch.testing.assert_close(whole[row : row + 1, :end], alone, atol=1e-5, rtol=1e-5)
    changed = x.clone()
    changed[0, 0] += 1
    assert not torch.allclose(conformer(changed, blocks=blocks)[0, 9], whole[0, 9]), "later blocks see it"


def test_one_block_is_as_none() -> None:
    conformer, x = make(block_causal=True), torch.randn(2, 9, 16)
    mask = frame_mask(torch.tensor([9, 6]), 9)
    found = conformer(x, mask, blocks=torch.zeros(2, 9, dtype=torch.int64))
    torch.testing.assert_close(found, make()(x, mask), atol=1e-5, rtol=1e-5)


def test_blocks_and_their_option_go_together() -> None:
    x, blocks = torch.randn(1, 4, 16), torch.zeros(1, 4, dtype=torch.int64)
    with pytest.raises(OptionError, match="block_causal False and blocks were given"):
        make()(x, blocks=blocks)
    with pytest.raises(OptionError, match="block_causal True and blocks were not given"):
        make(block_causal=True)(x)
