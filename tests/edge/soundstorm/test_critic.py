"""The critic: whose network it is, what it learns, and how it ranks."""

from __future__ import annotations

import copy

import pytest
import torch

from soundstorm_edge.nn.conformer import ConformerConfig
from soundstorm_edge.soundstorm.conformer_wrapper import ConformerWrapper
from soundstorm_edge.soundstorm.critic import TokenCritic, critic_loss, draw_codes
from soundstorm_edge.soundstorm.model import SoundStorm
from soundstorm_runtime.decoding.maskgit import DecodeOptions
from soundstorm_runtime.errors import OptionError

CODES, LEVELS = 8, 2
TINY = ConformerConfig(dim=16, depth=1, heads=2, dim_head=8, conv_kernel_size=3, num_residual_streams=1)


def network() -> ConformerWrapper:
    return ConformerWrapper(codebook_size=CODES, num_quantizers=LEVELS, conformer=TINY)


def draw(batch: int = 3) -> torch.Tensor:
    return torch.randint(CODES, (batch, 7, LEVELS))


@pytest.mark.parametrize("shared", [True, False])
def test_one_level_is_what_all_levels_are(shared: bool) -> None:
    critic, codes = TokenCritic(network(), shared=shared).eval(), draw()
    whole = critic(codes)
    assert whole.shape == (3, 7 * LEVELS, 1)
    score = critic.score(codes, torch.tensor([1]))
    torch.testing.assert_close(score, whole.unflatten(1, (7, LEVELS))[:, :, 1, 0])


def test_a_shared_network_is_counted_once() -> None:
    model = SoundStorm(network(), self_token_critic=True)
    assert not any(name.startswith("token_critic.own_net") for name in model.state_dict())
    twin = copy.deepcopy(model)
    assert twin.token_critic is not None
    assert twin.token_critic.net is twin.net is not model.net
    own = SoundStorm(network(), token_critic=network())
    assert any(name.startswith("token_critic.own_net") for name in own.state_dict())


@pytest.mark.parametrize("own", [True, False])
def test_which_loss_trains_what(own: bool) -> None:
    torch.manual_seed(0)
    model = SoundStorm(network(), **({"token_critic": network()} if own else {"self_token_critic": True}))
    assert model.token_critic is not None

    def trained(**arguments: bool) -> tuple[bool, bool]:
        model.zero_grad()
        loss, parts = model(draw(), **arguments)
        loss.backward()
        assert (parts.generator_loss is None) == arguments.get("only_train_critic", False)
        assert (parts.critic_loss is None) == arguments.get("only_train_generator", False)
        generator, critic = model.net.heads.classifier, model.token_critic.to_logits.weight  # type: ignore[union-attr]
        return tuple(p.grad is not None and bool(p.grad.abs().sum()) for p in (generator, critic))  # type: ignore[return-value]

    assert trained() == (True, True)
    assert trained(only_train_generator=True) == (True, False)
    assert trained(only_train_critic=True) == (False, True)
    with pytest.raises(OptionError, match="only_train_critic was given to a model without a critic"):
        SoundStorm(network())(draw(), only_train_critic=True)


def test_the_losses_are_weighed() -> None:
    model = SoundStorm(network(), self_token_critic=True, critic_loss_weight=3.0)
    loss, (generator, critic) = model(draw())
    torch.testing.assert_close(loss, generator + 3 * critic)


def test_it_learns_to_tell_sampled_codes() -> None:
    """In the speech both levels are equal; a code that is not gives itself away."""
    torch.manual_seed(0)
    model = SoundStorm(network(), self_token_critic=True, random_token_prob=0.0, no_replace_prob=0.0)
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(150):
        codes = torch.randint(CODES, (16, 7, 1)).expand(-1, -1, LEVELS)
        optimizer.zero_grad()
        model(codes, generator_sample_temperature=10.0)[0].backward()
        optimizer.step()
    assert model.token_critic is not None
    codes = torch.randint(CODES, (16, 7, 1)).expand(-1, -1, LEVELS).clone()
    wrong = torch.rand(16, 7) < 0.5
    codes[..., 1] = torch.where(wrong, (codes[..., 1] + 1) % CODES, codes[..., 1])
    found = model.eval().token_critic.score(codes, torch.tensor([1])) > 0  # type: ignore[union-attr]
    assert (found == wrong).float().mean() > 0.9


def test_padding_does_not_count() -> None:
    scores, sampled = torch.randn(2, 5), torch.rand(2, 5) < 0.5
    mask = torch.arange(5) < torch.tensor([[5], [2]])
    whole = critic_loss(scores, sampled, mask)
    torch.testing.assert_close(critic_loss(scores + 9 * ~mask, sampled, mask), whole)
    assert (critic_loss(scores + 9 * mask, sampled, mask) - whole).abs() > 0.1


def test_the_temperature_of_what_it_is_shown() -> None:
    torch.manual_seed(0)
    logits = torch.randn(4, 50, CODES)
    assert (draw_codes(logits, 0.0) == logits.argmax(dim=-1)).all()
    assert 0.15 < (draw_codes(logits, 1.0) == logits.argmax(dim=-1)).float().mean() < 0.75


def test_the_critic_decides_what_is_kept() -> None:
    """A critic that trusts code 3 alone keeps it, whatever the generator thinks."""
    torch.manual_seed(0)
    model = SoundStorm(network(), self_token_critic=True, can_mask_prev_unmasked=False).eval()

    def trusting(codes: torch.Tensor, level: torch.Tensor, **_: object) -> torch.Tensor:
        return torch.where(codes.index_select(2, level)[..., 0] == 3, -5.0, 5.0)

    def share(options: DecodeOptions) -> float:
        codes = model.generate(60, batch_size=4, options=options, seed=1)
        assert isinstance(codes, torch.Tensor)
        return (codes[..., 0] == 3).float().mean().item()

    once, often = (
        DecodeOptions((1, 1), temperature=2.0),
        DecodeOptions((12, 1), temperature=2.0, schedule="linear"),
    )
    assert model.token_critic is not None
    model.token_critic.score = trusting  # type: ignore[method-assign]
    assert share(often) > share(once) + 0.1
