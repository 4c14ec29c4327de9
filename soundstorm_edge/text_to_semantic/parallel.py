"""Text to semantic tokens in parallel: phones, a duration for each, then the token of every frame.

The length regulator of FastSpeech (arXiv 1905.09263) between two Conformers: no word can be skipped or
repeated, because every phone has its frames.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import ConfigError
from ..nn.conformer import Conformer, ConformerConfig, frame_mask


def _small(kernel: int) -> ConformerConfig:
    return ConformerConfig(
        dim=192, depth=3, heads=3, conv_kernel_size=kernel, num_residual_streams=1, value_residual=False
    )


@dataclass(frozen=True)
class ParallelTextConfig:
    """Sizes; `symbols` are the phones in the order of their ids, `vocabulary` counts tokens."""

    kind: Literal["parallel"] = "parallel"
    symbols: tuple[str, ...] = ()
    vocabulary: int = 500
    encoder: ConformerConfig = field(default_factory=lambda: _small(kernel=5))
    decoder: ConformerConfig = field(default_factory=lambda: _small(kernel=9))

    def __post_init__(self) -> None:
        if self.encoder.dim != self.decoder.dim:
            raise ConfigError(
                f"encoder.dim {self.encoder.dim} and decoder.dim {self.decoder.dim} must be equal"
            )


class ParallelTextToSemantic(nn.Module):
    """Phones to semantic tokens, through predicted durations."""

    def __init__(self, config: ParallelTextConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.encoder.dim
        self.phone_embedding = nn.Embedding(len(config.symbols), dim)
        self.encoder = Conformer(config.encoder)
        self.duration = nn.Sequential(nn.Linear(dim, dim), nn.SiLU(), nn.Linear(dim, 1))
        self.progress = nn.Sequential(nn.Linear(1, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.decoder = Conformer(config.decoder)
        self.classifier = nn.Linear(dim, config.vocabulary)

    def encode(self, phones: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Encode phones, and predict their durations.

        Args:
            phones: int64 `[batch, phones]`.
            lengths: of the phones, int64 `[batch]`.

        Returns:
            Hidden states float32 `[batch, phones, dim]`, and durations float32 `[batch, phones]`, in semantic
            tokens, above 0.
        """
        hidden = self.encoder(self.phone_embedding(phones), frame_mask(lengths, phones.shape[1]))
        return hidden, self.duration(hidden)[..., 0].float().clamp(max=6.0).exp()

    def decode(self, hidden: Tensor, phone_index: Tensor, progress: Tensor, lengths: Tensor) -> Tensor:
        """Return the likeliest token of every frame, int64 `[batch, tokens]`; arguments as of `logits`."""
        return self.logits(hidden, phone_index, progress, lengths).argmax(dim=-1)

    def logits(self, hidden: Tensor, phone_index: Tensor, progress: Tensor, lengths: Tensor) -> Tensor:
        """Return the logits of every frame, float32 `[batch, tokens, vocabulary]`.

        Args:
            hidden: float32 `[batch, phones, dim]`.
            phone_index: the phone of each token, int64 `[batch, tokens]`.
            progress: how far into its phone a token is, from 0 to below 1, float32 `[batch, tokens]`.
            lengths: of the tokens, int64 `[batch]`.
        """
        spread = hidden.gather(1, phone_index[..., None].expand(-1, -1, hidden.shape[-1]))
        x = spread + self.progress(progress[..., None])
        return self.classifier(self.decoder(x, frame_mask(lengths, phone_index.shape[1])))

    def predict(self, phones: Tensor, lengths: Tensor, durations: Tensor) -> Tensor:
        """Return the likeliest semantic tokens for given durations, int64 `[batch, tokens]`.

        Args:
            phones: int64 `[batch, phones]`.
            lengths: of the phones, int64 `[batch]`.
            durations: in tokens, int64 `[batch, phones]`, 0 past the end of each sample.
        """
        hidden, _ = self.encode(phones, lengths)
        tokens = durations.sum(dim=1)
        index, progress = spread_over_time(durations, int(tokens.max()))
        return self.decode(hidden, index, progress, tokens)

    def forward(
        self, phones: Tensor, phone_lengths: Tensor, durations: Tensor, tokens: Tensor, token_lengths: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return both losses for the true durations.

        Args:
            phones: int64 `[batch, phones]`.
            phone_lengths: int64 `[batch]`.
            durations: in tokens, int64 `[batch, phones]`.
            tokens: int64 `[batch, tokens]`.
            token_lengths: int64 `[batch]`.

        Returns:
            The mean cross entropy of the tokens, and the mean squared error of the log durations.
        """
        hidden, predicted = self.encode(phones, phone_lengths)
        index, progress = spread_over_time(durations, tokens.shape[1])
        logits = self.logits(hidden, index, progress, token_lengths)
        real = frame_mask(token_lengths, tokens.shape[1])
        cross_entropy = F.cross_entropy(logits.transpose(1, 2), tokens, reduction="none")
        spoken = frame_mask(phone_lengths, phones.shape[1]) & (durations > 0)
        error = (predicted.log() - durations.clamp(min=1).log()) ** 2
        return cross_entropy[real].mean(), error[spoken].mean()


def spread_over_time(durations: Tensor, tokens: int) -> tuple[Tensor, Tensor]:
    """Return the phone of each token, and how far into it the token is.

    Args:
        durations: in tokens, int64 `[batch, phones]`.
        tokens: length of the result; tokens past the end are of the last phone.

    Returns:
        phone_index int64 and progress float32, both `[batch, tokens]`.
    """
    ends = durations.cumsum(dim=1)
    position = torch.arange(tokens, device=durations.device).expand(durations.shape[0], -1).contiguous()
    index = torch.searchsorted(ends, position, right=True).clamp(max=durations.shape[1] - 1)
    length = durations.gather(1, index).clamp(min=1)
    start = ends.gather(1, index) - durations.gather(1, index)
    return index, ((position - start) / length).clamp(0, 1)
