"""The Conformer: padding, positions and shapes."""

import pytest
import torch

from soundstorm_edge.conformer import POSITIONS, Conformer, ConformerConfig, frame_mask
from soundstorm_edge.rotary import rotary_table, rotate
from soundstorm_runtime.errors import OptionError

TINY = ConformerConfig(dim=16, depth=2, heads=2, dim_head=8)


@pytest.fixture
def conformer() -> Conformer:
    torch.manual_seed(0)
    return Conformer(TINY).eval()


def test_padding_changes_nothing(conformer: Conformer) -> None:
    x = torch.randn(2, 9, 16)
    alone = conformer(x[:, :6], frame_mask(torch.tensor([6, 6]), 6))
    padded = conformer(x, frame_mask(torch.tensor([6, 6]), 9))
    torch.testing.assert_close(padded[:, :6], alone, atol=1e-5, rtol=1e-5)


def test_no_mask_is_a_full_mask(conformer: Conformer) -> None:
    x = torch.randn(2, 7, 16)
    torch.testing.assert_close(conformer(x), conformer(x, frame_mask(torch.tensor([7, 7]), 7)))


def test_every_frame_sees_every_other(conformer: Conformer) -> None:
    x = torch.randn(1, 12, 16, requires_grad=True)
    conformer(x)[0, 0].sum().backward()
    assert x.grad is not None
    assert (x.grad[0].abs().sum(dim=1) > 0).all()


def test_rotation_depends_on_distance_alone() -> None:
    table = rotary_table(40, 8)
    query, key = torch.randn(2, 8)
    products = [rotate(query, table[i][None]) @ rotate(key, table[i + 7][None]).T for i in (0, 5, 32)]
    torch.testing.assert_close(products[1:], [products[0]] * 2)
    torch.testing.assert_close(rotate(query, table[:1])[0], query)


def test_too_many_frames_are_refused(conformer: Conformer) -> None:
    with pytest.raises(OptionError, match="4097 frames at once, expected at most 4096; split them"):
        conformer(torch.zeros(1, POSITIONS + 1, 16))


def test_gradients_reach_every_parameter(conformer: Conformer) -> None:
    conformer.train()(torch.randn(2, 5, 16)).pow(2).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in conformer.parameters())


def test_an_even_kernel_is_refused() -> None:
    with pytest.raises(ValueError, match="kernel 4 is even, expected an odd number of frames"):
        ConformerConfig(kernel=4)


def test_there_is_no_batch_norm(conformer: Conformer) -> None:
    assert not any("BatchNorm" in type(module).__name__ for module in conformer.modules())
