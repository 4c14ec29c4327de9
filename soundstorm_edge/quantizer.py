"""Residual vector quantization, shared by the codecs."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from vector_quantize_pytorch import ResidualVQ


class Quantizer(nn.Module):
    """`levels` codebooks, each coding what the coarser ones left over (SoundStream, section III-C).

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
            rotation_trick=False,  # the plain straight-through gradient of the paper
        )

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Quantize `[batch, frames, dim]`.

        Returns the quantized latents (straight-through in training), codes int64
        `[batch, frames, levels]` and the commitment loss, a scalar.
        """
        quantized, codes, losses = self.residual(latents)
        return quantized, codes, losses.sum()

    @torch.no_grad()
    def encode(self, latents: Tensor) -> Tensor:
        """Find the codes int64 `[batch, frames, levels]` of latents `[batch, frames, dim]`.

        Unlike `forward`, this neither drops levels nor moves codebooks, in training mode too.
        """
        codes, rest = [], latents
        for codebook in self.residual.codebooks:
            nearest = torch.cdist(rest, codebook[None]).argmin(dim=-1)
            codes.append(nearest)
            rest = rest - codebook[nearest]
        return torch.stack(codes, dim=-1)

    def decode(self, codes: Tensor) -> Tensor:
        """Sum the codebook vectors of codes `[batch, frames, levels]` to `[batch, frames, dim]`.

        Fewer levels than the quantizer has are a coarse prefix.
        """
        codebooks = self.residual.codebooks  # [levels, codebook_size, dim]
        offsets = torch.arange(codes.shape[-1], device=codes.device) * self.codebook_size
        return nn.functional.embedding(codes + offsets, codebooks.flatten(0, 1)).sum(dim=-2)
