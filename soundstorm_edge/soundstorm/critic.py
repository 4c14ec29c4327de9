"""A critic that separates codes of real speech from sampled ones.

Sources: Token-Critic (arXiv 2209.04439), a network of its own; SCRIPT
(https://aclanthology.org/2021.naacl-main.409), a head on the generator itself.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .conformer_wrapper import ConformerWrapper


class TokenCritic(nn.Module):
    """Scores codes: above 0 where one looks sampled.

    Args:
        net: the network that embeds the codes.
        shared: whether it belongs to the generator, so that its weights are not part of this module.
    """

    def __init__(self, net: ConformerWrapper, *, shared: bool) -> None:
        super().__init__()
        self.own_net = None if shared else net
        self._shared_net = (net,)  # in a tuple, so that it is not registered as a part of this module
        self.to_logits = nn.Linear(net.dim, 1)

    @property
    def net(self) -> ConformerWrapper:
        """The network that embeds the codes."""
        return self.own_net or self._shared_net[0]

    def forward(self, x: Tensor, **inputs: Any) -> Tensor:
        """Return scores of the codes of all levels, `[batch, frames * levels, 1]`."""
        return self.to_logits(self.net(x, return_embeddings=True, **inputs))

    def score(self, codes: Tensor, level: Tensor, **inputs: Any) -> Tensor:
        """Return scores of the codes of one level, `[batch, frames]`."""
        hidden = self.net.hidden(codes, level=level, **inputs)
        return self.to_logits(self.net.heads.embedding(hidden, level))[..., 0]

    def confidence(self, ids: Tensor, codes: Tensor, level: Tensor, **inputs: Any) -> Tensor:
        """Return how real sampled codes look, float32 `[batch, frames]` from 0 to 1.

        Args:
            ids: the codes sampled for `level`, int64 `[batch, frames]`.
            codes: those of all levels, int64 `[batch, frames, levels]`; the column of `level` is replaced.
            level: int64 `[1]`.
            inputs: further inputs of `ConformerWrapper.hidden`.
        """
        column = torch.arange(codes.shape[2], device=codes.device) == level
        return (-self.score(torch.where(column, ids[..., None], codes), level, **inputs)).sigmoid()


def critic_loss(scores: Tensor, sampled: Tensor, mask: Tensor) -> Tensor:
    """Return the mean binary cross entropy of scores `[batch, frames]`, a scalar.

    Args:
        scores: of the critic.
        sampled: bool `[batch, frames]`, true where a code is not that of the speech.
        mask: bool `[batch, frames]`, true for real frames.
    """
    losses = F.binary_cross_entropy_with_logits(scores, sampled.to(scores.dtype), reduction="none")
    return (losses * mask).sum() / mask.sum().clamp(min=1)


def draw_codes(logits: Tensor, temperature: float | None) -> Tensor:
    """Sample codes int64 `[batch, frames]` from logits `[batch, frames, classes]`, to train a critic.

    A temperature of None is drawn between 0 and 1, so that the critic sees good and bad samples.
    """
    heat = torch.rand(()).item() if temperature is None else temperature
    uniform = torch.rand_like(logits).clamp(min=torch.finfo(torch.float32).tiny)
    return (logits / max(heat, 1e-4) - (-uniform.log()).log()).argmax(dim=-1)
