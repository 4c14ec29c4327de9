"""Semantic tokens: what is said, and not who says it, as units of a feature's frames."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .mel import LogMel


class SemanticTokenizer(nn.Module, ABC):
    """Audio `[batch, samples]` to semantic tokens `[batch, tokens]`, `rate` of them a second."""

    sample_rate: int
    rate: int
    vocabulary: int

    @abstractmethod
    def tokenize(self, audio: Tensor) -> Tensor:
        """Turn float32 audio `[batch, samples]` into int64 tokens `[batch, samples * rate / sample_rate]`."""


@dataclass(frozen=True)
class SpectralUnitsConfig:
    """`context` frames on either side join each log-mel frame before it is matched to a unit."""

    sample_rate: int = 16_000
    rate: int = 50
    vocabulary: int = 500
    mels: int = 40
    window: int = 640
    context: int = 1


class SpectralUnits(SemanticTokenizer):
    """K-means units of log-mel frames, each utterance's mean taken off, as that tells the voice."""

    def __init__(self, config: SpectralUnitsConfig) -> None:
        super().__init__()
        self.config = config
        self.sample_rate, self.rate, self.vocabulary = config.sample_rate, config.rate, config.vocabulary
        self.mel = LogMel(config.sample_rate, config.sample_rate // config.rate, config.window, config.mels)
        width = (2 * config.context + 1) * config.mels
        self.register_buffer("centroids", torch.zeros(config.vocabulary, width))

    def features(self, audio: Tensor) -> Tensor:
        """Turn audio `[batch, samples]` into what is clustered: `[batch, frames, (2 context + 1) * mels]`."""
        mel = self.mel(F.pad(audio, (0, -audio.shape[-1] % self.mel.hop)))
        mel = mel - mel.mean(dim=1, keepdim=True)
        context = self.config.context
        padded = F.pad(mel.transpose(1, 2), (context, context), mode="replicate")
        return padded.unfold(2, 2 * context + 1, 1).permute(0, 2, 3, 1).flatten(2)

    def fit(self, features: np.ndarray, seed: int) -> None:
        """Cluster features float32 `[frames, width]`."""
        from sklearn.cluster import MiniBatchKMeans

        kmeans = MiniBatchKMeans(self.vocabulary, batch_size=8192, n_init=1, max_iter=30, random_state=seed)
        self.centroids = torch.from_numpy(kmeans.fit(features).cluster_centers_.astype(np.float32))

    @torch.no_grad()
    def tokenize(self, audio: Tensor) -> Tensor:
        """Give the nearest centroid of every frame, int64 `[batch, frames]`."""
        features = self.features(audio)
        return torch.cdist(features, self.centroids[None]).argmin(dim=-1)
