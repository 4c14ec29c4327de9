"""Semantic tokens to audio: the decode loop around the step graph, then the codec's decoder."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from ..bundle.manifest import Manifest
from ..bundle.prompts import Prompt
from ..decoding.length_batching import MOST_FRAMES, buckets
from ..decoding.maskgit import DecodeOptions, Ticks, decode_in_steps, finish
from ..engines.base import Engine
from .codec_decoder import CodecDecoder, WholeDecoder, begin_sound, delay
from .sentence_reader import Part

CONTEXT_SECONDS = 0.5  # of the prompt that the codec hears before the speech; what it remembers is shorter


class AcousticStage:
    """Makes audio of semantic tokens, in the voice of a prompt where there is one.

    in_batches: whether several parts may go through the network together.

    per_token: frames that one semantic token lasts. late: frames that sound made in pieces is behind the
    codes, None where there is none before the last of them.
    """

    def __init__(self, manifest: Manifest, engines: Mapping[str, Engine], in_batches: bool = True) -> None:
        self._facts = manifest.audio
        self.per_token = manifest.frames_per_token
        self.sample_rate = manifest.audio.sample_rate
        self._step = engines["step"]
        self._axes = self._step.axes  # an engine may take less than the voice could
        self._most_batch = self._axes["batch"].max if in_batches else 1
        self._decoder = engines["decoder"]
        self._decoder_stream = engines.get("decoder_stream")
        self.late = delay(self._facts, self._decoder_stream)

    def room(self, prompt: Prompt | None) -> int:
        """Return how many tokens can be spoken at once after a prompt."""
        return (self._axes["frames"].max - (len(prompt.codes) if prompt else 0)) // self.per_token

    def samples(self, tokens: int) -> int:
        """Return how many samples of audio so many tokens last."""
        return tokens * self.per_token * self._facts.hop

    def tokens(self, seconds: float) -> int:
        """Return how many tokens last so long, rounded up."""
        return math.ceil(seconds * self._facts.sample_rate / self.samples(1))

    def no_codes(self) -> np.ndarray:
        """Return codes of no frame, int64 [0, levels]."""
        return np.zeros((0, self._facts.levels), np.int64)

    def codes(
        self, parts: Sequence[Part], options: DecodeOptions, prompt: Prompt | None = None
    ) -> list[np.ndarray]:
        """Decode the codes of each part, int64 [frames, levels], without those of the prompt.

        Parts of like length go through the network together. Each draws from its own random stream, so
        that it gets the codes that it would get alone, up to the rounding of sums.
        """
        before = len(prompt.codes) if prompt else 0
        lengths = [before + len(part.tokens) * self.per_token for part in parts]
        codes: list[np.ndarray] = [np.empty(0)] * len(parts)
        for batch in buckets(lengths, self._most_batch, MOST_FRAMES):
            decoded = finish(self._decode([parts[place] for place in batch], options, prompt))
            for place, of_sample in zip(batch, decoded, strict=True):
                codes[place] = of_sample[before : lengths[place]]
        return codes

    def codes_in_steps(
        self, part: Part, options: DecodeOptions, before: Prompt | None = None
    ) -> Ticks[np.ndarray]:
        """Decode codes int64 [frames, levels] of one part after those `before`, and pause after each step."""
        decoded = yield from self._decode([part], options, before)
        return decoded[0, len(before.codes) if before else 0 :]

    def audio(self, codes: np.ndarray, prompt: Prompt | None = None) -> np.ndarray:
        """Turn codes, int64 [frames, levels], into float32 [frames * hop] in [-1, 1].

        One sample at a time: the codec takes no lengths, so that padding would be heard at the end. The
        end of the prompt goes before the codes and is cut off again: they continue its sound.
        """
        return WholeDecoder(self._facts, self._context(prompt), self._decoder).push(codes, last=True)

    def sound(self, prompt: Prompt | None = None) -> CodecDecoder:
        """Make what does the same with codes that come in pieces."""
        return begin_sound(self._facts, self._context(prompt), self._decoder, self._decoder_stream)

    def _context(self, prompt: Prompt | None) -> np.ndarray:
        if prompt is None:
            return self.no_codes()
        return prompt.codes[-self.tokens(CONTEXT_SECONDS) * self.per_token :]

    def _decode(
        self, parts: Sequence[Part], options: DecodeOptions, prompt: Prompt | None
    ) -> Ticks[np.ndarray]:
        """Decode one batch, int64 [batch, frames, levels], the prompt's frames first."""
        spoken = [part.tokens for part in parts]
        if prompt:
            spoken = [np.concatenate([prompt.semantic_tokens, tokens]) for tokens in spoken]
        lengths = np.array([len(tokens) * self.per_token for tokens in spoken])
        aligned = np.zeros((len(parts), lengths.max()), np.int64)
        for row, tokens in zip(aligned, spoken, strict=True):
            row[: len(tokens) * self.per_token] = np.repeat(tokens, self.per_token)
        facts = self._facts
        rng = [part.rng for part in parts]
        start = prompt.codes[None].repeat(len(parts), axis=0) if prompt else None
        size, groups = facts.codebook_size, facts.groups
        return decode_in_steps(self._step, aligned, lengths, facts.levels, size, options, rng, start, groups)
