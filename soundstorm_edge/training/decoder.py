"""Stage `decoder`: teach the codec's decoder to make speech of what SoundStorm makes.

The decoder has learned from codes of real speech; those that SoundStorm makes miss by some, the fine levels
by much. Here it learns from codes that SoundStorm made of the semantic tokens of real speech, frame by frame
beside that speech, as vocoders learn from spectra that were predicted (Tacotron 2, arXiv 1712.05884, section
3.1). The codes themselves stay what they are, so that SoundStorm need not learn anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy, deepcopy
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from soundstorm_runtime.decode import DecodeOptions

from ..codec import Codec
from ..corpus import Corpus
from ..errors import CorpusError
from ..soundstorm import SoundStorm
from ..spectral_loss import SpectralLoss
from .batches import spread_evenly
from .optimization import Optimization
from .stage import Stage
from .tokens import tokens_of_utterances

PROMPT_SECONDS = 3.0
EDGE = 3  # frames at both ends of a crop that are not judged: what lies beyond them is missing


@dataclass(frozen=True)
class DecoderRecipe:
    """How much of the speech SoundStorm makes again, and how the decoder learns from it.

    utterances: so many of the corpus are made again; made: share of the crops that are taken from these, the
    others being codes of real speech; frames: length of a crop.
    """

    utterances: int = 1000
    made: float = 0.5
    frames: int = 128
    optimization: Optimization = field(default_factory=lambda: Optimization(steps=3000, batch=12, ema=0.998))

    def __post_init__(self) -> None:
        if not 0 <= self.made <= 1:
            raise ValueError(f"made is {self.made}, expected a share from 0 to 1")
        if self.utterances < 1 or self.frames <= 2 * EDGE:
            raise ValueError(
                f"utterances is {self.utterances} and frames {self.frames}, expected 1 or more and more than "
                f"{2 * EDGE}"
            )


class DecoderStage(Stage):
    """Crops of codes, of real speech or made by SoundStorm, beside the speech.

    codes: those of the whole corpus, `[frames, levels]` each; made: those that SoundStorm made, by the number
    of the utterance.
    """

    name = "decoder"

    def __init__(
        self,
        recipe: DecoderRecipe,
        config: object,
        codec: Codec,
        corpus: Corpus,
        codes: Sequence[np.ndarray],
        made: Mapping[int, np.ndarray],
    ) -> None:
        self.config, self.recipe, self.corpus, self.codes, self.made = config, recipe, corpus, codes, made
        torch.manual_seed(recipe.optimization.seed)
        self.codec = deepcopy(codec)
        self.model = _Decoding(self.codec)
        self.judge = SpectralLoss(codec.sample_rate)
        held_out = corpus.utterances.held_out
        self.numbers, self.held_out = (
            [n for n in np.flatnonzero(part).tolist() if self._frames(n, codes[n]) >= recipe.frames]
            for part in (~held_out, held_out)
        )
        self.again = [n for n in made if self._frames(n, made[n]) >= recipe.frames]
        if not self.numbers or not self.held_out or (recipe.made and not self.again):
            raise CorpusError(
                f"no utterance, held out or not, or none that was made again lasts {recipe.frames} frames; "
                "shorten the crops or add speech"
            )
        self.held_out = spread_evenly(self.held_out, 32)
        self.lengths = np.ones(len(self.numbers))  # all crops are alike

    def _frames(self, number: int, codes: np.ndarray) -> int:
        spoken = int(self.corpus.utterances[number].seconds * self.codec.sample_rate)
        return min(len(codes), spoken // self.codec.hop)

    def parameter_groups(self) -> Iterator[nn.Parameter]:
        """Give what turns quantized latents into sound, without the codebooks."""
        return (p for part in self.codec.decoding_parts() for p in part.parameters())

    def sample(self, number: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Read a crop: codes int64 `[frames, levels]`, audio float32 `[samples]`."""
        if rng.random() < self.recipe.made:
            number = self.again[int(rng.integers(len(self.again)))]
            return self._crop(number, self.made[number], rng)
        return self._crop(self.numbers[number], self.codes[self.numbers[number]], rng)

    def _crop(self, number: int, codes: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        frames, hop = self.recipe.frames, self.codec.hop
        start = int(rng.integers(self._frames(number, codes) - frames + 1))
        audio = self.corpus.audio(self.corpus.utterances[number], start * hop, frames * hop)
        crop = codes[start : start + frames].astype(np.int64)
        return np.where(crop == self.codec.codebook_size, -1, crop), audio

    def collate(self, samples: Sequence[tuple[np.ndarray, ...]]) -> tuple[Tensor, ...]:
        """Stack both."""
        return tuple(torch.from_numpy(np.stack(column)) for column in zip(*samples, strict=True))

    def loss(self, model: nn.Module, batch: tuple[Tensor, ...]) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the spectral loss of what is decoded, but for the edges of the crop."""
        codes, real = batch
        inner = slice(EDGE * self.codec.hop, -EDGE * self.codec.hop)
        loss = self.judge.to(real.device)(model(codes)[:, inner], real[:, inner])
        return loss, {}

    def evaluate(self, device: torch.device) -> dict[str, float]:
        """Give the spectral loss of codes of real speech that is held out."""
        rng = np.random.default_rng(0)
        batch = self.collate([self._crop(number, self.codes[number], rng) for number in self.held_out])
        loss, _ = self.loss(self.model, tuple(tensor.to(device) for tensor in batch))
        return {"spectral": loss.item()}


class _Decoding(nn.Module):
    """Decoding alone: one call for every process."""

    def __init__(self, codec: Codec) -> None:
        super().__init__()
        codec.requires_grad_(False)
        for part in codec.decoding_parts():
            part.requires_grad_(True)
        self.codec = codec

    def forward(self, codes: Tensor) -> Tensor:
        """Turn codes `[batch, frames, levels]` into audio `[batch, samples]`."""
        return self.codec.decode_from_codebook_indices(codes)


def make_again(
    folder: Path,
    speech: Corpus,
    codec: Codec,
    soundstorm: SoundStorm,
    codes: Sequence[np.ndarray],
    tokens: Sequence[Sequence[np.ndarray]],
    per_token: int,
    options: DecodeOptions,
    count: int,
) -> dict[int, np.ndarray]:
    """Let SoundStorm make codes of `count` training utterances, and keep them; gives them by number.

    Each follows the end of another utterance of its speaker, as a prompt. tokens: semantic tokens of the
    whole corpus, of one or several kinds, which are taken by turns; each lasts `per_token` frames. Levels
    that the options leave out have the codebook's size for a code.
    """
    utterances = speech.utterances
    chosen = spread_evenly(np.flatnonzero(~utterances.held_out).tolist(), count)
    part = copy(speech)
    part.utterances = utterances.where(np.array(chosen))
    most = int(PROMPT_SECONDS * codec.sample_rate / codec.hop)

    def make(places: Sequence[int], device: torch.device) -> list[Tensor]:
        (place,) = places
        number, kind = chosen[place], tokens[place % len(tokens)]
        speaker = utterances.speaker[number]
        others = [n for n in chosen if utterances.speaker[n] == speaker and n != number] or [number]
        before = others[place % len(others)]
        whole = min(len(codes[before]) // per_token, len(kind[before]))
        first = max(0, whole - most // per_token)
        prompt = codes[before][first * per_token : whole * per_token].astype(np.int64)
        given = np.concatenate((kind[before][first:whole], kind[number])).astype(np.int64)
        found = soundstorm.generate(
            cond_semantic_token_ids=torch.from_numpy(given)[None].to(device),
            prompt_acoustic_token_ids=torch.from_numpy(prompt)[None].to(device),
            options=options,
            seed=number,
        )
        own = found[0][len(prompt) :]
        return [own.masked_fill(own < 0, codec.codebook_size)]

    made = tokens_of_utterances(folder, part, soundstorm, make, batch=1)
    return {number: made[place] for place, number in enumerate(chosen)}
