"""SoundStorm (arXiv 2305.09636): masked parallel modelling of codec codes with a Conformer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from soundstorm_runtime.decode import DecodeOptions, decode
from soundstorm_runtime.graphs import step_graph

from .config import check_positive
from .conformer import Conformer, ConformerConfig, frame_mask
from .engine import TorchEngine


@dataclass(frozen=True)
class SoundStormConfig:
    """Sizes of the model, and what it is conditioned on: `vocabulary` semantic tokens."""

    levels: int = 6
    codebook_size: int = 512
    vocabulary: int = 500
    conformer: ConformerConfig = field(default_factory=ConformerConfig)

    def __post_init__(self) -> None:
        check_positive(self, "levels", "codebook_size", "vocabulary")


@dataclass(frozen=True)
class Masking:
    """How codes are hidden in training.

    level_weights: how often each level is drawn, any positive numbers; empty draws all alike.
    prompted: share of samples that keep a prefix of random length unmasked, as a prompt.
    fully_masked: share of samples whose level is masked whole, as in the first step of decoding;
    all others draw their ratio from the cosine schedule.
    """

    level_weights: tuple[float, ...] = ()
    prompted: float = 0.5
    fully_masked: float = 0.2


class Heads(nn.Module):
    """One classifier for each level; only the one that is asked for is computed."""

    def __init__(self, dim: int, levels: int, classes: int) -> None:
        super().__init__()
        self.projection = nn.Parameter(torch.empty(levels, dim, dim))
        self.projection_bias = nn.Parameter(torch.zeros(levels, dim))
        self.norm = nn.LayerNorm(dim)
        self.classifier = nn.Parameter(torch.empty(levels, dim, classes))
        self.classifier_bias = nn.Parameter(torch.zeros(levels, classes))
        for weight in (self.projection, self.classifier):
            nn.init.uniform_(weight, -(dim**-0.5), dim**-0.5)

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """Map `[batch, frames, dim]` to logits `[batch, frames, classes]`.

        `level` is int64, `[batch]` for a level of each sample or `[1]` for one of all.
        """
        x = x @ self.projection.index_select(0, level) + self.projection_bias.index_select(0, level)[:, None]
        x = self.norm(x) @ self.classifier.index_select(0, level)
        return x + self.classifier_bias.index_select(0, level)[:, None]


class SoundStorm(nn.Module):
    """Fills masked codes, level by level, given semantic tokens aligned to the frames.

    The embeddings of all levels, of the semantic token and of the level being sampled are summed.
    """

    def __init__(self, config: SoundStormConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.conformer.dim
        self.levels, self.codebook_size = config.levels, config.codebook_size
        # One table for all levels: `codebook_size` codes and the mask token of level 0, then level 1, ...
        self.code_embedding = nn.Embedding(config.levels * (config.codebook_size + 1), dim)
        self.semantic_embedding = nn.Embedding(config.vocabulary, dim)
        self.level_embedding = nn.Embedding(config.levels, dim)
        for table in (self.code_embedding, self.semantic_embedding, self.level_embedding):
            nn.init.normal_(table.weight, std=0.5 if table is self.semantic_embedding else 0.25)
        self.conformer = Conformer(config.conformer)
        self.heads = Heads(dim, config.levels, config.codebook_size)

    def logits(self, codes: Tensor, level: Tensor, semantic_tokens: Tensor, lengths: Tensor) -> Tensor:
        """Predict the codes of one level.

        codes: int64 `[batch, frames, levels]`, masked ones `codebook_size`; level: int64 `[batch]` or
        `[1]`; semantic_tokens: int64 `[batch, frames]`; lengths: int64 `[batch]`. Returns float32
        `[batch, frames, codebook_size]`.
        """
        offsets = torch.arange(self.levels, device=codes.device) * (self.codebook_size + 1)
        x = self.code_embedding(codes + offsets).sum(dim=2)
        x = x + self.semantic_embedding(semantic_tokens) + self.level_embedding(level)[:, None]
        x = self.conformer(x, frame_mask(lengths, codes.shape[1]))
        return self.heads(x, level)

    def forward(
        self, codes: Tensor, semantic_tokens: Tensor, lengths: Tensor, masking: Masking | None = None
    ) -> tuple[Tensor, Tensor]:
        """Compute the masking loss (section 3.2).

        codes: int64 `[batch, frames, levels]`, none masked; semantic_tokens: int64 `[batch, frames]`;
        lengths: int64 `[batch]`. Returns the mean cross entropy, in nats a code, and the same by
        level, `[levels]`, zero for those that were not drawn.
        """
        masked_codes, masked, level = hide(codes, lengths, self.codebook_size, masking or Masking())
        logits = self.logits(masked_codes, level, semantic_tokens, lengths)
        targets = codes.gather(2, level[:, None, None].expand(-1, codes.shape[1], 1))[:, :, 0]
        losses = F.cross_entropy(logits.transpose(1, 2), targets, reduction="none") * masked
        by_level = torch.zeros(self.levels, device=codes.device).index_add(0, level, losses.detach().sum(1))
        counts = torch.zeros(self.levels, device=codes.device).index_add(0, level, masked.sum(1).float())
        return losses.sum() / masked.sum().clamp(min=1), by_level / counts.clamp(min=1)

    def step(
        self,
        codes: Tensor,
        level: Tensor,
        semantic_tokens: Tensor,
        lengths: Tensor,
        uniform: Tensor,
        temperature: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Sample the codes of one level: the graph `step` of `soundstorm_runtime.graphs`.

        uniform: float32 `[batch, frames]` in [0, 1); temperature: float32 `[1]`. Sampling inverts the
        cumulative distribution, so equal numbers give equal codes on every engine. Returns ids int64
        `[batch, frames]` and their confidence, the probability at temperature 1, float32 alike.
        """
        log_probabilities = self.logits(codes, level, semantic_tokens, lengths).float().log_softmax(dim=-1)
        probabilities = (log_probabilities / temperature).softmax(dim=-1)
        # The last sum is 1 but for rounding, which must not count.
        below = probabilities.cumsum(dim=-1)[..., :-1] < uniform[..., None]
        ids = below.to(torch.int64).sum(dim=-1)
        return ids, log_probabilities.gather(2, ids[..., None])[..., 0].exp()

    def generate(
        self,
        semantic_tokens: Tensor,
        options: DecodeOptions,
        *,
        lengths: Tensor | None = None,
        prompt: Tensor | None = None,
        seed: int = 0,
    ) -> Tensor:
        """Decode codes int64 `[batch, frames, levels]` for semantic tokens int64 `[batch, frames]`.

        This is the runtime's decode loop around PyTorch. `prompt`: codes `[batch, frames, levels]` of
        the first frames, which stay as they are.
        """
        tokens = semantic_tokens.cpu().numpy()
        frames = np.full(tokens.shape[0], tokens.shape[1]) if lengths is None else lengths.cpu().numpy()
        codes = decode(
            TorchEngine(step_graph(self.levels), self.step, semantic_tokens.device),
            semantic_tokens=tokens,
            lengths=frames,
            levels=self.levels,
            codebook_size=self.codebook_size,
            options=options,
            rng=np.random.default_rng(seed),
            prompt=None if prompt is None else prompt.cpu().numpy(),
        )
        return torch.from_numpy(codes).to(semantic_tokens.device)


def hide(
    codes: Tensor, lengths: Tensor, codebook_size: int, masking: Masking
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw a level for each sample and mask it in part, finer levels wholly, coarser ones not at all.

    Returns the masked codes `[batch, frames, levels]`, bool `[batch, frames]` where the drawn level is
    masked, and the level int64 `[batch]`. At least one frame of each sample is masked.
    """
    batch, frames, levels = codes.shape
    device = codes.device
    weights: Sequence[float] = masking.level_weights or (1.0,) * levels
    level = torch.multinomial(torch.tensor(weights), batch, replacement=True).to(device)
    cut = (torch.rand(batch, device=device) * lengths).long()  # below the length: a frame is left to learn
    cut = torch.where(torch.rand(batch, device=device) < masking.prompted, cut, 0)
    ratio = torch.cos(torch.rand(batch, device=device) * math.pi / 2)
    ratio = torch.where(torch.rand(batch, device=device) < masking.fully_masked, 1.0, ratio)

    position = torch.arange(frames, device=device)
    open_frames = (position >= cut[:, None]) & (position < lengths[:, None])
    draw = torch.rand(batch, frames, device=device).masked_fill(~open_frames, 2.0)
    masked = (draw < ratio[:, None]) | (draw == draw.amin(dim=1, keepdim=True))
    masked = masked & open_frames

    at_level = torch.arange(levels, device=device) == level[:, None]
    finer = torch.arange(levels, device=device) > level[:, None]
    hidden = (masked[:, :, None] & at_level[:, None]) | (open_frames[:, :, None] & finer[:, None])
    return codes.masked_fill(hidden, codebook_size), masked, level
