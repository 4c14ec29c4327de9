"""Semantic tokens to audio: the decode loop around the step graph, then the codec's decoder."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ..bundle.manifest import Manifest
from ..bundle.prompts import MixedPrompt, Prompt, mixed_prompt
from ..decoding.length_batching import MOST_FRAMES, buckets
from ..decoding.maskgit import DecodeOptions, Ticks, decode_in_steps, finish
from ..engines.base import Engine
from ..errors import OptionError
from ..text.words import Sentence
from .codec_decoder import CodecDecoder, WholeDecoder, make_codec_decoder, streaming_latency
from .context import MOST_PROMPTS, Context, PrefixCaches, joined, last_tokens
from .sentence_reader import Part, PartInProgress
from .word_times import WordTime, word_times

BEFORE_SECONDS = 1.0  # of the speech before it that a block of a stream continues
MOST_SPOKEN_SECONDS = 4.0  # of that speech where it is cached; when there is more, the last `BEFORE_SECONDS`
CONTEXT_SECONDS = 0.5  # of the prompt that the codec decodes before the speech; longer than its memory


class AcousticStage:
    """Turns semantic tokens into audio, in the voice of a prompt where there is one.

    Args:
        manifest: Manifest of the voice.
        engines: The engine of each graph.
        in_batches: Whether several parts may go through the network together.

    Attributes:
        per_token: Frames of one semantic token.
        latency: Frames by which audio decoded in pieces lags behind the codes; None where the codec can only
            decode whole utterances.
        sample_rate: Samples a second.
        has_cache: Whether the frames before a block are computed once, and not in every step.
    """

    def __init__(self, manifest: Manifest, engines: Mapping[str, Engine], in_batches: bool = True) -> None:
        self._codec = manifest.audio
        self._decode_options = manifest.decode
        self._said: dict[tuple[Prompt, Prompt], Prompt] = {}  # what a prompt says in the voice of another
        self.per_token = manifest.frames_per_token
        self.sample_rate = manifest.audio.sample_rate
        self._step, self._quantizer = engines["step"], engines.get("quantizer")
        self._axes = self._step.axes  # an engine may take less than the voice could
        self._most_batch = self._axes["batch"].max if in_batches else 1
        self._decoder = engines["decoder"]
        self._decoder_stream = engines.get("decoder_stream")
        self.latency = streaming_latency(self._codec, self._decoder_stream)
        self._caches: PrefixCaches | None = None
        if "prefix" in engines:
            self._caches = PrefixCaches(engines["prefix"], self.per_token, self._codec.codebook_size)
        self.has_cache = self._caches is not None

    def room(self, prompt: Prompt | None) -> int:
        """Return how many tokens can be spoken at once after a prompt."""
        return (self._axes["frames"].max - (len(prompt.codes) if prompt else 0)) // self.per_token

    def samples(self, tokens: int) -> int:
        """Return how many samples of audio so many tokens last."""
        return tokens * self.per_token * self._codec.hop

    def tokens(self, seconds: float) -> int:
        """Return how many tokens last so many seconds, rounded up."""
        return math.ceil(seconds * self._codec.sample_rate / self.samples(1))

    def silence(self, sentence: Sentence) -> int:
        """Return the samples of silence that a text asks for after a sentence, 0 for the usual pause."""
        return round((sentence.silence or 0.0) * self.sample_rate)

    def word_times(self, sentence: Sentence, part: Part | PartInProgress, samples: int) -> Iterator[WordTime]:
        """Yield the times of the words in a part of a sentence that starts after so many samples."""
        if part.counts is not None:
            start, token = samples / self.sample_rate, self.samples(1) / self.sample_rate
            yield from word_times(sentence.words, part.units, part.counts, start, token)

    def no_codes(self) -> np.ndarray:
        """Return codes of zero frames, int64 [0, levels]."""
        return np.zeros((0, self._codec.levels), np.int64)

    def codes(
        self,
        parts: Sequence[Part],
        options: DecodeOptions,
        prompt: Prompt | None = None,
    ) -> list[np.ndarray]:
        """Decode the codes of each part, int64 [frames, levels], without those of the prompt.

        Parts of similar length share a batch. Each draws from its own random stream, so that its codes are
        those that it would have alone, up to the rounding of sums.

        Args:
            parts: The parts.
            options: How they are decoded.
            prompt: What they continue.
        """
        context = self.context(prompt, options)
        lengths = [context.frames + len(part.tokens) * self.per_token for part in parts]
        codes: list[np.ndarray] = [np.empty(0)] * len(parts)
        for batch in buckets(lengths, self._most_batch, MOST_FRAMES):
            decoded = finish(self._decode([parts[place] for place in batch], options, context))
            for row, place in enumerate(batch):
                codes[place] = decoded[row, context.frames : lengths[place]]
        return codes

    def codes_in_steps(
        self,
        part: Part,
        options: DecodeOptions,
        context: Context,
        given: np.ndarray | None = None,
    ) -> Ticks[np.ndarray]:
        """Decode codes, int64 [frames, levels], that continue a context; yield after each step.

        Args:
            part: What is decoded.
            options: How.
            context: What it continues.
            given: Codes of the part that are known, int64 [frames, levels], and masked codes elsewhere.
        """
        codes = yield from self._decode([part], options, context, given)
        return codes[0, context.frames :]

    def aligned(self, mixed: MixedPrompt) -> Prompt:
        """Return a mixture in which all voices say what the first prompt says, frame by frame.

        Only so do frames of their caches correspond, and can be averaged. What a prompt says in another
        voice is decoded once.

        Raises:
            OptionError: The network has no cache.
        """
        if not self.has_cache:
            raise OptionError(
                "this voice cannot be mixed, since its network has no cache of prompts; name one voice, or "
                "train with acoustic.conformer.block_causal = true"
            )
        (_, first), *others = mixed.parts
        parts = [mixed.parts[0]]
        for weight, other in others:
            said = self._said.get((first, other))
            if said is None:
                part = Part(first.semantic_tokens, np.random.default_rng(0))
                (codes,) = self.codes([part], self._decode_options, other)
                said = Prompt(codes, first.semantic_tokens, first.fingerprint)
                for oldest in list(self._said)[: 1 - MOST_PROMPTS]:
                    self._said.pop(oldest, None)
                self._said[first, other] = said
            parts.append((weight, said))
        return mixed_prompt(parts)

    def codes_between(
        self,
        pieces: Sequence[Part | Prompt],
        options: DecodeOptions,
        context: Context,
    ) -> list[np.ndarray]:
        """Decode a sequence in which some codes are known, in one pass.

        Args:
            pieces: What follows the context, in order: parts are decoded, prompts are known. The random
                stream is that of the first part.
            options: How the parts are decoded.
            context: What the sequence continues.

        Returns:
            Codes of each part, int64 [frames, levels].

        Raises:
            OptionError: The sequence is longer than the voice takes at once.
        """
        codec, per_token = self._codec, self.per_token
        parts = [piece for piece in pieces if isinstance(piece, Part)]
        tokens = [piece.tokens if isinstance(piece, Part) else piece.semantic_tokens for piece in pieces]
        ends = np.cumsum([len(own) for own in tokens]) * per_token
        if context.frames + ends[-1] > (most := self._axes["frames"].max):
            raise OptionError(
                f"{context.frames + ends[-1]} frames would be decoded at once, expected at most {most}; give "
                "shorter pieces"
            )
        given = np.full((ends[-1], codec.levels), codec.codebook_size, np.int64)
        places = []
        for piece, own, end in zip(pieces, tokens, ends, strict=True):
            place = slice(end - len(own) * per_token, end)
            if isinstance(piece, Part):
                places.append(place)
            else:
                given[place] = piece.codes
        whole = Part(np.concatenate(tokens), parts[0].rng)
        codes = finish(self.codes_in_steps(whole, options, context, given))
        return [codes[place] for place in places]

    def context(self, prompt: Prompt | None, options: DecodeOptions) -> Context:
        """Return what the first block after a prompt continues."""
        nothing = Prompt(self.no_codes(), np.zeros(0, np.int64))
        cache = None
        if self._caches is not None:
            cache = self._caches.of(prompt, options.left_out(self._codec.groups))
        return Context(prompt, nothing, cache)

    def continued(self, context: Context, block: Prompt, options: DecodeOptions) -> Context:
        """Return what the block after a block continues.

        It is bounded, so that a block costs the same however long the text is.
        """
        spoken = joined(context.spoken, block)
        most = MOST_SPOKEN_SECONDS if self._caches else BEFORE_SECONDS
        if len(spoken.codes) > self.tokens(most) * self.per_token:
            spoken = block = last_tokens(spoken, self.tokens(BEFORE_SECONDS))
            context = self.context(context.prompt, options)
        cache = context.cache
        if self._caches is not None and cache is not None:
            cache = self._caches.extended(cache, block, options.left_out(self._codec.groups))
        return Context(context.prompt, spoken, cache)

    def audio(self, codes: np.ndarray, prompt: Prompt | None = None) -> np.ndarray:
        """Decode codes, int64 [frames, levels], to audio, float32 [frames * hop] in [-1, 1].

        One sample at a time: the codec takes no lengths, so that padding would be audible at the end. The end
        of the prompt is decoded before the codes and cut off, so that the audio continues it.
        """
        return WholeDecoder(self._codec, self._context(prompt), self._decoder).push(codes, last=True)

    def codec_decoder(self, prompt: Prompt | None = None) -> CodecDecoder:
        """Return a decoder that does the same for codes that come in pieces."""
        return make_codec_decoder(self._codec, self._context(prompt), self._decoder, self._decoder_stream)

    def _context(self, prompt: Prompt | None) -> np.ndarray:
        if prompt is None:
            return self.no_codes()
        return prompt.codes[-self.tokens(CONTEXT_SECONDS) * self.per_token :]

    def _decode(
        self,
        parts: Sequence[Part],
        options: DecodeOptions,
        context: Context,
        given: np.ndarray | None = None,
    ) -> Ticks[np.ndarray]:
        """Decode one batch, the frames of the context first."""
        prompt = context.before
        spoken = [part.tokens for part in parts]
        if prompt:
            spoken = [np.concatenate([prompt.semantic_tokens, tokens]) for tokens in spoken]
        lengths = np.array([len(tokens) * self.per_token for tokens in spoken])
        aligned = np.zeros((len(parts), lengths.max()), np.int64)
        for row, tokens in zip(aligned, spoken, strict=True):
            row[: len(tokens) * self.per_token] = np.repeat(tokens, self.per_token)
        codec = self._codec
        rng = [part.rng for part in parts]
        start = prompt.codes[None].repeat(len(parts), axis=0) if prompt else None
        size, groups = codec.codebook_size, codec.groups
        if given is not None:
            before = np.full((context.frames, codec.levels), size, np.int64)
            given = np.concatenate([before, given])[None].repeat(len(parts), axis=0)
        return decode_in_steps(
            self._step,
            aligned,
            lengths,
            codec.levels,
            size,
            options,
            rng,
            start,
            groups,
            context.cache,
            given,
            self._quantizer,
        )
