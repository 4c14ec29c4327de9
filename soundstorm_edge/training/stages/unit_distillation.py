"""Stage `unit_distillation`: train units to predict, for any speaker, the tokens of the text stage.

The first units confuse phones here and there, most of all for speakers who are not the clearest. The text
stage knows the phones, so its tokens are free of that; units that are trained on them (knowledge
distillation, arXiv 1503.02531) assign the tokens of its one speaker to the speech of all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...data.corpus import Corpus
from ...units.semantic_units import PhoneticUnits, PhoneticUnitsConfig
from ..batches import spread_evenly
from ..optimization import Optimization
from ..stage import Stage


@dataclass(frozen=True)
class UnitDistillationRecipe:
    """The settings of the stage.

    Args:
        model: the units to train; vocabulary, rate and sample rate are those of the first units.
        frames: length of a training crop, in tokens.
        optimization: how they are trained.
    """

    model: PhoneticUnitsConfig = field(
        default_factory=lambda: PhoneticUnitsConfig(dim=256, depth=8, kernel=9)
    )
    frames: int = 150
    optimization: Optimization = field(
        default_factory=lambda: Optimization(steps=3000, learning_rate=2e-3, bf16=True)
    )


class UnitDistillationStage(Stage):
    """Crops of speech, and the token that the text stage predicts for each frame.

    Args:
        recipe: the settings.
        corpus: the speech.
        predicted: the tokens of every utterance, predicted by the text stage for the true durations.

    Raises:
        CorpusError: no utterance is as long as a crop.
    """

    name = "unit distillation"

    def __init__(
        self, recipe: UnitDistillationRecipe, corpus: Corpus, predicted: Sequence[np.ndarray]
    ) -> None:
        self.config, self.recipe = recipe.model, recipe
        self.corpus, self.predicted = corpus, predicted
        torch.manual_seed(recipe.optimization.seed)
        self.units = PhoneticUnits(recipe.model)
        self.model = _TrainableUnits(self.units)
        self.hop = recipe.model.sample_rate // recipe.model.rate
        for part in (False, True):  # raises where none is that long
            corpus.at_least(recipe.frames / recipe.model.rate, held_out=part)
        self.numbers, held_out = (
            [n for n in np.flatnonzero(chosen).tolist() if self._frames(n) >= recipe.frames]
            for chosen in (~corpus.utterances.held_out, corpus.utterances.held_out)
        )
        self.held_out = spread_evenly(held_out, 32)  # of all speakers
        self.lengths = np.ones(len(self.numbers))  # all crops have one length

    def _frames(self, number: int) -> int:
        samples = int(self.corpus.utterances[number].seconds * self.config.sample_rate)
        return min(len(self.predicted[number]), samples // self.hop)

    def sample(self, number: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Read a crop: audio float32 `[samples]`, tokens int64 `[frames]`."""
        return self._crop(self.numbers[number], rng)

    def _crop(self, number: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        frames = self.recipe.frames
        start = int(rng.integers(self._frames(number) - frames + 1))
        utterance = self.corpus.utterances[number]
        audio = self.corpus.audio(utterance, start * self.hop, frames * self.hop)
        return audio, self.predicted[number][start : start + frames].astype(np.int64)

    def collate(self, samples: Sequence[tuple[np.ndarray, ...]]) -> tuple[Tensor, ...]:
        """Stack audio float32 `[batch, samples]` and tokens int64 `[batch, frames]`."""
        return tuple(torch.from_numpy(np.stack(column)) for column in zip(*samples, strict=True))

    def loss(self, model: nn.Module, batch: tuple[Tensor, ...]) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the cross entropy (nats per token), and the share of tokens that is predicted correctly."""
        audio, tokens = batch
        logits = model(audio).float().transpose(1, 2)
        return F.cross_entropy(logits, tokens), {"same": (logits.argmax(dim=1) == tokens).float().mean()}

    def evaluate(self, device: torch.device) -> dict[str, float]:
        """Return the share of the tokens of held-out speech that is predicted correctly."""
        rng = np.random.default_rng(0)
        audio, tokens = self.collate([self._crop(number, rng) for number in self.held_out])
        return {"same": (self.units.tokenize(audio.to(device)).cpu() == tokens).float().mean().item()}


class _TrainableUnits(nn.Module):
    """Units whose centroids are trained together with their features."""

    def __init__(self, units: PhoneticUnits) -> None:
        super().__init__()
        units.centroids = nn.Parameter(torch.randn_like(units.centroids))
        self.units, self.dropout = units, nn.Dropout(0.05)

    def forward(self, audio: Tensor) -> Tensor:
        """Map audio float32 `[batch, samples]` to logits `[batch, frames, vocabulary]`.

        They are negative squared distances to the centroids, without the term that all units of a frame
        share, scaled to start with useful gradients.
        """
        mel = self.units.mel(audio)
        features = self.units.features_of(mask_bands_and_spans(mel) if self.training else mel)
        features, centroids = self.dropout(features), self.units.centroids
        return 0.3 * (2 * features @ centroids.T - centroids.square().sum(dim=-1))


def mask_bands_and_spans(mel: Tensor) -> Tensor:
    """Replace some bands and frames of each sample by its mean (SpecAugment, arXiv 1904.08779).

    Up to a sixth of the bands, contiguous, and up to 5 contiguous frames are masked, so that units also use
    the context of a sound.

    Args:
        mel: float32 `[batch, frames, mels]`.
    """
    batch, frames, bands = mel.shape
    mean = mel.mean(dim=(1, 2), keepdim=True)
    band = _span(batch, bands, bands // 6, mel.device)[:, None, :]
    frame = _span(batch, frames, min(5, frames), mel.device)[:, :, None]
    return torch.where(band | frame, mean, mel)


def _span(batch: int, size: int, longest: int, device: torch.device) -> Tensor:
    """Mark a span of random length, 0 to `longest`, at a random place of each row: bool `[batch, size]`."""
    length = torch.randint(longest + 1, (batch, 1), device=device)
    start = (torch.rand(batch, 1, device=device) * (size - length + 1)).long()
    place = torch.arange(size, device=device)
    return (start <= place) & (place < start + length)
