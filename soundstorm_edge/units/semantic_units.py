"""Semantic units: audio to semantic tokens, which carry what is said and little of the voice."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import CheckpointError, ConfigError
from ..nn.mel import LogMel
from ..support.config import LONGEST_WINDOW, MOST_LAYERS, check_positive


class SemanticTokenizer(nn.Module, ABC):
    """Audio `[batch, samples]` to semantic tokens `[batch, tokens]`, `rate` of them a second.

    A token is the index of the nearest of `vocabulary` centroids to a frame of features. Subclasses define
    the features.
    """

    def __init__(self, sample_rate: int, rate: int, vocabulary: int, width: int) -> None:
        super().__init__()
        self.sample_rate, self.rate, self.vocabulary = sample_rate, rate, vocabulary
        self.register_buffer("centroids", torch.zeros(vocabulary, width))

    @abstractmethod
    def features(self, audio: Tensor) -> Tensor:
        """Return the features of audio float32 `[batch, samples]`, `[batch, frames, width]`."""

    def fit(self, features: np.ndarray, seed: int) -> None:
        """Cluster features float32 `[frames, width]` with k-means."""
        from sklearn.cluster import MiniBatchKMeans

        kmeans = MiniBatchKMeans(self.vocabulary, batch_size=8192, n_init=1, max_iter=30, random_state=seed)
        self.centroids = torch.from_numpy(kmeans.fit(features).cluster_centers_.astype(np.float32))

    @torch.no_grad()
    def tokenize(self, audio: Tensor) -> Tensor:
        """Return the tokens of audio float32 `[batch, samples]`, int64 `[batch, tokens]`.

        The last frame is padded with silence.
        """
        return torch.cdist(self.features(audio), self.centroids[None]).argmin(dim=-1)

    def _pad_to_frames(self, audio: Tensor) -> Tensor:
        return F.pad(audio, (0, -audio.shape[-1] % (self.sample_rate // self.rate)))


@dataclass(frozen=True)
class SpectralUnitsConfig:
    """Each log-mel frame is clustered together with `context` frames on either side."""

    kind: Literal["spectral"] = "spectral"
    sample_rate: int = 16_000
    rate: int = 50
    vocabulary: int = 500
    mels: int = 40
    window: int = 640
    context: int = 1

    def __post_init__(self) -> None:
        check_positive(self, "sample_rate", "rate", "vocabulary", "mels")
        check_positive(self, "window", most=LONGEST_WINDOW)
        if not 0 <= self.context <= LONGEST_WINDOW:
            raise ConfigError(f"context is {self.context}, expected 0 or more frames on either side")


class SpectralUnits(SemanticTokenizer):
    """Clusters of log-mel frames; the mean of the utterance, which depends on the voice, is subtracted."""

    def __init__(self, config: SpectralUnitsConfig) -> None:
        width = (2 * config.context + 1) * config.mels
        super().__init__(config.sample_rate, config.rate, config.vocabulary, width)
        self.config = config
        self.mel = LogMel(config.sample_rate, config.sample_rate // config.rate, config.window, config.mels)

    def features(self, audio: Tensor) -> Tensor:
        """Return `[batch, frames, (2 * context + 1) * mels]` for audio `[batch, samples]`."""
        mel = self.mel(self._pad_to_frames(audio))
        mel = mel - mel.mean(dim=1, keepdim=True)
        context = self.config.context
        padded = F.pad(mel.transpose(1, 2), (context, context), mode="replicate")
        return padded.unfold(2, 2 * context + 1, 1).permute(0, 2, 3, 1).flatten(2)


@dataclass(frozen=True)
class PhoneticUnitsConfig:
    """Units of a small network that was trained to predict the phones of a corpus with phone times.

    Args:
        sample_rate: in Hz.
        rate: tokens a second.
        vocabulary: number of units.
        mels, window: of the log-mel spectra in its input.
        dim, depth, kernel: width of the network, number of its blocks, and frames that each of them sees.
        width: of the features that are clustered.
        pooled: whether the second half of the blocks gets the mean over the utterance, without which a high
            pitch cannot be distinguished from a high voice.
        by_phone: whether the frames of each phone are clustered apart, so that a unit belongs to one phone.
            Where the phones of an utterance are known, as in training, its tokens then name them without
            error; other audio has the nearest units, as ever.

    Raises:
        ConfigError: a value is impossible.
    """

    kind: Literal["phonetic"] = "phonetic"
    sample_rate: int = 16_000
    rate: int = 50
    vocabulary: int = 1000
    mels: int = 80
    window: int = 800
    dim: int = 192
    depth: int = 5
    kernel: int = 5
    width: int = 48
    pooled: bool = False
    by_phone: bool = False

    def __post_init__(self) -> None:
        check_positive(self, "sample_rate", "rate", "vocabulary", "mels", "dim", "kernel", "width")
        check_positive(self, "window", most=LONGEST_WINDOW)
        check_positive(self, "depth", most=MOST_LAYERS)
        if self.kernel % 2 == 0:
            raise ConfigError(f"kernel {self.kernel} is even, expected an odd number of frames")


class PhoneticUnits(SemanticTokenizer):
    """Units of features that separate phones, and hence carry little of the voice.

    Supervised units, as in CosyVoice (arXiv 2407.05407). The network is trained by the stage `units`.
    """

    def __init__(self, config: PhoneticUnitsConfig) -> None:
        super().__init__(config.sample_rate, config.rate, config.vocabulary, config.width)
        self.config = config
        self.mel = LogMel(config.sample_rate, config.sample_rate // config.rate, config.window, config.mels)
        self.widen = nn.Linear(config.mels, config.dim)
        self.blocks = nn.ModuleList(_ContextBlock(config.dim, config.kernel) for _ in range(config.depth))
        self.pooled = nn.Linear(config.dim, config.dim) if config.pooled else None
        self.narrow = nn.Sequential(nn.LayerNorm(config.dim), nn.Linear(config.dim, config.width))
        if config.by_phone:
            self.register_buffer("phone_of", torch.zeros(config.vocabulary, dtype=torch.int64))

    def fit_by_phone(self, features: np.ndarray, phones: np.ndarray, seed: int) -> None:
        """Cluster features float32 `[frames, width]` within the phone of each frame, int64 `[frames]`.

        A phone has units in proportion to its frames, and at least one.

        Raises:
            ConfigError: there are fewer units than phones.
        """
        from sklearn.cluster import KMeans

        present, counts = np.unique(phones, return_counts=True)
        shares = _shared_out(self.vocabulary, counts)
        centroids = [
            KMeans(share, n_init=1, max_iter=30, random_state=seed)
            .fit(features[phones == phone])
            .cluster_centers_
            for phone, share in zip(present, shares, strict=True)
        ]
        self.centroids = torch.from_numpy(np.concatenate(centroids).astype(np.float32))
        self.phone_of = torch.from_numpy(np.repeat(present, shares))

    @torch.no_grad()
    def tokenize_phones(self, audio: Tensor, phones: Tensor) -> Tensor:
        """Return the tokens of audio whose phones are known: the nearest units of the phone of each frame.

        Args:
            audio: float32 `[batch, samples]`.
            phones: int64 `[batch, tokens]`. A phone that has no units may be any.

        Returns:
            int64 `[batch, tokens]`.
        """
        other = self.phone_of != phones[..., None]
        other &= ~other.all(dim=-1, keepdim=True)
        distances = torch.cdist(self.features(audio), self.centroids[None])
        return distances.masked_fill(other, torch.inf).argmin(dim=-1)

    def features(self, audio: Tensor) -> Tensor:
        """Return `[batch, frames, width]`, of mean 0 and deviation 1, for audio `[batch, samples]`."""
        return self.features_of(self.mel(self._pad_to_frames(audio)))

    def features_of(self, mel: Tensor) -> Tensor:
        """Return the features of log-mel spectra `[batch, frames, mels]`."""
        x = self.widen((mel - mel.mean(dim=(1, 2), keepdim=True)) / 2)
        for number, block in enumerate(self.blocks):
            if self.pooled is not None and number == len(self.blocks) // 2:
                x = x + self.pooled(x.mean(dim=1, keepdim=True))
            x = block(x)
        return F.layer_norm(self.narrow(x), (self.config.width,))


def _shared_out(units: int, frames: np.ndarray) -> np.ndarray:
    """Share out units among phones in proportion to their frames, at least one and at most one a frame."""
    if units < len(frames):
        raise ConfigError(f"there are {units} units for {len(frames)} phones; raise units.model.vocabulary")
    shares = np.ones_like(frames)
    for _ in range(units - len(frames)):
        shares[np.argmax(np.where(shares < frames, frames / shares, 0))] += 1
    return shares


class _ContextBlock(nn.Module):
    """A depthwise convolution over neighbouring frames, and a feed-forward (ConvNeXt)."""

    def __init__(self, dim: int, kernel: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=dim)
        self.norm = nn.LayerNorm(dim)
        self.wide = nn.Sequential(nn.Linear(dim, 3 * dim), nn.GELU(), nn.Linear(3 * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        """Map `[batch, frames, dim]` to the same shape."""
        return x + self.wide(self.norm(self.depthwise(x.transpose(1, 2)).transpose(1, 2)))


@dataclass(frozen=True)
class HubertUnitsConfig:
    """Units of HuBERT (arXiv 2106.07447): the folder of its weights, and the layer that is clustered.

    `width` is that of its hidden states; it has 50 frames a second of 16 kHz audio.
    """

    folder: str
    kind: Literal["hubert"] = "hubert"
    layer: int = 9
    width: int = 768
    vocabulary: int = 500
    sample_rate: Literal[16_000] = 16_000
    rate: Literal[50] = 50


class HubertUnits(SemanticTokenizer):
    """Units of a layer of HuBERT, through the library `transformers`, from weights on disk.

    HuBERT is loaded when the first audio is tokenized: a voice without new prompts does not need it.
    """

    def __init__(self, config: HubertUnitsConfig) -> None:
        super().__init__(config.sample_rate, config.rate, config.vocabulary, config.width)
        self.config = config
        self._hubert: list[Any] = []  # not a submodule: its weights stay in their own folder

    def features(self, audio: Tensor) -> Tensor:
        """Return the layer's hidden states `[batch, frames, width]` for audio `[batch, samples]`."""
        if not self._hubert:
            self._hubert.append(_load_hubert(self.config))
        audio = self._pad_to_frames(audio)
        audio = (audio - audio.mean(-1, keepdim=True)) / (audio.std(-1, keepdim=True) + 1e-7)
        # Its first window is 80 samples longer than a hop: with this padding, every hop has a frame.
        with torch.no_grad():
            hubert = self._hubert[0].to(audio.device)
            states = hubert(F.pad(audio, (40, 40)), output_hidden_states=True).hidden_states
        return states[self.config.layer]


def _load_hubert(config: HubertUnitsConfig) -> Any:
    try:
        from transformers import HubertModel
    except ImportError as error:
        raise CheckpointError(
            "HuBERT units need the transformers library: pip install 'soundstorm-edge[hubert]'"
        ) from error
    if not (Path(config.folder) / "config.json").is_file():
        raise CheckpointError(
            f"no HuBERT weights in {config.folder!r}, expected config.json and model.safetensors; put "
            "them there, or set units.model.kind = 'spectral'"
        )
    try:
        model = HubertModel.from_pretrained(config.folder, local_files_only=True, use_safetensors=True)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"HuBERT in {config.folder!r} cannot be loaded ({reason})") from error
    layers, width = model.config.num_hidden_layers, model.config.hidden_size
    if config.layer > layers or config.width != width:
        raise CheckpointError(
            f"HuBERT in {config.folder!r} has {layers} layers of width {width}, but units.model asks for "
            f"layer {config.layer} of width {config.width}; set layer and width"
        )
    return model.eval()


UnitsConfig = SpectralUnitsConfig | PhoneticUnitsConfig | HubertUnitsConfig


def build_units(config: UnitsConfig) -> SemanticTokenizer:
    """Return units without centroids, of the kind of the configuration."""
    if isinstance(config, HubertUnitsConfig):
        return HubertUnits(config)
    return PhoneticUnits(config) if isinstance(config, PhoneticUnitsConfig) else SpectralUnits(config)
