"""Stage `hearing`: teach semantic units to hear, of any speaker, the tokens that the text stage reads.

The first units take one phone for another here and there, most of all from speakers who are not the clearest.
The text stage knows the phones, so what it reads is free of that; units that learn from it (distillation,
arXiv 1503.02531) give the tokens of its one speaker for the speech of all.
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
class HearingRecipe:
    """The units that learn, with the vocabulary and rate of the first ones, and the frames of a crop."""

    model: PhoneticUnitsConfig = field(
        default_factory=lambda: PhoneticUnitsConfig(dim=256, depth=8, kernel=9)
    )
    frames: int = 150
    optimization: Optimization = field(
        default_factory=lambda: Optimization(steps=3000, learning_rate=2e-3, bf16=True)
    )


class HearingStage(Stage):
    """Crops of speech, and the token that was read for each frame.

    read: the tokens of every utterance, as the text stage reads them at the pace at which it was spoken.
    """

    name = "hearing"

    def __init__(self, recipe: HearingRecipe, corpus: Corpus, read: Sequence[np.ndarray]) -> None:
        self.config, self.recipe, self.corpus, self.read = recipe.model, recipe, corpus, read
        torch.manual_seed(recipe.optimization.seed)
        self.units = PhoneticUnits(recipe.model)
        self.model = _Listener(self.units)
        self.hop = recipe.model.sample_rate // recipe.model.rate
        for part in (False, True):  # an error where there is nothing so long
            corpus.at_least(recipe.frames / recipe.model.rate, held_out=part)
        self.numbers, held_out = (
            [n for n in np.flatnonzero(chosen).tolist() if self._frames(n) >= recipe.frames]
            for chosen in (~corpus.utterances.held_out, corpus.utterances.held_out)
        )
        self.held_out = spread_evenly(held_out, 32)  # of all speakers
        self.lengths = np.ones(len(self.numbers))  # all crops are alike

    def _frames(self, number: int) -> int:
        spoken = int(self.corpus.utterances[number].seconds * self.config.sample_rate)
        return min(len(self.read[number]), spoken // self.hop)

    def sample(self, number: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Read a crop: audio float32 `[samples]`, tokens int64 `[frames]`."""
        return self._crop(self.numbers[number], rng)

    def _crop(self, number: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        frames = self.recipe.frames
        start = int(rng.integers(self._frames(number) - frames + 1))
        utterance = self.corpus.utterances[number]
        audio = self.corpus.audio(utterance, start * self.hop, frames * self.hop)
        return audio, self.read[number][start : start + frames].astype(np.int64)

    def collate(self, samples: Sequence[tuple[np.ndarray, ...]]) -> tuple[Tensor, ...]:
        """Stack both."""
        return tuple(torch.from_numpy(np.stack(column)) for column in zip(*samples, strict=True))

    def loss(self, model: nn.Module, batch: tuple[Tensor, ...]) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the cross entropy of the tokens, and the share that is heard as it was read."""
        audio, tokens = batch
        logits = model(audio).float().transpose(1, 2)
        return F.cross_entropy(logits, tokens), {"same": (logits.argmax(dim=1) == tokens).float().mean()}

    def evaluate(self, device: torch.device) -> dict[str, float]:
        """Give the share of the tokens of held-out speech that are heard as they were read."""
        rng = np.random.default_rng(0)
        audio, tokens = self.collate([self._crop(number, rng) for number in self.held_out])
        return {"same": (self.units.tokenize(audio.to(device)).cpu() == tokens).float().mean().item()}


class _Listener(nn.Module):
    """Units whose centroids are learned with their features."""

    def __init__(self, units: PhoneticUnits) -> None:
        super().__init__()
        units.centroids = nn.Parameter(torch.randn_like(units.centroids))
        self.units, self.dropout = units, nn.Dropout(0.05)

    def forward(self, audio: Tensor) -> Tensor:
        """Turn audio `[batch, samples]` into logits `[batch, frames, vocabulary]`: how near each unit is.

        They are squared distances, less what all units of a frame share, scaled for a good start.
        """
        mel = self.units.mel(audio)
        features = self.units.features_of(hide_bands_and_spans(mel) if self.training else mel)
        features, centroids = self.dropout(features), self.units.centroids
        return 0.3 * (2 * features @ centroids.T - centroids.square().sum(dim=-1))


def hide_bands_and_spans(mel: Tensor) -> Tensor:
    """Put the mean of a sample in the place of some of its bands and frames (SpecAugment, arXiv 1904.08779).

    mel: float32 `[batch, frames, mels]`. Up to a sixth of the bands, side by side, and up to 5 frames are
    hidden, so that units lean on what surrounds a sound, too.
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
