from typing import Any

import pytest
import torch

from soundstorm_edge.codec.quantizer import GroupedQuantizer
from soundstorm_edge.codec.soundstream import SoundStreamConfig
from soundstorm_edge.errors import ConfigError

KINDS: dict[str, dict[str, Any]] = {
    "vectors": {"codebook_size": 8},
    "projected": {"codebook_size": 8, "rq_kwargs": {"codebook_dim": 4}},
    "lookup-free": {"codebook_size": 8, "use_lookup_free_quantizer": True},
    "finite scalar": {"finite_scalar_quantizer_levels": (3, 4), "use_finite_scalar_quantizer": True},
}


def quantizer(kind: str, **more: Any) -> GroupedQuantizer:
    torch.manual_seed(0)
    config = SoundStreamConfig(codebook_dim=16, rq_num_quantizers=3, **KINDS[kind], **more)
    made = GroupedQuantizer(config).eval()  # which drops no level
    made(torch.randn(4, 50, 16))  # starts the codebooks
    return made


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_decoding_gives_what_was_quantized(kind: str, groups: int) -> None:
    made = quantizer(kind, rq_groups=groups)
    latents = torch.randn(2, 9, 16)
    with torch.no_grad():
        quantized, codes, _ = made(latents)
    assert codes.shape == (2, 9, 3 * groups)
    assert codes.dtype == torch.int64
    assert codes.unique().numel() > 2
    torch.testing.assert_close(made.decode(codes), quantized, atol=1e-5, rtol=1e-5)
    assert torch.equal(made.encode(latents), codes)


@pytest.mark.parametrize("kind", KINDS)
def test_codes_that_were_left_out_add_nothing(kind: str) -> None:
    made = quantizer(kind, rq_groups=2)
    codes = made.encode(torch.randn(1, 5, 16))
    coarse = codes.clone()
    coarse[..., [1, 2, 4, 5]] = -1
    prefix = codes[..., [0, 3]]  # the first level of each group
    torch.testing.assert_close(made.decode(coarse), made.decode(prefix))
    assert not torch.allclose(made.decode(codes), made.decode(prefix))


@pytest.mark.parametrize("kind", KINDS)
def test_encoding_while_training_drops_and_moves_nothing(kind: str) -> None:
    made = quantizer(kind).train()
    before = {name: tensor.clone() for name, tensor in made.state_dict().items()}
    dropped = [(made(torch.randn(2, 40, 16))[1] == -1).any() for _ in range(12)]
    assert any(dropped)
    assert not all(dropped)
    made.load_state_dict(before)
    assert made.encode(torch.randn(2, 40, 16)).min() >= 0
    assert made.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in made.state_dict().items())


def test_encoding_does_not_start_codebooks() -> None:
    made = GroupedQuantizer(SoundStreamConfig(codebook_dim=16, rq_num_quantizers=2, codebook_size=8))
    assert not made.encode(torch.randn(2, 40, 16)).any()
    assert not made.grouped.codebooks.any()
    made(torch.randn(2, 40, 16))
    assert made.grouped.codebooks.any()


def test_gradients_pass_through() -> None:
    for kind in KINDS:
        latents = torch.randn(1, 20, 16, requires_grad=True)
        quantized, _, loss = quantizer(kind).train()(latents)
        (quantized.sum() + loss).backward()
        assert latents.grad is not None
        assert latents.grad.any()


def test_wrong_settings_of_the_library_are_named() -> None:
    with pytest.raises(
        ConfigError, match=r"the quantizer refuses rq_kwargs .'nonsense': 1.* unexpected keyword"
    ):
        quantizer("vectors", rq_kwargs={"nonsense": 1})
