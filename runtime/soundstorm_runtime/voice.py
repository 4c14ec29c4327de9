"""A voice: text to audio, with the graphs of a bundle."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .audio.recording import read_recording, recording_of
from .bundle.open_engines import PrecisionChoice, Provider, open_engines
from .bundle.prompts import MixedPrompt, Prompt
from .bundle.reader import Bundle, read_bundle
from .bundle.voice_packages import find_voice_package
from .decoding.maskgit import DecodeOptions
from .engines.base import Engine
from .errors import OptionError, TextError
from .synthesis.acoustic_stage import AcousticStage
from .synthesis.calibration import Calibration, Costs, steps_within
from .synthesis.dialogue.speakers import Dialogue, SpokenTurn
from .synthesis.dialogue.timeline import DialogueAudio
from .synthesis.dialogue.turns import Turn, check_turns, take_gaps
from .synthesis.editing.repair import Repair, Replacement, as_spoken, combined, span_of_gap, span_of_words
from .synthesis.incremental_speech import IncrementalSpeech
from .synthesis.options import (
    BatchKeywords,
    Keywords,
    ResolvedOptions,
    SynthesisOptions,
    merge,
    merge_each,
    named_prompt,
    resolve,
)
from .synthesis.prompt_encoder import PromptEncoder
from .synthesis.sentence_reader import Part, SentenceReader
from .synthesis.stream import Stream, chunks, chunks_in_thread
from .synthesis.whole_sentences import WholeSentences, adjusted, checked_tokens, synthesise
from .synthesis.word_times import TimedAudio, joined
from .text.incremental import sentences_of, sentences_to_come
from .text.markup import MarkedText
from .text.sentences import OnDropped, log_dropped
from .text.user_lexicon import Pronunciations
from .text.words import ReadText, Sentence, Word

if TYPE_CHECKING:
    from typing_extensions import Unpack

Text = str | MarkedText | ReadText
"""A text, what `read_ssml` made of SSML, or the sentences that `Voice.sentences` returned."""
Turns = Iterable[Turn | tuple[str | Prompt | None, str]] | MarkedText
"""Turns, pairs of voice and text, or what `read_ssml` returned of a document with `voice`."""

RETAKE_TEMPERATURE = 0.5  # of a voice whose codes are else the expected ones

_log = logging.getLogger(__name__)


class Voice:
    """Speaks text; `Voice.load` makes one. Threads may share it.

    The same text and options give the same audio. Every method that speaks takes `SynthesisOptions`, their
    fields as keywords, or both, where keywords take precedence: `voice.speak(text, options, seed=3)`.
    `DecodeOptions` in place of `SynthesisOptions` set the field `decode` alone.

    Args:
        bundle: The exported voice.
        engines: An engine for each graph of its manifest, by name.
        in_batches: Whether the engines compute a sample of a batch as they do it alone, so that `speak_many`
            may use batches.
        lexicon: As in `load`.
        threads: As in `load`.
        load: Returns how many streams share the machine: the blocks of each are longer then.

    Attributes:
        sample_rate: Samples a second.
        options: The voice's own decode options.
        voices: Names that the option `voice` takes.
        speaker: The one of them that speaks by default.
    """

    def __init__(
        self,
        bundle: Bundle,
        engines: Mapping[str, Engine],
        *,
        in_batches: bool = True,
        lexicon: Pronunciations | None = None,
        threads: int | None = None,
        load: Callable[[], int] = lambda: 1,
    ) -> None:
        manifest, spelling = bundle.manifest, bundle.spelling(lexicon)
        self.sample_rate = manifest.audio.sample_rate
        self.options = manifest.decode
        self.speaker = manifest.speaker
        self._manifest = manifest
        self._prompts = bundle.prompts()
        self.voices = tuple(self._prompts)
        self._prompt_encoder = PromptEncoder(bundle, threads)
        self._text_reader: SentenceReader | None = None
        if manifest.text is not None and spelling is not None:
            alignment = bundle.alignment()
            self._text_reader = SentenceReader(manifest, manifest.text, engines, spelling, alignment)
        self._acoustics = AcousticStage(manifest, engines, in_batches)
        self._calibration = Calibration(self._acoustics, manifest.audio.levels)
        self._load = load
        self._warned = False  # that this codec does not stream

    @classmethod
    def load(
        cls,
        path: str | Path | Bundle | None = None,
        *,
        voice_pack: str | None = None,
        threads: int | None = None,
        provider: Provider = "auto",
        precision: PrecisionChoice = "auto",
        lexicon: Pronunciations | None = None,
    ) -> Voice:
        """Load a bundle. The log says what 'auto' chose.

        Args:
            path: The folder that soundstorm-export wrote, or what `read_bundle` returned for it; None loads
                the installed voice package.
            voice_pack: The name of a voice package, in place of a path, where several are installed.
            threads: Threads within one operator; None uses the available processors, up to 8.
            provider: 'cpu', 'cuda', 'tensorrt' or another that `soundstorm say --help` lists, or 'auto' for
                the best that works.
            precision: One that the bundle has ('fp32', 'int8', 'fp16', 'bf16', 'int8-qdq', 'fp8-qdq'), or
                'auto' for the fastest of those whose speech is hardly worse.
            lexicon: A TOML file, or a mapping, of words to "/phones/" or to a respelling.

        Raises:
            BundleError: The bundle fails a check.
            EngineError: An engine is missing or cannot be used.
            OptionError: The bundle lacks the precision, or the lexicon has what the voice cannot speak; or no
                voice package is installed, or several.
        """
        if path is not None and voice_pack is not None:
            raise OptionError("both a path and voice_pack were given; give one of them")
        if isinstance(path, Bundle):
            bundle = path
        else:
            bundle = read_bundle(find_voice_package(voice_pack).path if path is None else path)
        engines = open_engines(bundle, provider=provider, precision=precision, threads=threads)
        return cls(bundle, engines.by_name, in_batches=engines.in_batches, lexicon=lexicon, threads=threads)

    def sentences(self, text: str | MarkedText, on_dropped: OnDropped = log_dropped) -> ReadText:
        """Split a text into the sentences that are spoken one after the other.

        Args:
            text: The text, or what `read_ssml` returned.
            on_dropped: Called once with the characters that are left out because they cannot be spoken, if
                there are any: `text.sentences.refuse_dropped` raises. By default, a warning names them.

        Raises:
            TextError: The text is empty, too long, or has nothing that can be spoken.
        """
        return ReadText(self._reader.sentences(text, on_dropped))

    def _read(self, text: Text) -> ReadText:
        return text if isinstance(text, ReadText) else self.sentences(text)

    def _sentences_of(self, text: Text | Iterable[str]) -> Iterable[Sentence]:
        return self._read(text) if isinstance(text, Text) else sentences_of(text, self._reader.sentences)

    def speak(
        self,
        text: Text,
        options: SynthesisOptions | DecodeOptions | None = None,
        **keywords: Unpack[Keywords],
    ) -> np.ndarray:
        """Speak a text of any number of sentences.

        Args:
            text: The text, or what `read_ssml` or `sentences` returned.
            options: How it is spoken.
            **keywords: Fields of `SynthesisOptions`, in place of those of `options`.

        Returns:
            float32 [samples] in [-1, 1] at `sample_rate`.

        Raises:
            TextError: The text cannot be spoken.
            OptionError: An option is out of range, or the voice does not have what was asked for.
        """
        return np.concatenate(list(self.speak_sentences(text, options, **keywords)))

    def speak_timed(
        self,
        text: Text,
        options: SynthesisOptions | DecodeOptions | None = None,
        **keywords: Unpack[Keywords],
    ) -> TimedAudio:
        """Speak a text and return the times of its words and phones with the audio.

        Arguments and audio are those of `speak`. The times are exact to a semantic token where the text stage
        decides the duration of every phone; those of an autoregressive one are estimated from its tokens.

        Raises:
            OptionError: As in `speak`, or the voice does not know when words are spoken (`has_times`).
        """
        self._check_times()
        return joined(self._speak_sentences(text, merge(options, keywords), times=True))

    def seconds(
        self,
        text: Text,
        options: SynthesisOptions | DecodeOptions | None = None,
        **keywords: Unpack[Keywords],
    ) -> float:
        """Return how long the speech of a text lasts. Only the text stage is computed.

        Arguments and errors are those of `speak`.
        """
        planned = self._whole_sentences.plan(self._read(text), self._resolve(merge(options, keywords)))
        samples = sum(
            utterance.before
            + self._acoustics.samples(sum(len(part.tokens) for part in utterance.parts))
            + utterance.after
            for utterance in planned
        )
        return samples / self.sample_rate

    def speak_sentences(
        self,
        text: Text,
        options: SynthesisOptions | DecodeOptions | None = None,
        **keywords: Unpack[Keywords],
    ) -> Iterator[np.ndarray]:
        """Speak sentence by sentence; each but the first starts with a pause.

        Text and options are checked at the call, before the first sentence is asked for. Arguments, errors
        and, all sentences together, the audio are those of `speak`.
        """
        return (piece.audio for piece in self._speak_sentences(text, merge(options, keywords)))

    def _speak_sentences(
        self, text: Text, chosen: SynthesisOptions, *, times: bool = False
    ) -> Iterator[TimedAudio]:
        resolved, sentences = self._resolve(chosen), self._read(text)
        if chosen.budget_ms is not None:
            if chosen.steps is not None:
                raise OptionError("both steps and budget_ms were given; give one of them")
            steps = self._steps_within(resolved.budget, sentences[0], resolved)
            resolved = replace(resolved, decode=replace(resolved.decode, steps=steps))
        return self._whole_sentences.each(sentences, resolved, times=times)

    def speak_many(
        self,
        texts: Sequence[Text],
        options: SynthesisOptions | DecodeOptions | Sequence[SynthesisOptions] | None = None,
        **keywords: Unpack[BatchKeywords],
    ) -> list[np.ndarray]:
        """Speak several texts in batches; the audio of each is that of `speak`, up to the rounding of sums.

        Args:
            texts: The texts.
            options: How they are spoken, or a list with the options of each.
            **keywords: Fields of `SynthesisOptions`; `voice` and `seed` may be lists, one value a text.

        Returns:
            float32 [samples] for each text.

        Raises:
            TextError: A text cannot be spoken.
            OptionError: An option is out of range, or `budget_ms` was given: all texts are ready at once.
        """
        each = merge_each(options, keywords, len(texts))
        if any(own.budget_ms is not None for own in each):
            raise OptionError(
                "speak_many returns all texts at once and takes no budget_ms; give steps instead"
            )
        resolved = [self._resolve(own) for own in each]
        return self._whole_sentences.together([self._read(text) for text in texts], resolved)

    def stream(
        self,
        text: Text | Iterable[str],
        options: SynthesisOptions | DecodeOptions | None = None,
        **keywords: Unpack[Keywords],
    ) -> Iterator[np.ndarray]:
        """Speak a text as it is made: the first audio as early as possible, the rest without gaps.

        The lengths of the blocks depend on the speed of the machine, which the first stream of a voice
        measures (`warm_up` does so in advance), and the audio depends on the blocks a little. Text and
        options are checked at the call; nothing is computed before the first chunk is asked for. Closing the
        iterator stops the computation.

        Args:
            text: The text, or its fragments, such as the tokens of a language model, or what `sentences`
                returned.
            options: How it is spoken.
            **keywords: Fields of `SynthesisOptions`, in place of those of `options`.

        Yields:
            Chunks of audio, float32 [samples].

        Raises:
            TextError: The text cannot be spoken.
            OptionError: An option is out of range, or `duration` was given.
        """
        return (chunk.audio for chunk in self._stream(text, merge(options, keywords)))

    def stream_timed(
        self,
        text: Text | Iterable[str],
        options: SynthesisOptions | DecodeOptions | None = None,
        **keywords: Unpack[Keywords],
    ) -> Iterator[TimedAudio]:
        """Do the same as `stream`, and return with each chunk the times of the words that begin in it.

        Times count from the start of the stream, spans from the start of the first fragment. A voice with an
        autoregressive text stage makes all semantic tokens of a sentence before its first audio.

        Raises:
            OptionError: As in `stream`, or the voice does not know when words are spoken (`has_times`).
        """
        self._check_times()
        return self._stream(text, merge(options, keywords), times=True)

    def _stream(
        self, text: Text | Iterable[str], chosen: SynthesisOptions, *, times: bool = False
    ) -> Iterator[TimedAudio]:
        stream = self._begin_stream(self._resolve(chosen), times=times)
        return chunks(stream.speak(self._sentences_of(text)))

    async def astream(
        self,
        text: Text | AsyncIterable[str] | Iterable[str],
        options: SynthesisOptions | DecodeOptions | None = None,
        **keywords: Unpack[Keywords],
    ) -> AsyncIterator[np.ndarray]:
        """Do the same as `stream` in an event loop: the computation runs step by step in a thread.

        The text may also be an asynchronous iterable of fragments. Cancellation stops the computation within
        one step.
        """
        resolved = self._resolve(merge(options, keywords))
        await asyncio.to_thread(self.warm_up)  # measures once, and may wait for another thread that does
        stream = self._begin_stream(resolved)
        if not isinstance(text, AsyncIterable):
            async for chunk in chunks_in_thread(stream.speak(self._sentences_of(text))):
                yield chunk.audio
            return
        async for sentence in sentences_to_come(text, self._reader.sentences):
            async for chunk in chunks_in_thread(stream.sentence(sentence)):
                yield chunk.audio

    def incremental(
        self,
        options: SynthesisOptions | DecodeOptions | None = None,
        *,
        times: bool = False,
        on_dropped: OnDropped = log_dropped,
        **keywords: Unpack[Keywords],
    ) -> IncrementalSpeech:
        """Begin a text that is appended while it is spoken; the caller decides when to compute.

        Args:
            options: How it is spoken.
            times: Whether to return the times of the words, as `stream_timed` does.
            on_dropped: As in `sentences`. Called for what is appended, so more than once.
            **keywords: Fields of `SynthesisOptions`, in place of those of `options`.

        Raises:
            OptionError: As in `stream` and, with `times`, in `stream_timed`.
        """
        if times:
            self._check_times()
        stream = self._begin_stream(self._resolve(merge(options, keywords)), times=times)
        return IncrementalSpeech(stream, partial(self._reader.sentences, on_dropped=on_dropped))

    def dialogue(
        self,
        turns: Turns,
        options: SynthesisOptions | DecodeOptions | None = None,
        **keywords: Unpack[Keywords],
    ) -> DialogueAudio:
        """Speak the turns of several speakers.

        Up to half a minute is decoded at once, so that rhythm and room of the turns fit.

        Args:
            turns: Turns, pairs of voice and text, or what `read_ssml` returned of a document with `voice`.
            options: How they are spoken. `voice` is that of turns without one.
            **keywords: Fields of `SynthesisOptions`, in place of those of `options`.

        Returns:
            The audio, and the times of the turns and of their words.

        Raises:
            TextError: A turn cannot be spoken.
            OptionError: An option is out of range, or the voice does not have what was asked for; `duration`,
                `budget_ms` and mixed voices are refused.
        """
        return self._dialogue(turns, merge(options, keywords)).whole()

    def stream_dialogue(
        self,
        turns: Turns,
        options: SynthesisOptions | DecodeOptions | None = None,
        **keywords: Unpack[Keywords],
    ) -> Iterator[DialogueAudio]:
        """Speak the turns of several speakers as they are made, block by block, as `stream` does.

        Arguments and errors are those of `dialogue`; everything is checked at the call.

        Yields:
            Chunks of audio, with the turns that end in them.
        """
        dialogue = self._dialogue(turns, merge(options, keywords))
        self.warm_up()
        times = self.has_times
        return dialogue.stream(lambda own, before: self._begin_stream(own, times=times, before=before))

    def _dialogue(self, turns: Turns, chosen: SynthesisOptions) -> Dialogue:
        if chosen.duration is not None or chosen.budget_ms is not None:
            raise OptionError("a dialogue takes no duration or budget_ms; leave them out")
        speakers = {chosen.voice: self._resolve(chosen)}
        spoken = []
        for place, (turn, sentences) in enumerate(self._turns(turns)):
            voice = chosen.voice if turn.voice is None else turn.voice
            if voice not in speakers:
                try:
                    speakers[voice] = self._resolve(replace(chosen, voice=voice))
                except OptionError as error:
                    raise OptionError(f"turn {place + 1}: {error}") from error
            own = speakers[voice]
            if isinstance(own.prompt, MixedPrompt):
                raise OptionError(f"turn {place + 1}: a dialogue takes no mixed voices; name one voice")
            # Each turn has random numbers of its own, so that the turns before do not change them.
            (seed,) = np.random.SeedSequence(own.seed, spawn_key=(place,)).generate_state(1, np.uint64)
            name = voice if isinstance(voice, str) else None
            options = replace(own, seed=int(seed))
            spoken.append(SpokenTurn(name, turn.text, turn.gap, sentences, options))
        return Dialogue(self._reader, self._acoustics, spoken)

    def _turns(self, turns: Turns) -> Iterator[tuple[Turn, list[Sentence]]]:
        """Yield turns with their sentences."""
        if not isinstance(turns, MarkedText):
            for place, turn in enumerate(check_turns(turns), 1):
                try:
                    yield turn, list(self._reader.sentences(turn.text))
                except TextError as error:
                    raise TextError(f"turn {place}: {error}") from error
            return
        document, gaps = take_gaps(turns)
        gap: float | None = None
        for voice, of_voice in groupby(self._reader.sentences(document), key=lambda own: own.style.voice):
            sentences = list(of_voice)
            if voice is not None:
                self.named(voice)  # SSML names voices of the bundle alone, and no files
            if gaps and gaps[0][0] < sentences[0].start:
                gap = gaps.pop(0)[1]
            if gaps and gaps[0][0] < sentences[-1].end:
                raise TextError(
                    f"the turn {sentences[0][:40]!r} has more than one gap, or one that is not at its start"
                )
            yield Turn(voice, " ".join(sentences), gap), sentences
            gap = None if sentences[-1].silence is None else 0.0  # the text has its own silence there

    def speak_tokens(
        self,
        semantic_tokens: np.ndarray,
        options: SynthesisOptions | DecodeOptions | None = None,
        **keywords: Unpack[Keywords],
    ) -> np.ndarray:
        """Speak semantic tokens that come from elsewhere.

        Args:
            semantic_tokens: Integers [tokens].
            options: How they are spoken. Tokens have a length of their own: `speed`, `duration` and
                `budget_ms` are refused.
            **keywords: Fields of `SynthesisOptions`, in place of those of `options`.

        Returns:
            float32 [samples] in [-1, 1] at `sample_rate`.

        Raises:
            OptionError: The voice does not have these tokens, or an option is out of range.
        """
        chosen = merge(options, keywords)
        if chosen.speed != 1 or chosen.duration is not None or chosen.budget_ms is not None:
            raise OptionError("semantic tokens take no speed, duration or budget_ms; leave them out")
        resolved = self._resolve(chosen)
        vocabulary, room = self._manifest.semantic.vocabulary, self._acoustics.room(resolved.prompt)
        tokens = checked_tokens(np.asarray(semantic_tokens), vocabulary, room)
        part = Part(tokens, np.random.default_rng(np.random.SeedSequence(resolved.seed)))
        return adjusted(synthesise(self._acoustics, [part], resolved)[part], resolved.volume)

    def edit(
        self,
        speech: TimedAudio,
        old: str | Mapping[str, str],
        new: str | None = None,
        options: SynthesisOptions | DecodeOptions | None = None,
        **keywords: Unpack[Keywords],
    ) -> TimedAudio:
        """Replace words of finished speech, and leave the rest as it is.

        The words are decoded anew, with a border of some hundredths of a second, between the codes of what
        is around them, and last as long as the rate of the speech asks for.

        Args:
            speech: What `speak_timed` returned, or a recording at `sample_rate` with the times of its words.
            old: The words to replace, as many as occur together once in the speech; or several replacements,
                such as `{"Tuesday": "Thursday", "two": "three"}`, without `new`.
            new: What is spoken instead; "" removes the words, and a word beside them is spoken again.
            options: How it is spoken. `voice` is only needed where the speech around the words is too short
                to show whose voice it is.
            **keywords: Fields of `SynthesisOptions`, in place of those of `options`.

        Returns:
            The speech with the times of its words. Its audio before and after the words with their borders is
            bit for bit that of before.

        Raises:
            TextError: A text cannot be spoken.
            OptionError: The speech does not have the words, or has them more than once, or two replacements
                overlap, or the voice has no durations or makes no prompts of recordings.
            TypeError: Neither `new` nor several replacements were given, or both.
        """
        if isinstance(old, str) == (new is None):
            raise TypeError("edit() takes two texts, or a dict of several replacements")
        speech, found = self._as_spoken(speech), []
        for wanted, text in ({old: new or ""} if isinstance(old, str) else old).items():
            words = [word.text for word in self._words(wanted)]
            span = span_of_words(speech.words, words, keeps_length=False)
            found.append((span, self._words(text) if text.strip() else []))
        return self._repaired(speech, combined(found, speech.words), merge(options, keywords))

    def retake(
        self,
        speech: TimedAudio,
        words: str,
        options: SynthesisOptions | DecodeOptions | None = None,
        **keywords: Unpack[Keywords],
    ) -> TimedAudio:
        """Speak words of finished speech again, with another seed, in the same time.

        Arguments, result and errors are those of `edit`, with `words` in place of `old` and `new`. A voice
        whose codes hardly depend on the seed, `DecodeOptions.expected`, samples them at a temperature of
        0.5, unless another one is given.
        """
        speech, chosen = self._as_spoken(speech), merge(options, keywords)
        if chosen.temperature is None and (chosen.decode or self._manifest.decode).expected:
            chosen = replace(chosen, temperature=RETAKE_TEMPERATURE)
        spoken = self._words(words)
        span = span_of_words(speech.words, [word.text for word in spoken], keeps_length=True)
        return self._repaired(speech, [(span, spoken)], chosen)

    def fill(
        self,
        speech: TimedAudio,
        start: float,
        end: float,
        text: str,
        options: SynthesisOptions | DecodeOptions | None = None,
        **keywords: Unpack[Keywords],
    ) -> TimedAudio:
        """Speak words in a gap of a recording, such as a dropout, which stays as long as it is.

        Args:
            speech: As in `edit`. Words in the gap are replaced.
            start: Seconds where the gap starts.
            end: Seconds where it ends.
            text: What is spoken in it.
            options: As in `edit`.
            **keywords: Fields of `SynthesisOptions`, in place of those of `options`.

        Raises:
            TextError: The text cannot be spoken.
            OptionError: As in `edit`, or the gap has no time for the words, or is not in the speech.
        """
        speech, seconds = self._as_spoken(speech), len(speech.audio) / self.sample_rate
        span = span_of_gap(speech.words, start, end, seconds)
        return self._repaired(speech, [(span, self._words(text))], merge(options, keywords))

    def _repaired(
        self, speech: TimedAudio, replacements: Sequence[Replacement], options: SynthesisOptions
    ) -> TimedAudio:
        self._check_durations()
        if options.duration is not None or options.budget_ms is not None or options.volume != 1:
            raise OptionError(
                "words of finished speech take no duration, budget_ms or volume; leave them out"
            )
        resolved = self._resolve(options)
        if isinstance(resolved.prompt, MixedPrompt):
            raise OptionError("edits take no mixed voices; name one voice")
        repair = Repair(self._reader, self._acoustics, self._prompt_encoder.tokenize)
        voice = None if options.voice is None else resolved.prompt
        return repair.replace_all(speech, replacements, resolved, voice)

    def _as_spoken(self, speech: TimedAudio) -> TimedAudio:
        if not isinstance(speech, TimedAudio):
            raise TypeError(
                f"the speech is of type {type(speech).__name__}, expected TimedAudio, as speak_timed returns"
            )
        audio, words = speech.audio, tuple(as_spoken(speech.words, self._words))
        if audio.ndim != 1 or audio.dtype.kind != "f":
            raise OptionError(
                f"the speech is {audio.dtype} {list(audio.shape)}, expected float32 [samples] in -1 to 1"
            )
        if not np.abs(audio).max(initial=0) <= 1:  # nor NaN
            raise OptionError("the speech has samples that are not from -1 to 1; scale it")
        end, seconds = max((word.end for word in words), default=0.0), len(audio) / self.sample_rate
        if end > seconds + self._acoustics.samples(1) / self.sample_rate:
            raise OptionError(
                f"the words end at {end:.2f} s, but the speech at {seconds:.2f} s; give the times of this "
                "speech"
            )
        return TimedAudio(audio.astype(np.float32), words)

    def _words(self, text: str) -> list[Word]:
        """Return the words of a text as they are spoken."""
        sentences = self._reader.sentences(text)
        if any(sentence.silence is not None for sentence in sentences):
            raise TextError(f"words of edits have no pauses of their own, and {text[:40]!r} was given")
        return [word for sentence in sentences for word in sentence.words]

    def prompt(self, source: str | Path | np.ndarray, sample_rate: int | None = None) -> Prompt:
        """Make a prompt of a few seconds of somebody's speech, to speak in that voice.

        Silence at both ends is removed, and the level is adjusted to that of the voice. Of a long recording,
        at most five seconds between two pauses are used, where most is spoken; the log says which.

        Args:
            source: A sound file of any rate and number of channels, or audio as float [samples] or
                [samples, channels] in -1 to 1.
            sample_rate: Samples a second, for audio that is not a file.

        Raises:
            AudioError: The recording cannot serve as a prompt.
            OptionError: The voice makes no prompts of recordings.
        """
        if isinstance(source, np.ndarray):
            recording = recording_of(source, sample_rate)
        elif sample_rate is not None:
            raise OptionError(f"sample_rate is {sample_rate} for a file, which states its own; leave it out")
        else:
            recording = read_recording(Path(source))
        return self._prompt_encoder.make(recording)

    def named(self, name: str) -> Prompt:
        """Return the prompt of one of `voices`. Raises `OptionError` for another name."""
        return named_prompt(name, self._prompts)

    def warm_up(self, costs: Costs | None = None) -> Costs:
        """Measure what synthesis costs on this machine, so that the first stream or budget need not.

        Args:
            costs: Costs that another run or machine measured, for the same blocks and audio as there.

        Returns:
            The costs that streams and budgets use from now on.
        """
        return self._calibration.costs(self._reader, costs)

    def steps_within(
        self,
        milliseconds: float,
        text: Text,
        options: SynthesisOptions | DecodeOptions | None = None,
        **keywords: Unpack[Keywords],
    ) -> tuple[int, ...]:
        """Return as many steps per level as let a text's first sentence be ready in time on this machine.

        `speak` with `budget_ms` uses these. The log says what was chosen; each level keeps one step, even
        where that takes longer.

        Raises:
            TextError: The text cannot be spoken.
            OptionError: The budget is not above 0, or an option is out of range.
        """
        resolved = self._resolve(merge(options, {**keywords, "budget_ms": milliseconds}))
        return self._steps_within(resolved.budget, self._read(text)[0], resolved)

    def _steps_within(self, seconds: float, sentence: Sentence, options: ResolvedOptions) -> tuple[int, ...]:
        (parts,) = self._whole_sentences.read([sentence], options)
        tokens = sum(len(part.tokens) for part in parts)
        return steps_within(
            seconds,
            self.warm_up(),
            options.decode.steps,
            tokens,
            tokens * self._acoustics.per_token,
            len(options.prompt.codes) if options.prompt and not self._acoustics.has_cache else 0,
        )

    def _resolve(self, options: SynthesisOptions) -> ResolvedOptions:
        within = [mark for mark in options.mark_pauses or {} if mark in ",;:"]
        if within and self._text_reader and not self._text_reader.has_durations:
            raise OptionError(
                f"mark_pauses has {within[0]!r}, but the autoregressive text stage of voice "
                f"'{self._manifest.name}' decides on pauses within a sentence; give . ? or ! alone"
            )
        resolved = resolve(options, self._manifest, self._prompts)
        if isinstance(resolved.prompt, MixedPrompt):
            resolved = replace(resolved, prompt=self._acoustics.aligned(resolved.prompt))
        return resolved

    @property
    def has_times(self) -> bool:
        """Whether the voice knows when words are spoken.

        Its text stage decides on durations, or its bundle has an alignment of semantic tokens with phones.
        """
        return self._text_reader is not None and self._text_reader.has_times

    def _check_times(self) -> None:
        if not self._reader.has_times:
            raise OptionError(
                f"voice '{self._manifest.name}' has an autoregressive text stage, which has no durations, "
                "and no alignment of semantic tokens with phones: it cannot tell when words are spoken; "
                "export it again if it reads phones, or use a voice with a parallel text stage"
            )

    def _check_durations(self) -> None:
        if not self._reader.has_durations:
            raise OptionError(
                f"voice '{self._manifest.name}' has an autoregressive text stage, which has no durations: it "
                "cannot speak words in a given time; use a voice with a parallel one"
            )

    def _begin_stream(
        self, options: ResolvedOptions, *, times: bool = False, before: Prompt | None = None
    ) -> Stream:
        if options.duration is not None:
            raise OptionError(
                "a stream starts before its length is known and takes no duration; give a speed"
            )
        if self._acoustics.latency is None and not self._warned:
            self._warned = True
            _log.warning(
                "this codec cannot be decoded in pieces: each sentence is returned when it is finished; a "
                "bundle that was exported before there were streams can be exported again"
            )
        costs = self.warm_up()
        return Stream(
            self._reader, self._acoustics, costs, options, times=times, before=before, load=self._load
        )

    @property
    def _reader(self) -> SentenceReader:
        if self._text_reader is None:
            raise OptionError(
                f"voice '{self._manifest.name}' has no text stage; give it semantic tokens: speak_tokens"
            )
        return self._text_reader

    @property
    def _whole_sentences(self) -> WholeSentences:
        return WholeSentences(self._reader, self._acoustics)
