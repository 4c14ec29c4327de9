"""Conditioning on semantic tokens."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SemanticCondition(nn.Module):
    """Embeds semantic tokens and aligns them with the frames of the codec.

    Args:
        vocabulary: number of tokens.
        dim: width of the frames.
        pad: the id of padding.
        width: of the embedding, where it is projected to `dim`.
        embedding: of another model, which is not trained here; None creates one.
        frames_per_token: frames of the codec per token.
    """

    def __init__(
        self,
        vocabulary: int,
        dim: int,
        *,
        pad: int = -1,
        width: int | None = None,
        embedding: nn.Embedding | None = None,
        frames_per_token: float = 1.0,
    ) -> None:
        super().__init__()
        self.vocabulary, self.pad, self.width = vocabulary, pad, width
        self.frames_per_token = frames_per_token
        self.is_shared = embedding is not None
        if embedding is None:
            embedding = nn.Embedding(vocabulary, width or dim)
            nn.init.normal_(embedding.weight, std=0.5)
        self.embedding = embedding
        self.project = nn.Identity() if width is None else nn.Linear(width, dim)

    def embed(self, tokens: Tensor) -> Tensor:
        """Map tokens int64 `[batch, tokens]`, without padding, to `[batch, tokens, dim]`."""
        x = self.embedding(tokens)
        return self.project(x.detach() if self.is_shared else x)

    def forward(self, tokens: Tensor, frames: int | None = None) -> tuple[Tensor, Tensor]:
        """Return the condition of each frame for tokens int64 `[batch, tokens]`.

        Padding and ids beyond the vocabulary, such as the end of a sequence, are zeros. Tokens of another
        rate than the frames are interpolated.

        Args:
            tokens: with padding.
            frames: length of the result, which is cut or padded with zeros; None keeps that of the tokens.

        Returns:
            The condition `[batch, frames, dim]`, and the frames of each sample, int64 `[batch]`.
        """
        real = (tokens != self.pad) & (tokens < self.vocabulary)
        x = self.embed(tokens.masked_fill(~real, 0)) * real[..., None]
        length = math.ceil(tokens.shape[1] * self.frames_per_token - 1e-6)
        if length != tokens.shape[1]:
            x = F.interpolate(x.transpose(1, 2), length, mode="linear").transpose(1, 2)
        if frames is not None:
            x = F.pad(x, (0, 0, 0, frames - length))
        return x, torch.ceil(real.sum(dim=1) * self.frames_per_token - 1e-6).long()
