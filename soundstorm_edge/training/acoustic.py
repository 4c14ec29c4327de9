"""Stage `acoustic`: teach SoundStorm to fill masked codes from semantic tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from ..conformer import ConformerConfig
from ..corpus import Corpus
from ..soundstorm import Masking, SoundStorm, SoundStormConfig
from .batches import draw_alike, pad
from .loop import Optimization, Stage


@dataclass(frozen=True)
class AcousticRecipe:
    """The Conformer, the masking, and the length of training crops in frames.

    The levels, the codebook size and the vocabulary are those of the codec and the units.
    """

    conformer: ConformerConfig = field(default_factory=ConformerConfig)
    masking: Masking = field(default_factory=Masking)
    frames: int = 256
    optimization: Optimization = field(default_factory=Optimization)


class AcousticStage(Stage):
    """Crops of an utterance's codes with the semantic tokens of the same frames."""

    name = "acoustic"

    def __init__(
        self,
        recipe: AcousticRecipe,
        config: SoundStormConfig,
        corpus: Corpus,
        codes: Sequence[np.ndarray],
        tokens: Sequence[np.ndarray],
        frames_per_token: int,
    ) -> None:
        self.config, self.recipe = config, recipe
        torch.manual_seed(recipe.optimization.seed)
        self.model = SoundStorm(config)
        pairs = [align(c, t, frames_per_token) for c, t in zip(codes, tokens, strict=True)]
        self.pairs = [p for p, u in zip(pairs, corpus.utterances, strict=True) if not u.held_out]
        self.held_out = [p for p, u in zip(pairs, corpus.utterances, strict=True) if u.held_out][:24]
        self.lengths = np.array([len(codes) for codes, _ in self.pairs])

    def batch(self, size: int, rng: np.random.Generator) -> tuple[Tensor, ...]:
        """Draw crops of at most `frames`: codes, semantic tokens, lengths."""
        crops = [self._crop(self.pairs[i], rng) for i in draw_alike(self.lengths, size, rng)]
        return _collate(crops)

    def _crop(self, pair: tuple[np.ndarray, np.ndarray], rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        start = int(rng.integers(max(1, len(pair[0]) - self.recipe.frames + 1)))
        return tuple(sequence[start : start + self.recipe.frames] for sequence in pair)

    def loss(self, model: nn.Module, batch: tuple[Tensor, ...]) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the masking loss, and its value for each level that was drawn."""
        loss, by_level = model(*batch, self.recipe.masking)
        return loss, {f"level {q}": value for q, value in enumerate(by_level) if value > 0}

    def evaluate(self, device: torch.device) -> dict[str, float]:
        """Give the loss of held-out utterances at every level, wholly masked."""
        batch = tuple(tensor.to(device) for tensor in _collate(self.held_out))
        scores = {}
        for level in range(self.config.levels):
            weights = tuple(float(q == level) for q in range(self.config.levels))
            masking = Masking(level_weights=weights, prompted=0.0, fully_masked=1.0)
            scores[f"level {level}"] = self.model(*batch, masking)[0].item()
        return scores


def align(codes: np.ndarray, tokens: np.ndarray, frames_per_token: int) -> tuple[np.ndarray, np.ndarray]:
    """Repeat tokens `[tokens]` to the frames of codes `[frames, levels]`; both cut to the shorter."""
    repeated = np.repeat(tokens, frames_per_token)
    frames = min(len(codes), len(repeated))
    return codes[:frames], repeated[:frames]


def _collate(pairs: Sequence[tuple[np.ndarray, ...]]) -> tuple[Tensor, ...]:
    codes, lengths = pad([pair[0] for pair in pairs])
    tokens, _ = pad([pair[1] for pair in pairs])
    return codes, tokens, lengths
