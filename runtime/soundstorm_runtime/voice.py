"""A voice: text to audio, with the graphs of a bundle."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from .audio.recording import read_recording, recording_of
from .bundle.open_engines import PrecisionChoice, Provider, open_engines
from .bundle.prompts import Prompt
from .bundle.reader import Bundle, read_bundle
from .decoding.maskgit import DecodeOptions
from .engines.base import Engine
from .errors import OptionError
from .synthesis.acoustic_stage import AcousticStage
from .synthesis.block_scheduler import Costs
from .synthesis.calibration import calibrate, fewest_steps, say_choice
from .synthesis.options import PAUSE_SECONDS, Manners, one_each
from .synthesis.prompt_encoder import PromptEncoder
from .synthesis.sentence_reader import Part, SentenceReader
from .synthesis.stream import Streams, chunks, chunks_in_thread
from .synthesis.whole_sentences import WholeSentences, checked_tokens, sound
from .text.incremental import sentences_of, sentences_to_come
from .text.user_lexicon import Pronunciations


class Voice:
    """Speaks text. `Voice.load` makes one; the same text, options and seed give the same audio.

    `sample_rate` is in samples a second; `options` are the voice's own decode options; `voices` are the
    names it can speak as, and `speaker` the one it takes where none is asked for. Threads may share it.

    bundle: what the voice was exported to. engines: one for each graph of its manifest, by name.
    in_batches: whether a sample comes out of a batch as it does alone, so that `speak_many` may use some.
    lexicon and threads: as those of `load`.
    """

    def __init__(
        self,
        bundle: Bundle,
        engines: Mapping[str, Engine],
        *,
        in_batches: bool = True,
        lexicon: Pronunciations | None = None,
        threads: int | None = None,
    ) -> None:
        manifest, prompts, spelling = bundle.manifest, bundle.prompts(), bundle.spelling(lexicon)
        self.sample_rate = manifest.audio.sample_rate
        self.options = manifest.decode
        self.voices = tuple(prompts)
        self.speaker = manifest.speaker
        self._manifest = manifest
        self._maker = PromptEncoder(bundle, threads)
        self._text_reader: SentenceReader | None = None
        if manifest.text is not None and spelling is not None:
            self._text_reader = SentenceReader(manifest, manifest.text, engines, spelling)
        self._acoustics = AcousticStage(manifest, engines, in_batches)
        self._manners = Manners(manifest, prompts)
        self._streams = Streams(self._acoustics, manifest.audio.levels)

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        threads: int | None = None,
        provider: Provider = "auto",
        precision: PrecisionChoice = "auto",
        lexicon: Pronunciations | None = None,
    ) -> Voice:
        """Load the bundle in the folder `path`.

        threads: threads within one operator; None takes the processors at hand, up to 8.
        provider: 'cpu', 'cuda', 'onnx-tensorrt', 'tensorrt', or 'auto' for the best that works.
        precision: one that the bundle has ('fp32', 'int8', 'fp16', 'bf16', 'int8-qdq', 'fp8-qdq'), or 'auto'
        for the fastest there of those that lose next to nothing.
        lexicon: a TOML file, or a mapping, of words to "/phones/" or to a respelling.

        What 'auto' took is said in the log. Raises `BundleError` for a bundle that fails a check,
        `EngineError` for an engine that is missing or cannot be used, `OptionError` for a precision
        that the bundle lacks, or a lexicon that the voice cannot speak.
        """
        bundle = read_bundle(path)
        engines = open_engines(bundle, provider=provider, precision=precision, threads=threads)
        return cls(bundle, engines.by_name, in_batches=engines.in_batches, lexicon=lexicon, threads=threads)

    def sentences(self, text: str) -> list[str]:
        """Split a text into what is spoken one after the other. Raises `TextError` if there is nothing."""
        return self._reader.sentences(text)

    def speak(
        self,
        text: str,
        *,
        voice: str | Prompt | None = None,
        seed: int = 0,
        speed: float = 1.0,
        steps: Sequence[int] | None = None,
        temperature: float | None = None,
        options: DecodeOptions | None = None,
        pause: float = PAUSE_SECONDS,
        duration: float | None = None,
    ) -> np.ndarray:
        """Speak a text of any number of sentences; float32 [samples] in [-1, 1] at `sample_rate`.

        voice: one of `voices`, a prompt (`prompt`) or the file of one (.npz); None takes `speaker`.
        speed: 0.5 to 2, times that of the voice; the pitch stays.
        options: how codes are decoded; None takes the voice's own. `steps` (one number per level)
        and `temperature` replace theirs.
        pause: seconds of silence between two sentences, beside what each has at its ends; `speed` counts.
        duration: seconds that all of it lasts; None lets the voice take its time.

        Raises `TextError` for a text that cannot be spoken, `OptionError` for an option out of range.
        """
        sentences = self.speak_sentences(
            text,
            voice=voice,
            seed=seed,
            speed=speed,
            steps=steps,
            temperature=temperature,
            options=options,
            pause=pause,
            duration=duration,
        )
        return np.concatenate(list(sentences))

    def speak_sentences(
        self,
        text: str,
        *,
        voice: str | Prompt | None = None,
        seed: int = 0,
        speed: float = 1.0,
        steps: Sequence[int] | None = None,
        temperature: float | None = None,
        options: DecodeOptions | None = None,
        pause: float = PAUSE_SECONDS,
        duration: float | None = None,
    ) -> Iterator[np.ndarray]:
        """Give what `speak` returns sentence by sentence, each but the first with a pause before it.

        Text and options are checked at the call, before the first sentence is asked for.
        """
        manner = self._manners.of(
            voice, seed, self._manners.options(steps, temperature, options), speed, pause
        )
        sentences = self.sentences(text)
        if duration is None:
            return self._speaking.each(sentences, manner)
        if speed != 1:
            raise OptionError("duration and speed were both given; give one of them")
        return self._speaking.within(duration, sentences, manner)

    def stream(
        self,
        text: str | Iterable[str],
        *,
        voice: str | Prompt | None = None,
        seed: int = 0,
        speed: float = 1.0,
        steps: Sequence[int] | None = None,
        temperature: float | None = None,
        options: DecodeOptions | None = None,
        pause: float = PAUSE_SECONDS,
        budget_ms: float | None = None,
    ) -> Iterator[np.ndarray]:
        """Speak a text as it is made: float32 [samples], the first as early as possible, then without gaps.

        text: may come in fragments, such as the tokens of a language model.
        budget_ms: milliseconds until the first audio; None takes as few as can be. A longer block is better.
        The others are those of `speak`.

        How long blocks are hangs on the speed of the machine, which the first stream of a voice measures
        (`warm_up` does so, too), and what is heard hangs on the blocks a little. Closing the iterator stops
        the work; nothing is done before the first chunk is asked for, but text and options are checked.
        """
        manner = self._manners.of(
            voice, seed, self._manners.options(steps, temperature, options), speed, pause
        )
        split, work = self.sentences, self._streams.begin(self._reader, manner, budget_ms)
        sentences = split(text) if isinstance(text, str) else sentences_of(text, split)
        return chunks(work.speak(sentences))

    async def astream(
        self,
        text: str | AsyncIterable[str] | Iterable[str],
        *,
        voice: str | Prompt | None = None,
        seed: int = 0,
        speed: float = 1.0,
        steps: Sequence[int] | None = None,
        temperature: float | None = None,
        options: DecodeOptions | None = None,
        pause: float = PAUSE_SECONDS,
        budget_ms: float | None = None,
    ) -> AsyncIterator[np.ndarray]:
        """Do the same in an event loop: the work runs in a thread, one step after the other.

        text: may come in fragments that are awaited. Cancelling stops the work within one step.
        """
        manner = self._manners.of(
            voice, seed, self._manners.options(steps, temperature, options), speed, pause
        )
        await asyncio.to_thread(self.warm_up)  # measures once, and may wait for another thread that does
        split, work = self.sentences, self._streams.begin(self._reader, manner, budget_ms)
        if not isinstance(text, AsyncIterable):
            sentences = split(text) if isinstance(text, str) else sentences_of(text, split)
            async for audio in chunks_in_thread(work.speak(sentences)):
                yield audio
            return
        async for sentence in sentences_to_come(text, split):
            async for audio in chunks_in_thread(work.sentence(sentence)):
                yield audio

    def warm_up(self, costs: Costs | None = None) -> Costs:
        """Measure how long the work on a stream takes here, so that the first stream need not; gives it.

        costs: what another run or machine gave, for the same blocks as there, and so for the same audio.
        """
        return self._streams.costs(self._reader, costs)

    def speak_many(
        self,
        texts: Sequence[str],
        *,
        voice: str | Prompt | Sequence[str | Prompt | None] | None = None,
        seed: int | Sequence[int] = 0,
        speed: float = 1.0,
        steps: Sequence[int] | None = None,
        temperature: float | None = None,
        options: DecodeOptions | None = None,
    ) -> list[np.ndarray]:
        """Speak several texts together; each is what `speak` makes of it alone, up to rounding of sums.

        voice, seed: one for all texts, or a list with one for each. The others are those of `speak`.
        """
        names: list[str | Prompt | None] = one_each("voice", voice, len(texts))
        seeds: list[int] = one_each("seed", seed, len(texts))
        chosen = self._manners.options(steps, temperature, options)
        manners = [self._manners.of(name, own, chosen, speed) for name, own in zip(names, seeds, strict=True)]
        return self._speaking.together([self.sentences(text) for text in texts], manners)

    def speak_tokens(
        self,
        semantic_tokens: np.ndarray,
        *,
        voice: str | Prompt | None = None,
        seed: int = 0,
        options: DecodeOptions | None = None,
    ) -> np.ndarray:
        """Speak semantic tokens, int64 [tokens], that come from elsewhere; float32 [samples].

        The others are as those of `speak`. Raises `OptionError` for tokens that this voice has not.
        """
        manner = self._manners.of(voice, seed, self._manners.options(None, None, options))
        count, room = self._manifest.semantic.vocabulary, self._acoustics.room(manner.prompt)
        tokens = checked_tokens(np.asarray(semantic_tokens), count, room)
        part = Part(tokens, np.random.default_rng(np.random.SeedSequence(seed)))
        return sound(self._acoustics, [part], manner)[part]

    def prompt(self, source: str | Path | np.ndarray, sample_rate: int | None = None) -> Prompt:
        """Make a prompt of a few seconds of somebody's speech, to speak in that voice.

        source: a sound file of any rate and number of channels, or float [samples] or [samples, channels] in
        -1 to 1 with its `sample_rate`.

        Silence at both ends is cut off, and the level is made that of the voice. Of a long recording five
        seconds are taken at most, from pause to pause, where most is spoken; the log says which.

        Raises `AudioError` for a recording that makes no prompt, `OptionError` for a voice that makes none.
        """
        if isinstance(source, np.ndarray):
            recording = recording_of(source, sample_rate)
        elif sample_rate is not None:
            raise OptionError(f"sample_rate is {sample_rate} for a file, which tells it itself; leave it out")
        else:
            recording = read_recording(Path(source))
        return self._maker.make(recording)

    @property
    def _reader(self) -> SentenceReader:
        if self._text_reader is None:
            raise OptionError(
                f"voice '{self._manifest.name}' has no text stage; give it semantic tokens: speak_tokens"
            )
        return self._text_reader

    @property
    def _speaking(self) -> WholeSentences:
        return WholeSentences(self._reader, self._acoustics)

    def steps_within(
        self, milliseconds: float, text: str, *, voice: str | Prompt | None = None, speed: float = 1.0
    ) -> tuple[int, ...]:
        """Return as many of the voice's own steps as let a first sentence be ready in time here.

        The first sentence of `text` is read and decoded with the fewest steps, twice, to see how long
        that takes. What is picked is said in the log; a level of the voice's own steps keeps one, even where
        that is late.
        """
        if not 0 < milliseconds < math.inf:
            raise OptionError(f"the budget is {milliseconds:g} ms, expected a number above 0")
        options = replace(self.options, steps=fewest_steps(self.options.steps))
        manner = self._manners.of(voice, 0, options, speed)
        calibration = calibrate(self._speaking, self._acoustics, self.sentences(text)[0], manner)
        steps = calibration.steps_within(milliseconds / 1000, self.options.steps)
        say_choice(milliseconds, calibration, steps)
        return steps
