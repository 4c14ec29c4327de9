"""The network of SoundStorm: embeddings of the codes of every level, a Conformer, and a head per level."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from soundstorm_runtime.errors import OptionError

from ..nn.block_cache import BlockCache
from ..nn.conformer import Conformer, ConformerConfig
from ..support.config import check_positive, from_fields


@dataclass(frozen=True)
class ConformerWrapperConfig:
    """The shape of the codes, and the Conformer.

    Args:
        codebook_size: codes of a codebook.
        num_quantizers: levels of each group.
        conformer: the network between embeddings and heads.
        grouped_quantizers: groups of the codec (grouped residual VQ of AudioDec, arXiv 2305.02765).
        level_embedding: whether the network gets the level that is sampled as an input.

    Raises:
        ConfigError: a value is impossible.
    """

    codebook_size: int
    num_quantizers: int
    conformer: ConformerConfig
    grouped_quantizers: int = 1
    level_embedding: bool = False

    def __post_init__(self) -> None:
        check_positive(self, "codebook_size", "num_quantizers", "grouped_quantizers")

    @property
    def levels(self) -> int:
        """Codes of a frame, over all groups."""
        return self.num_quantizers * self.grouped_quantizers


class Heads(nn.Module):
    """One classifier per level; `forward` computes only the one that is asked for."""

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

        `level` is int64, `[batch]` for a level per sample or `[1]` for one of all.
        """
        x = self.norm(self.embedding(x, level)) @ self.classifier.index_select(0, level)
        return x + self.classifier_bias.index_select(0, level)[:, None]

    def embedding(self, x: Tensor, level: Tensor) -> Tensor:
        """Map `[batch, frames, dim]` to the embedding of a level, of the same shape."""
        return (
            x @ self.projection.index_select(0, level) + self.projection_bias.index_select(0, level)[:, None]
        )

    def all_embeddings(self, x: Tensor) -> Tensor:
        """Map `[batch, frames, dim]` to the embeddings of all levels, `[batch, frames, levels, dim]`."""
        return torch.einsum("bfd,lde->bfle", x, self.projection) + self.projection_bias

    def summed_embeddings(self, x: Tensor) -> Tensor:
        """Return the sum of `all_embeddings` over the levels, `[batch, frames, dim]`, in one product."""
        return x @ self.projection.sum(dim=0) + self.projection_bias.sum(dim=0)

    def all_logits(self, embeddings: Tensor) -> Tensor:
        """Map the result of `all_embeddings` to logits `[batch, frames, levels, classes]`."""
        return torch.einsum("bfld,ldc->bflc", self.norm(embeddings), self.classifier) + self.classifier_bias


class ConformerWrapper(nn.Module):
    """The network from codes to logits.

    Args:
        config: or its fields by keyword: see `ConformerWrapperConfig`; `conformer` may also be a `Conformer`,
            or a mapping of its fields.

    Raises:
        ConfigError: a field is unknown or impossible.
    """

    def __init__(self, config: ConformerWrapperConfig | None = None, /, **fields: Any) -> None:
        super().__init__()
        conformer = fields.get("conformer")
        if isinstance(conformer, Conformer):
            fields["conformer"] = conformer.config
        self.config = config = from_fields(ConformerWrapperConfig, config, fields)
        self.dim = dim = config.conformer.dim
        self.levels, self.codebook_size = config.levels, config.codebook_size
        self.num_quantizers, self.grouped_quantizers = config.num_quantizers, config.grouped_quantizers
        # One table for all levels: `codebook_size` codes and the mask token of level 0, then level 1, ...
        self.code_embedding = nn.Embedding(self.levels * (self.codebook_size + 1), dim)
        self.level_embedding = nn.Embedding(self.levels, dim) if config.level_embedding else None
        for table in (self.code_embedding, self.level_embedding):
            if table is not None:
                nn.init.normal_(table.weight, std=0.25)
        self.join_groups: nn.Sequential | None = None
        if self.grouped_quantizers > 1:
            self.join_groups = nn.Sequential(nn.Linear(dim * self.grouped_quantizers, dim), nn.LayerNorm(dim))
        self.conformer = conformer if isinstance(conformer, Conformer) else Conformer(config.conformer)
        self.heads = Heads(dim, self.levels, self.codebook_size)

    def forward(
        self,
        x: Tensor,
        *,
        return_embeddings: bool = False,
        return_logits_and_embeddings: bool = False,
        **inputs: Any,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Return the logits of all levels, `[batch, frames * levels, codebook_size]`.

        Args:
            x: codes int64 `[batch, frames, levels]` or `[batch, frames * levels]`; masked ones are
                `codebook_size`.
            return_embeddings: return the embeddings `[batch, frames * levels, dim]` instead.
            return_logits_and_embeddings: return both.
            inputs: further inputs of `hidden`.
        """
        embeddings = self.heads.all_embeddings(self.hidden(self.as_frames(x), **inputs))
        if return_embeddings:
            return embeddings.flatten(1, 2)
        logits = self.heads.all_logits(embeddings).flatten(1, 2)
        return (logits, embeddings.flatten(1, 2)) if return_logits_and_embeddings else logits

    def hidden(
        self,
        codes: Tensor,
        *,
        mask: Tensor | None = None,
        cond: Tensor | None = None,
        sum_embeds: Tensor | None = None,
        level: Tensor | None = None,
        **conditions: Tensor,
    ) -> Tensor:
        """Return the input of the heads, float32 `[batch, frames, dim]`.

        Args:
            codes: int64 `[batch, frames, levels]`, masked ones `codebook_size`.
            mask: bool `[batch, frames]`, true for real frames.
            cond: added to the frames: `[batch, frames, dim]`, or `[batch, dim]` for all of them.
            sum_embeds: embeddings of an earlier pass, added likewise: `[batch, frames * levels, dim]`, which
                is summed over the levels, `[batch, frames, dim]`, or `[dim]`.
            level: int64 `[batch]` or `[1]`, where the network has a level embedding.
            conditions: further inputs of `Conformer.forward`.

        Raises:
            OptionError: the level is missing.
        """
        x = self._embed(codes)
        if sum_embeds is not None:
            if sum_embeds.ndim == 3 and sum_embeds.shape[1] != codes.shape[1]:
                sum_embeds = sum_embeds.unflatten(1, (-1, self.levels)).sum(dim=2)
            x = x + sum_embeds
        if cond is not None:
            x = x + (cond[:, None] if cond.ndim == 2 else cond)
        if self.level_embedding is not None:
            if level is None:
                raise OptionError("the network has a level embedding and was given no level; give level")
            embedding = self.level_embedding(level)[:, None]
            blocks = conditions.get("blocks")
            if blocks is not None:  # what comes of a finished block is the same at every level
                embedding = embedding * (blocks == blocks.amax(dim=1, keepdim=True))[:, :, None]
            x = x + embedding
        return self.conformer(x, mask, **conditions)

    def continued(
        self, codes: Tensor, lengths: Tensor, cond: Tensor, past: BlockCache, level: Tensor | None = None
    ) -> tuple[Tensor, BlockCache]:
        """Return the input of the heads for one block, as `hidden` does where it follows finished blocks.

        Args:
            codes: int64 `[batch, frames, levels]`, masked ones `codebook_size`.
            lengths: frames of each sample, int64 `[batch]`.
            cond: added to the frames, `[batch, frames, dim]`.
            past: what was kept of the frames before.
            level: that is sampled, int64 `[1]`; None for a block that is finished.

        Returns:
            Float32 `[batch, frames, dim]`, and what to keep of this block.
        """
        x = self._embed(codes) + cond
        if self.level_embedding is not None and level is not None:
            x = x + self.level_embedding(level)[:, None]
        return self.conformer.continued(x, lengths, past)

    def as_frames(self, codes: Tensor) -> Tensor:
        """Return codes as `[batch, frames, levels]`; raises `OptionError` for another shape."""
        if codes.ndim == 2 and codes.shape[1] % self.levels == 0:
            return codes.unflatten(1, (-1, self.levels))
        if codes.ndim != 3 or codes.shape[2] != self.levels:
            raise OptionError(
                f"codes have shape {list(codes.shape)}, expected [batch, frames, {self.levels}] or flattened "
                f"to [batch, frames * {self.levels}]; has the codec other levels?"
            )
        return codes

    def _embed(self, codes: Tensor) -> Tensor:
        offsets = torch.arange(self.levels, device=codes.device) * (self.codebook_size + 1)
        x = self.code_embedding(codes + offsets)
        if self.join_groups is None:
            return x.sum(dim=2)
        groups = x.unflatten(2, (self.grouped_quantizers, self.num_quantizers)).sum(dim=3)
        return self.join_groups(groups.flatten(2))
