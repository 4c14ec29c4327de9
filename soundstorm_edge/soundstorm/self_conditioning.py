"""Self-conditioning (arXiv 2208.04202): the result of an earlier pass is an input of the next one."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SelfCondition(nn.Module):
    """Projects the embeddings of an earlier pass; a learned vector stands for none."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.nothing = nn.Parameter(torch.randn(dim))
        self.project = nn.Linear(dim, dim, bias=False)

    def forward(self, previous: Tensor | None) -> Tensor:
        """Map summed embeddings `[batch, frames, dim]` to that shape, and None to `[dim]`."""
        return self.project(self.nothing if previous is None else previous)
