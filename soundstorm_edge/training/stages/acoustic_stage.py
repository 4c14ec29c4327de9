"""Stage `acoustic`: train SoundStorm to predict masked codes from semantic tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn

from ...data.corpus import Corpus
from ...errors import ConfigError, CorpusError
from ...nn.conformer import ConformerConfig, frame_mask
from ...soundstorm.masking import Masking
from ...soundstorm.model import SoundStorm, SoundStormConfig
from ..batches import pad, spread_evenly
from ..optimization import Optimization
from ..stage import Stage

# Small enough to train and to speak on two processor cores.
SMALL = ConformerConfig(
    dim=256, depth=6, heads=4, conv_kernel_size=5, num_residual_streams=1, value_residual=False
)

MOST_SPEAKERS = 4  # of a dialogue
ANY_PROMPT = np.array([-1])  # of a sample whose prompt is drawn when it is masked


@dataclass(frozen=True)
class AcousticRecipe:
    """The settings of the stage; levels, codebook size and vocabulary follow from codec and units.

    Args:
        conformer: the network.
        masking: which codes are masked in training.
        frames: length of a training sample.
        predicted_tokens: share of the utterances whose semantic tokens are predicted by the parallel text
            stage, for the true durations, in place of those of the audio. These are the tokens of text to
            speech; and where the text stage was trained on one speaker, they do not identify the voice, so
            that SoundStorm learns it from the prompt. The text stage has to be trained before.
        degraded_prompts: share of the samples whose prompt is speech with noise, echo or a narrow band
            (`soundstorm_edge.data.degradation`), while what follows it is clean.
        dialogues: share of the samples in which two to four speakers take turns. Each turn follows some other
            speech of its speaker, whose codes are given, as in `soundstorm_runtime.synthesis.dialogue`.
        optimization: how it is trained.
    """

    conformer: ConformerConfig = field(default_factory=lambda: SMALL)
    masking: Masking = field(default_factory=Masking)
    frames: int = 256
    predicted_tokens: float = 0.0
    optimization: Optimization = field(default_factory=Optimization)
    degraded_prompts: float = 0.0
    dialogues: float = 0.0

    def __post_init__(self) -> None:
        for name in ("predicted_tokens", "degraded_prompts", "dialogues"):
            if not 0 <= (share := getattr(self, name)) <= 1:
                raise ConfigError(f"{name} is {share}, expected a share from 0 to 1")


class AcousticStage(Stage):
    """Samples of one speaker's speech: codes with the semantic tokens of the same frames.

    A sample continues from one utterance into another one, as a sentence follows its prompt.

    Args:
        recipe: the settings.
        config: of SoundStorm.
        corpus: the speech.
        codes: of every utterance, `[frames, levels]`.
        tokens: the semantic tokens of every utterance's audio, `[tokens]`.
        frames_per_token: frames of the codec per semantic token.
        predicted: the tokens that the text stage predicts, for the recipe's share of the utterances.
        degraded: codes and semantic tokens of the degraded audio of every utterance, for the recipe's share
            of the prompts.
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
        predicted: Sequence[np.ndarray] | None = None,
        degraded: tuple[Sequence[np.ndarray], Sequence[np.ndarray]] | None = None,
    ) -> None:
        self.config, self.recipe = config, recipe
        torch.manual_seed(recipe.optimization.seed)
        self.model = SoundStorm.from_config(config)
        self.codes, self.tokens, self.predicted, self.degraded = codes, tokens, predicted, degraded
        self.frames_per_token = frames_per_token
        utterances = corpus.utterances
        self.numbers = np.flatnonzero(~utterances.held_out)
        if not len(self.numbers):
            raise CorpusError("the corpus has no training utterance; add speech")
        self.speaker = utterances.speaker[self.numbers]
        self.of_speaker = [np.flatnonzero(self.speaker == s) for s in range(len(utterances.speakers))]
        if recipe.dialogues and sum(len(own) > 0 for own in self.of_speaker) < 2:
            raise ConfigError("dialogues is set, but the corpus has one speaker; set it to 0")
        held_out = [self._pair(n) for n in spread_evenly(np.flatnonzero(utterances.held_out).tolist(), 24)]
        self.held_out = [(*pair, ANY_PROMPT, np.zeros(len(pair[0]), bool)) for pair in held_out]
        self.lengths = np.full(len(self.numbers), recipe.frames)

    def sample(self, number: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Read `frames` frames from a random position in an utterance.

        Returns:
            Codes int64 `[frames, levels]`, semantic tokens int64 `[frames]`, int64 `[1]`, the frames of the
            prompt, -1 where it may be any, and bool `[frames]`, those that are given and not predicted.
        """
        if self.recipe.dialogues and rng.random() < self.recipe.dialogues:
            return self._dialogue(number, rng)
        parts: list[tuple[np.ndarray, np.ndarray]] = []
        prompt = ANY_PROMPT
        if self.degraded is not None and rng.random() < self.recipe.degraded_prompts:
            parts.append(self._degraded_prompt(number, rng))
            prompt = np.array([len(parts[0][0])])
        missing = self.recipe.frames - sum(len(codes) for codes, _ in parts)
        others = self.of_speaker[self.speaker[number]]
        while missing > 0:
            codes, tokens = self._pair(int(self.numbers[rng.choice(others) if parts else number]), rng)
            start = 0 if parts else int(rng.integers(len(codes)))
            parts.append((codes[start : start + missing], tokens[start : start + missing]))
            missing -= len(parts[-1][0])
        codes, tokens = (np.concatenate(column) for column in zip(*parts, strict=True))
        return codes, tokens, prompt, np.zeros(len(codes), bool)

    def _dialogue(self, number: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Return a sample in which several speakers, that of an utterance first, take turns."""
        frames, own = self.recipe.frames, int(self.speaker[number])
        others = [s for s, found in enumerate(self.of_speaker) if len(found) and s != own]
        count = min(int(rng.integers(1, MOST_SPEAKERS)), len(others))
        speakers = [own, *rng.choice(others, count, replace=False).tolist()]
        parts: list[tuple[np.ndarray, np.ndarray]] = []
        given: list[np.ndarray] = []
        missing, speaker = frames, own
        while missing > 0:
            for is_given, least in ((True, frames // 16), (False, frames // 8)):
                utterance = number if not parts else rng.choice(self.of_speaker[speaker])
                codes, tokens = self._pair(int(self.numbers[utterance]), rng)
                length = min(missing, int(rng.integers(max(1, least), max(1, 4 * least) + 1)), len(codes))
                start = int(rng.integers(len(codes) - length + 1)) if is_given else 0
                parts.append((codes[start : start + length], tokens[start : start + length]))
                given.append(np.full(length, is_given))
                missing -= length
            speaker = int(rng.choice([s for s in speakers if s != speaker]))
        codes, tokens = (np.concatenate(column) for column in zip(*parts, strict=True))
        return codes, tokens, np.array([len(parts[0][0])]), np.concatenate(given)

    def _degraded_prompt(self, number: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return codes and tokens of up to half a sample of an utterance's degraded audio."""
        if self.degraded is None:
            raise ConfigError("degraded_prompts is set and the codes of degraded audio were not given")
        codes, tokens = (column[int(self.numbers[number])] for column in self.degraded)
        codes, tokens = align(codes, tokens, self.frames_per_token)
        start = int(rng.integers(max(1, len(codes) - self.recipe.frames // 8)))
        end = start + int(rng.integers(self.recipe.frames // 8, self.recipe.frames // 2 + 1))
        return codes[start:end], tokens[start:end]

    def collate(self, samples: Sequence[tuple[np.ndarray, ...]]) -> tuple[Tensor, ...]:
        """Stack codes `[batch, frames, levels]`, tokens `[batch, frames]`, lengths and prompts `[batch]`, and
        which frames are given, bool `[batch, frames]`.
        """
        codes, lengths = pad([sample[0] for sample in samples])
        tokens, _ = pad([sample[1] for sample in samples])
        prompts = torch.from_numpy(np.concatenate([sample[2] for sample in samples]))
        given, _ = pad([sample[3].astype(np.int64) for sample in samples])
        return codes, tokens, lengths, prompts, given.bool()

    def _pair(self, number: int, rng: np.random.Generator | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return codes and tokens of an utterance; without `rng`, the tokens of its audio."""
        tokens = self.tokens
        if self.predicted is not None and rng is not None and rng.random() < self.recipe.predicted_tokens:
            tokens = self.predicted
        return align(self.codes[number], tokens[number], self.frames_per_token)

    def loss(self, model: nn.Module, batch: tuple[Tensor, ...]) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss of `SoundStorm.forward`."""
        return self._loss(model, batch, self.recipe.masking), {}

    def evaluate(self, device: torch.device) -> dict[str, float]:
        """Return the loss of held-out utterances at every level, fully masked after the prompt.

        A few minutes of speech may have no held-out utterance, and then no score.
        """
        if not self.held_out:
            return {}
        batch = tuple(tensor.to(device) for tensor in self.collate(self.held_out))
        scores = {}
        for level in range(self.config.levels):
            weights = tuple(float(q == level) for q in range(self.config.levels))
            masking = replace(self.recipe.masking, level_weights=weights, fully_masked=1.0)
            scores[f"level {level}"] = self._loss(self.model, batch, masking).item()
        return scores

    def _loss(self, model: nn.Module, batch: tuple[Tensor, ...], masking: Masking) -> Tensor:
        codes, tokens, lengths, prompt, given = batch
        inputs = {"mask": frame_mask(lengths, codes.shape[1]), "cond_semantic_token_ids": tokens}
        return model(codes, masking=masking, prompt_frames=prompt, given_frames=given, **inputs)[0]


def align(codes: np.ndarray, tokens: np.ndarray, frames_per_token: int) -> tuple[np.ndarray, np.ndarray]:
    """Repeat tokens `[tokens]` to the rate of codes `[frames, levels]`; both are cut to the shorter."""
    repeated = np.repeat(tokens, frames_per_token)
    frames = min(len(codes), len(repeated))
    return codes[:frames], repeated[:frames]
