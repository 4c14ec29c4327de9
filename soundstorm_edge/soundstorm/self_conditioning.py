"""Self-conditioning (arXiv 2208.04202): the network is told what it said of the codes before."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SelfCondition(nn.Module):
    """Turns what the network said before into what is added to the frames; before all, it said nothing."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.nothing = nn.Parameter(torch.randn(dim))
        self.project = nn.Linear(dim, dim, bias=False)

    def forward(self, said: Tensor | None) -> Tensor:
        """Map embeddings summed over the levels, `[batch, frames, dim]`, to that shape; None to `[dim]`."""
        return self.project(self.nothing if said is None else said)
