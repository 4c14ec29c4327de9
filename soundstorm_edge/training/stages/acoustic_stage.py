"""Stage `acoustic`: teach SoundStorm to fill masked codes from semantic tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn

from ...data.corpus import Corpus
from ...errors import ConfigError
from ...nn.conformer import ConformerConfig, frame_mask
from ...soundstorm.masking import Masking
from ...soundstorm.model import SoundStorm, SoundStormConfig
from ..batches import pad, spread_evenly
from ..optimization import Optimization
from ..stage import Stage

# What two processor cores can train and speak with.
SMALL = ConformerConfig(
    dim=256, depth=6, heads=4, conv_kernel_size=5, num_residual_streams=1, value_residual=False
)


@dataclass(frozen=True)
class AcousticRecipe:
    """The Conformer, the masking, and the length of training samples in frames.

    The levels, the codebook size and the vocabulary are those of the codec and the units.

    read: share of the utterances whose semantic tokens are those that the parallel text stage reads at the
    pace at which they were spoken. Where it has learned one speaker alone, these tell nothing of the voice,
    so that the prompt must; and they are what SoundStorm hears in text to speech. The text stage has to be
    trained before.
    """

    conformer: ConformerConfig = field(default_factory=lambda: SMALL)
    masking: Masking = field(default_factory=Masking)
    frames: int = 256
    read: float = 0.0
    optimization: Optimization = field(default_factory=Optimization)

    def __post_init__(self) -> None:
        if not 0 <= self.read <= 1:
            raise ConfigError(f"read is {self.read}, expected a share from 0 to 1")


class AcousticStage(Stage):
    """Stretches of one speaker's speech: codes with the semantic tokens of the same frames.

    A stretch runs on from one utterance into another one, as a sentence follows its prompt.

    tokens: those that were heard. read: those that the text stage reads, for the recipe's share of them.
    """

    name = "acoustic"

    def __init__(
        self,
        recipe: AcousticRecipe,
        config: SoundStormConfig,
        corpus: Corpus,
        codes: Sequence[np.ndarray],
        tokens: Sequence[np.ndarray],
        frames_per_token: int,
        read: Sequence[np.ndarray] | None = None,
    ) -> None:
        self.config, self.recipe = config, recipe
        torch.manual_seed(recipe.optimization.seed)
        self.model = SoundStorm.from_config(config)
        self.codes, self.tokens, self.frames_per_token, self.read = codes, tokens, frames_per_token, read
        utterances = corpus.utterances
        self.numbers = np.flatnonzero(~utterances.held_out)
        self.speaker = utterances.speaker[self.numbers]
        self.of_speaker = [np.flatnonzero(self.speaker == s) for s in range(len(utterances.speakers))]
        held_out = np.flatnonzero(utterances.held_out).tolist()
        self.held_out = [self._pair(n) for n in spread_evenly(held_out, 24)]  # of all speakers
        self.lengths = np.full(len(self.numbers), recipe.frames)

    def sample(self, number: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Read `frames` frames from a random place of an utterance on: codes, semantic tokens."""
        parts: list[tuple[np.ndarray, np.ndarray]] = []
        missing = self.recipe.frames
        others = self.of_speaker[self.speaker[number]]
        while missing > 0:
            codes, tokens = self._pair(int(self.numbers[rng.choice(others) if parts else number]), rng)
            start = 0 if parts else int(rng.integers(len(codes)))
            parts.append((codes[start : start + missing], tokens[start : start + missing]))
            missing -= len(parts[-1][0])
        return tuple(np.concatenate(column) for column in zip(*parts, strict=True))

    def collate(self, samples: Sequence[tuple[np.ndarray, ...]]) -> tuple[Tensor, ...]:
        """Make a batch: codes, semantic tokens, lengths."""
        codes, lengths = pad([sample[0] for sample in samples])
        tokens, _ = pad([sample[1] for sample in samples])
        return codes, tokens, lengths

    def _pair(self, number: int, rng: np.random.Generator | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Give codes and tokens of an utterance; without `rng`, the tokens that were heard."""
        tokens = self.tokens
        if self.read is not None and rng is not None and rng.random() < self.recipe.read:
            tokens = self.read
        return align(self.codes[number], tokens[number], self.frames_per_token)

    def loss(self, model: nn.Module, batch: tuple[Tensor, ...]) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the masking loss."""
        return self._loss(model, batch, self.recipe.masking), {}

    def evaluate(self, device: torch.device) -> dict[str, float]:
        """Give the loss of held-out utterances at every level, masked wholly but for prompts."""
        batch = tuple(tensor.to(device) for tensor in self.collate(self.held_out))
        scores = {}
        for level in range(self.config.levels):
            weights = tuple(float(q == level) for q in range(self.config.levels))
            masking = replace(self.recipe.masking, level_weights=weights, fully_masked=1.0)
            scores[f"level {level}"] = self._loss(self.model, batch, masking).item()
        return scores

    def _loss(self, model: nn.Module, batch: tuple[Tensor, ...], masking: Masking) -> Tensor:
        codes, tokens, lengths = batch
        mask = frame_mask(lengths, codes.shape[1])
        return model(codes, mask=mask, cond_semantic_token_ids=tokens, masking=masking)[0]


def align(codes: np.ndarray, tokens: np.ndarray, frames_per_token: int) -> tuple[np.ndarray, np.ndarray]:
    """Repeat tokens `[tokens]` to the frames of codes `[frames, levels]`; both cut to the shorter."""
    repeated = np.repeat(tokens, frames_per_token)
    frames = min(len(codes), len(repeated))
    return codes[:frames], repeated[:frames]
