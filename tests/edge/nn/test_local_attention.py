import pytest
import torch

from soundstorm_edge.nn.local_attention import LocalTransformer


@pytest.mark.parametrize("bias", [False, True])
def test_attention_reaches_a_window_back_and_not_ahead(bias: bool) -> None:
    torch.manual_seed(0)
    layer = LocalTransformer(16, 1, 2, 8, 5, dynamic_bias=bias)
    x = torch.randn(1, 23, 16)
    changed = x.clone()
    changed[:, 8] += torch.randn(16)
    different = (layer(x) - layer(changed)).abs().amax(dim=(0, 2)) > 1e-6
    assert different.nonzero().flatten().tolist() == [8, 9, 10, 11, 12, 13]


def test_attention_tells_near_from_far() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 12, 16)
    swapped = x[:, [1, 0, *range(2, 12)]]
    for layer in (LocalTransformer(16, 1, 2, 8, 16), LocalTransformer(16, 1, 2, 8, 16, dynamic_bias=True)):
        assert not torch.allclose(layer(x)[:, 2:], layer(swapped)[:, 2:], atol=1e-6)
