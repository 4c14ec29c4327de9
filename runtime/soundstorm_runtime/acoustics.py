"""Semantic tokens to audio: the decode loop around the step graph, then the codec's decoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .buckets import buckets
from .decode import DecodeOptions, decode
from .engine import Engine
from .errors import EngineError
from .istft import inverse_stft
from .manifest import Manifest
from .prompts import Prompt
from .reading import Part

CONTEXT_SECONDS = 0.5  # of the prompt that the codec hears before the speech; what it remembers is shorter

_MOST_FRAMES = 4096  # of one step, padded: attention's memory grows with them


class Acoustics:
    """Makes audio of semantic tokens, in the voice of a prompt where there is one.

    in_batches: whether several parts may go through the network together.
    """

    def __init__(self, manifest: Manifest, engines: Mapping[str, Engine], in_batches: bool = True) -> None:
        self._facts = manifest.audio
        self._per_token = manifest.frames_per_token
        self._axes = manifest.axes
        self._most_batch = manifest.axes["batch"].max if in_batches else 1
        self._step = engines["step"]
        self._decoder = engines["decoder"]

    def room(self, prompt: Prompt | None) -> int:
        """Return how many tokens can be spoken at once after a prompt."""
        return (self._axes["frames"].max - (len(prompt.codes) if prompt else 0)) // self._per_token

    def samples(self, tokens: int) -> int:
        """Return how many samples of audio so many tokens last."""
        return tokens * self._per_token * self._facts.hop

    def codes(
        self, parts: Sequence[Part], options: DecodeOptions, prompt: Prompt | None = None
    ) -> list[np.ndarray]:
        """Decode the codes of each part, int64 [frames, levels], without those of the prompt.

        Parts of like length go through the network together. Each draws from its own random stream, so
        that it gets the codes that it would get alone, up to the rounding of sums.
        """
        before = len(prompt.codes) if prompt else 0
        lengths = [before + len(part.tokens) * self._per_token for part in parts]
        codes: list[np.ndarray] = [np.empty(0)] * len(parts)
        for batch in buckets(lengths, self._most_batch, _MOST_FRAMES):
            decoded = self._decode([parts[place] for place in batch], options, prompt)
            for place, of_sample in zip(batch, decoded, strict=True):
                codes[place] = of_sample[before : lengths[place]]
        return codes

    def audio(self, codes: np.ndarray, prompt: Prompt | None = None) -> np.ndarray:
        """Turn codes, int64 [frames, levels], into float32 [frames * hop] in [-1, 1].

        One sample at a time: the codec takes no lengths, so that padding would be heard at the end. The
        end of the prompt goes before the codes and is cut off again: they continue its sound.
        """
        facts = self._facts
        context = np.empty((0, facts.levels), np.int64)
        if prompt:
            context = prompt.codes[-round(CONTEXT_SECONDS * facts.sample_rate / facts.hop) :]
        decoded = self._decoder.run({"codes": np.concatenate([context, codes])[None]})
        if facts.codec == "spectral":
            audio = inverse_stft(decoded["spectrum"], facts.window, facts.hop)[0]
        else:
            audio = decoded["audio"][0]
        if not np.isfinite(audio).all():
            raise EngineError(
                "the codec's decoder gave samples that are not finite numbers; "
                "try another provider or precision, or export the voice again with soundstorm-export"
            )
        return np.clip(audio[len(context) * facts.hop :], -1, 1)

    def _decode(self, parts: Sequence[Part], options: DecodeOptions, prompt: Prompt | None) -> np.ndarray:
        """Decode one batch, int64 [batch, frames, levels], the prompt's frames first."""
        spoken = [part.tokens for part in parts]
        if prompt:
            spoken = [np.concatenate([prompt.semantic_tokens, tokens]) for tokens in spoken]
        lengths = np.array([len(tokens) * self._per_token for tokens in spoken])
        aligned = np.zeros((len(parts), lengths.max()), np.int64)
        for row, tokens in zip(aligned, spoken, strict=True):
            row[: len(tokens) * self._per_token] = np.repeat(tokens, self._per_token)
        facts = self._facts
        rng = [part.rng for part in parts]
        start = prompt.codes[None].repeat(len(parts), axis=0) if prompt else None
        return decode(
            self._step, aligned, lengths, facts.levels, facts.codebook_size, options, rng, start, facts.groups
        )
