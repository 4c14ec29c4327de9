"""A voice: text to audio, with the graphs of a bundle."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TypeVar

import numpy as np

from .acoustics import Acoustics
from .budget import Calibration, say_choice, timed
from .bundle import read_bundle
from .decode import DecodeOptions
from .duration import silences, stretch_for
from .engine import Engine
from .engines import PrecisionChoice, Provider, open_engines
from .errors import OptionError
from .lexicon import Lexicon
from .manifest import Manifest
from .prompts import Prompt
from .reading import Part, Reader
from .text import split_sentences

PAUSE_SECONDS = 0.15  # silence between two sentences, beside what each has at its ends

_READINGS = 6  # of a text of given length, until it fits

T = TypeVar("T")


@dataclass(frozen=True)
class _Manner:
    """How something is said: in whose voice, from which seed, and how its codes are decoded."""

    prompt: Prompt | None
    seed: int
    options: DecodeOptions


class Voice:
    """Speaks text. `Voice.load` makes one; the same text, options and seed give the same audio.

    `sample_rate` is in samples a second; `options` are the voice's own decode options; `voices` are the
    names it can speak as, and `speaker` the one it takes where none is asked for. Threads may share it.

    engines: one for each graph of the manifest, by name. lexicon: None without a text stage. prompts: the
    named voices. in_batches: whether a sample comes out of a batch as it does alone, so that `speak_many`
    may use some.
    """

    def __init__(
        self,
        manifest: Manifest,
        engines: Mapping[str, Engine],
        lexicon: Lexicon | None,
        prompts: Mapping[str, Prompt],
        in_batches: bool = True,
    ) -> None:
        self.sample_rate = manifest.audio.sample_rate
        self.options = manifest.decode
        self.voices = tuple(prompts)
        self.speaker = manifest.speaker
        self._manifest = manifest
        self._prompts = prompts
        self._text_reader: Reader | None = None
        if manifest.text is not None and lexicon is not None:
            self._text_reader = Reader(manifest, manifest.text, engines, lexicon)
        self._acoustics = Acoustics(manifest, engines, in_batches)
        self._gap = round(PAUSE_SECONDS * self.sample_rate)

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        threads: int | None = None,
        provider: Provider = "auto",
        precision: PrecisionChoice = "auto",
    ) -> Voice:
        """Load the bundle in the folder `path`.

        threads: threads within one operator; None takes the processors at hand, up to 8.
        provider: 'cpu', 'cuda', or 'auto' for the best that works.
        precision: 'fp32', 'fp16', 'int8', or 'auto' for the fastest there that the bundle has.

        What 'auto' took is said in the log. Raises `BundleError` for a bundle that fails a check,
        `EngineError` for an engine that is missing or cannot be used, `OptionError` for a precision
        that the bundle lacks.
        """
        bundle = read_bundle(path)
        engines = open_engines(bundle, provider=provider, precision=precision, threads=threads)
        lexicon = None if bundle.manifest.text is None else Lexicon.load(bundle.lexicon_file)
        return cls(bundle.manifest, engines.by_name, lexicon, bundle.prompts(), engines.in_batches)

    def speak(
        self,
        text: str,
        *,
        voice: str | None = None,
        seed: int = 0,
        steps: Sequence[int] | None = None,
        temperature: float | None = None,
        options: DecodeOptions | None = None,
        duration: float | None = None,
    ) -> np.ndarray:
        """Speak a text of any number of sentences; float32 [samples] in [-1, 1] at `sample_rate`.

        voice: one of `voices`; None takes `speaker`.
        options: how codes are decoded; None takes the voice's own. `steps` (one number per level)
        and `temperature` replace theirs.
        duration: seconds that all of it lasts; None lets the voice take its time.

        Raises `TextError` for a text that cannot be spoken, `OptionError` for an option out of range.
        """
        sentences = self.speak_sentences(
            text,
            voice=voice,
            seed=seed,
            steps=steps,
            temperature=temperature,
            options=options,
            duration=duration,
        )
        return np.concatenate(list(sentences))

    def speak_sentences(
        self,
        text: str,
        *,
        voice: str | None = None,
        seed: int = 0,
        steps: Sequence[int] | None = None,
        temperature: float | None = None,
        options: DecodeOptions | None = None,
        duration: float | None = None,
    ) -> Iterator[np.ndarray]:
        """Give what `speak` returns sentence by sentence, each but the first with a pause before it.

        Text and options are checked at the call, before the first sentence is asked for.
        """
        manner = self._manner(voice, seed, self._decode_options(steps, temperature, options))
        sentences = split_sentences(text)
        if duration is not None:
            return self._speak_within(duration, sentences, manner)
        return self._speak_each(self._read(sentences, manner), self._gaps(len(sentences)), manner)

    def speak_many(
        self,
        texts: Sequence[str],
        *,
        voice: str | Sequence[str | None] | None = None,
        seed: int | Sequence[int] = 0,
        steps: Sequence[int] | None = None,
        temperature: float | None = None,
        options: DecodeOptions | None = None,
    ) -> list[np.ndarray]:
        """Speak several texts together; each is what `speak` makes of it alone, up to rounding of sums.

        voice, seed: one for all texts, or a list with one for each. The others are those of `speak`.
        """
        names: list[str | None] = _one_each("voice", voice, len(texts))
        seeds: list[int] = _one_each("seed", seed, len(texts))
        chosen = self._decode_options(steps, temperature, options)
        manners = [self._manner(name, own, chosen) for name, own in zip(names, seeds, strict=True)]
        read = [list(self._read(split_sentences(t), own)) for t, own in zip(texts, manners, strict=True)]
        audio: dict[Part, np.ndarray] = {}
        for name in dict.fromkeys(names):  # prompts differ in length, and within a batch they must not
            of_name = (text for text, other in zip(read, names, strict=True) if other == name)
            parts = list(chain.from_iterable(chain.from_iterable(of_name)))
            audio |= self._sound(parts, self._manner(name, 0, chosen))
        return [np.concatenate(_joined(sentences, audio, self._gaps(len(sentences)))) for sentences in read]

    def speak_tokens(
        self,
        semantic_tokens: np.ndarray,
        *,
        voice: str | None = None,
        seed: int = 0,
        options: DecodeOptions | None = None,
    ) -> np.ndarray:
        """Speak semantic tokens, int64 [tokens], that come from elsewhere; float32 [samples].

        The others are as those of `speak`. Raises `OptionError` for tokens that this voice has not.
        """
        tokens, count = np.asarray(semantic_tokens), self._manifest.semantic.vocabulary
        if tokens.ndim != 1 or tokens.dtype.kind not in "iu" or not tokens.size:
            raise OptionError(
                f"semantic tokens are {tokens.dtype} {list(tokens.shape)}, expected integers [tokens]"
            )
        if tokens.min() < 0 or tokens.max() >= count:
            raise OptionError(
                f"semantic tokens go from {tokens.min()} to {tokens.max()}, expected 0 to {count - 1}; make "
                "them with the units that the voice was trained with"
            )
        manner = self._manner(voice, seed, self._decode_options(None, None, options))
        room = self._acoustics.room(manner.prompt)
        if len(tokens) > room:
            raise OptionError(f"there are {len(tokens)} semantic tokens, expected at most {room}; split them")
        part = Part(tokens.astype(np.int64), np.random.default_rng(np.random.SeedSequence(seed)))
        return self._sound([part], manner)[part]

    @property
    def _reader(self) -> Reader:
        if self._text_reader is None:
            raise OptionError(
                f"voice '{self._manifest.name}' has no text stage; give it semantic tokens: speak_tokens"
            )
        return self._text_reader

    def steps_within(self, milliseconds: float, text: str, *, voice: str | None = None) -> tuple[int, ...]:
        """Return as many of the voice's own steps as let a first sentence be ready in time here.

        The first sentence of `text` is read and decoded with one step a level, twice, to see how long
        that takes. What is picked is said in the log; a level keeps one step, even where that is late.
        """
        if not milliseconds > 0:
            raise OptionError(f"the budget is {milliseconds:g} ms, expected more than 0")
        options = replace(self.options, steps=(1,) * len(self.options.steps))
        manner = self._manner(voice, 0, options)
        first = split_sentences(text)[:1]
        (parts,), reading = timed(lambda: list(self._read(first, manner)))
        codes, stepping = timed(lambda: self._acoustics.codes(parts, options, manner.prompt))
        _, sounding = timed(lambda: [self._acoustics.audio(own, manner.prompt) for own in codes])
        calibration = Calibration(reading, stepping / len(options.steps), sounding)
        steps = calibration.steps_within(milliseconds / 1000, self.options.steps)
        say_choice(milliseconds, calibration, steps)
        return steps

    def _decode_options(
        self, steps: Sequence[int] | None, temperature: float | None, options: DecodeOptions | None
    ) -> DecodeOptions:
        options = options or self.options
        if steps is not None:
            options = replace(options, steps=tuple(steps))
        if temperature is not None:
            options = replace(options, temperature=temperature)
        options.check_levels(self._manifest.audio.levels)
        return options

    def _manner(self, voice: str | None, seed: int, options: DecodeOptions) -> _Manner:
        if not isinstance(seed, int | np.integer) or seed < 0:
            raise OptionError(f"seed is {seed!r}, expected a whole number of 0 or more")
        name = self.speaker if voice is None else voice
        if name is not None and name not in self._prompts:
            known = f"has the voices {', '.join(self.voices)}" if self.voices else "has no named voices"
            raise OptionError(f"voice {name!r} was asked for, but the bundle {known}; take what it has")
        return _Manner(None if name is None else self._prompts[name], int(seed), options)

    def _read(self, sentences: Iterable[str], manner: _Manner, stretch: float = 1.0) -> Iterator[list[Part]]:
        room = self._acoustics.room(manner.prompt)
        for place, sentence in enumerate(sentences):
            # A stream of its own for each sentence: what is said before does not change it.
            seed = np.random.SeedSequence(manner.seed, spawn_key=(place,))
            yield self._reader.read(sentence, seed, stretch=stretch, room=room)

    def _gaps(self, sentences: int) -> list[tuple[int, int]]:
        """Give the samples of silence before and after each sentence of a text."""
        return [(self._gap if place else 0, 0) for place in range(sentences)]

    def _speak_each(
        self, read: Iterable[list[Part]], gaps: Sequence[tuple[int, int]], manner: _Manner
    ) -> Iterator[np.ndarray]:
        """Speak sentences that were read, with so many samples of silence before and after each."""
        for parts, gap in zip(read, gaps, strict=True):
            yield from _joined([parts], self._sound(parts, manner), [gap])

    def _speak_within(self, duration: float, sentences: list[str], manner: _Manner) -> Iterator[np.ndarray]:
        if not self._reader.can_stretch:
            raise OptionError(
                f"duration is {duration:g} s, but the autoregressive text stage of this voice sets its own "
                "pace; leave the duration out, or take a voice with a parallel text stage"
            )
        rate, token, silence = self.sample_rate, self._acoustics.samples(1), self._gap * (len(sentences) - 1)
        natural = token * _tokens(self._read(sentences, manner))
        stretch = stretch_for(duration, natural / rate, silence / rate)
        samples = round(duration * rate)
        wanted = (samples - silence) // token
        for _ in range(_READINGS):  # whole tokens, and at least one a phone, do not stretch evenly
            read = list(self._read(sentences, manner, stretch))
            found = _tokens(read)
            if wanted - len(sentences) <= found <= wanted:
                break
            stretch *= wanted / found
        return self._speak_each(read, silences(samples - token * found, len(sentences)), manner)

    def _sound(self, parts: Sequence[Part], manner: _Manner) -> dict[Part, np.ndarray]:
        codes = self._acoustics.codes(parts, manner.options, manner.prompt)
        return {
            part: self._acoustics.audio(own, manner.prompt) for part, own in zip(parts, codes, strict=True)
        }


def _tokens(read: Iterable[list[Part]]) -> int:
    return sum(len(part.tokens) for parts in read for part in parts)


def _joined(
    read: Sequence[list[Part]], audio: Mapping[Part, np.ndarray], gaps: Sequence[tuple[int, int]]
) -> list[np.ndarray]:
    """Join the parts of each sentence, with so many samples of silence before and after them."""
    sentences = (np.concatenate([audio[part] for part in parts]) for parts in read)
    return [np.pad(sentence, gap) for sentence, gap in zip(sentences, gaps, strict=True)]


def _one_each(name: str, value: T | Sequence[T], count: int) -> list[T]:
    """Give a list with a value for each of `count` texts, from such a list or from one value for all."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        return [value] * count
    if len(value) != count:
        raise OptionError(f"{name} has {len(value)} values for {count} texts; give one, or one for each")
    return list(value)
