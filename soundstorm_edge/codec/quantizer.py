"""Residual vector quantization."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from vector_quantize_pytorch import GroupedResidualFSQ, GroupedResidualLFQ, GroupedResidualVQ, ResidualVQ

from ..errors import ConfigError

if TYPE_CHECKING:
    from .soundstream_config import SoundStreamConfig


class Quantizer(nn.Module):
    """`levels` codebooks, each of which codes the residual of the coarser ones (SoundStream, section III-C).

    In training a random number of fine levels is dropped, so that every coarse prefix can be decoded.
    """

    def __init__(self, dim: int, levels: int, codebook_size: int) -> None:
        super().__init__()
        self.levels = levels
        self.codebook_size = codebook_size
        self.residual = ResidualVQ(
            dim=dim,
            num_quantizers=levels,
            codebook_size=codebook_size,
            kmeans_init=True,
            kmeans_iters=10,
            threshold_ema_dead_code=2,
            quantize_dropout=True,
            quantize_dropout_cutoff_index=min(2, levels - 1),
            decay=0.97,
            rotation_trick=False,  # the straight-through gradient of the paper
        )

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Quantize latents `[batch, frames, dim]`.

        Returns:
            The quantized latents (straight-through in training), codes int64 `[batch, frames, levels]`, and
            the commitment loss, a scalar.
        """
        quantized, codes, losses = self.residual(latents)
        return quantized, codes, losses.sum()

    @torch.no_grad()
    def encode(self, latents: Tensor) -> Tensor:
        """Return the codes int64 `[batch, frames, levels]` of latents `[batch, frames, dim]`.

        Unlike `forward`, this neither drops levels nor updates codebooks, in training mode either.
        """
        codes, rest = [], latents
        for codebook in self.residual.codebooks:
            nearest = torch.cdist(rest, codebook[None]).argmin(dim=-1)
            codes.append(nearest)
            rest = rest - codebook[nearest]
        return torch.stack(codes, dim=-1)

    def decode(self, codes: Tensor) -> Tensor:
        """Return the sum `[batch, frames, dim]` of the codebook vectors of codes `[batch, frames, levels]`.

        Fewer levels than the quantizer has are a coarse prefix; a code of -1 adds nothing.
        """
        return _sum_of_vectors(self.residual.codebooks, codes)


class GroupedQuantizer(nn.Module):
    """Groups of channels, each with a residual quantizer of its own (arXiv 2305.02765).

    The quantizers are those of vector-quantize-pytorch: learned vectors, binary ones (lookup-free, arXiv
    2310.05737) or grids (finite scalar, arXiv 2309.15505). The levels of a group are contiguous:
    `codes[..., group * rq_num_quantizers + level]`.
    """

    def __init__(self, config: SoundStreamConfig) -> None:
        super().__init__()
        self.groups = config.rq_groups
        self.finite_scalar = config.use_finite_scalar_quantizer
        try:
            self.grouped: Any = _library_quantizer(config)
        except (AssertionError, TypeError, ValueError) as error:
            raise ConfigError(
                f"the quantizer refuses rq_kwargs {dict(config.rq_kwargs)} ({error})"
            ) from error

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Quantize latents `[batch, frames, dim]`.

        Returns:
            The quantized latents (straight-through in training), codes int64 `[batch, frames, levels]` with
            -1 for a dropped level, and the commitment loss, a scalar.
        """
        quantized, codes, *losses = self.grouped(latents)
        loss = losses[0].sum() if losses else latents.new_zeros(())
        return quantized, codes.permute(1, 2, 0, 3).flatten(-2).long(), loss

    @torch.no_grad()
    def encode(self, latents: Tensor) -> Tensor:
        """Return the codes int64 `[batch, frames, levels]` of latents `[batch, frames, dim]`.

        Unlike `forward`, this neither drops levels nor updates codebooks, in training mode either.
        """
        training = self.training
        started = [buffer for name, buffer in self.named_buffers() if name.endswith(".initted")]
        were = [buffer.clone() for buffer in started]
        self.eval()
        for buffer in started:  # otherwise the library initialises them from these latents
            buffer.fill_(True)
        try:
            return self(latents)[1]
        finally:
            self.train(training)
            for buffer, was in zip(started, were, strict=True):
                buffer.copy_(was)

    def decode(self, codes: Tensor) -> Tensor:
        """Return the quantized latents `[batch, frames, dim]` of codes `[batch, frames, levels]`.

        Fewer levels, the same number in each group, are a coarse prefix; a code of -1 adds nothing.
        """
        decoded = []
        for residual, own in zip(self.grouped.rvqs, codes.chunk(self.groups, dim=-1), strict=True):
            codebooks = residual.codebooks
            if self.finite_scalar:
                codebooks = codebooks * residual.scales[:, None]
            decoded.append(residual.project_out(_sum_of_vectors(codebooks, own)))
        return torch.cat(decoded, dim=-1)


def _library_quantizer(config: SoundStreamConfig) -> nn.Module:
    common: dict[str, Any] = {
        "dim": config.codebook_dim,
        "num_quantizers": config.rq_num_quantizers,
        "groups": config.rq_groups,
        "quantize_dropout": True,
        "quantize_dropout_cutoff_index": config.quantize_dropout_cutoff_index,
        **config.rq_kwargs,
    }
    if config.use_finite_scalar_quantizer:
        return GroupedResidualFSQ(levels=list(config.finite_scalar_quantizer_levels), **common)
    if config.use_lookup_free_quantizer:
        return GroupedResidualLFQ(codebook_size=config.codebook_size, **common)
    return GroupedResidualVQ(
        codebook_size=config.codebook_size,
        decay=config.rq_ema_decay,
        commitment_weight=config.rq_commitment_weight,
        quantize_dropout_multiple_of=config.rq_quantize_dropout_multiple_of,
        kmeans_init=True,
        threshold_ema_dead_code=2,
        stochastic_sample_codes=config.rq_stochastic_sample_codes,
        rotation_trick=config.rq_rotation_trick,
        **common,
    )


def _sum_of_vectors(codebooks: Tensor, codes: Tensor) -> Tensor:
    """Look up codes `[batch, frames, levels]` in codebooks `[levels, size, dim]`; sum over the levels.

    A code of -1 selects a vector of zeros.
    """
    size = codebooks.shape[1]
    table = torch.cat((torch.zeros_like(codebooks[:, :1]), codebooks), dim=1).flatten(0, 1)
    firsts = torch.arange(codes.shape[-1], device=codes.device) * (size + 1) + 1
    return nn.functional.embedding(codes + firsts, table).sum(dim=-2)
