"""The voice that all requests share: its names, the queue, and steps in batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from typing import IO

import numpy as np

from ..bundle.manifest import Manifest
from ..bundle.open_engines import open_engines
from ..bundle.prompts import MixedPrompt
from ..bundle.reader import MANIFEST_FILE, read_bundle
from ..decoding.length_batching import MOST_FRAMES
from ..errors import OptionError, TextError
from ..synthesis.calibration import Costs
from ..synthesis.dialogue.timeline import DialogueAudio, TurnTime
from ..synthesis.dialogue.turns import Turn
from ..synthesis.incremental_speech import IncrementalSpeech
from ..synthesis.options import SynthesisOptions
from ..synthesis.prompt_check import SENTENCE, prompt_warnings
from ..synthesis.word_times import TimedAudio, WordTime
from ..text.sentences import OnDropped, refuse_dropped
from ..text.ssml import read_ssml
from ..text.words import ReadText, Sentence
from ..voice import Voice
from .api_errors import Refusal
from .api_schema import (
    OPENAI_MODELS,
    USUAL_VOICE,
    AudioFields,
    DialogueRequest,
    Model,
    SpeechFields,
    SpeechRequest,
    VoiceMade,
    voice_name,
)
from .dispatcher import Dispatcher
from .encoding import NO_FFMPEG, encode, events, ffmpeg
from .request_queue import Job, Jobs, Pieces
from .served_voices import ServedVoices
from .settings import MOST_DIALOGUE, Settings
from .telemetry.metrics import Metrics
from .telemetry.progress import Progress
from .telemetry.tracing import Traced, Tracing
from .uploaded_voices import UploadedVoices, read_upload

BATCH_SECONDS = 0.05  # that a batch of steps takes at most: what is more urgent waits for its end
LEAST_FIXED = 0.1  # share of a batch's time that does not depend on its frames: below it, more save little


class Speaker:
    """Speaks the texts of requests: synthesis runs in threads, everything else on the event loop."""

    def __init__(self, settings: Settings, metrics: Metrics, tracing: Tracing) -> None:
        self.metrics = metrics
        self._tracing = tracing
        self.is_stopping = False
        self._is_warm = False
        self.jobs = Jobs(settings.at_once, settings.queue, settings.time_limit, settings.max_wait)
        self._dispatcher = Dispatcher(
            self.jobs.check, settings.batch_ms / 1000, lambda: self.jobs.working, self._count_batch
        )
        self._settings = settings
        self.reload()

    def reload(self) -> None:
        """Load the voice, again if it was: speech in progress keeps the one that it began with.

        Raises:
            SoundStormError: As `Voice.load`; the voice stays as it was.
            OptionError: The voice has no text stage.
        """
        settings = self._settings
        bundle = read_bundle(settings.bundle)
        manifest = bundle.manifest
        if manifest.text is None:
            raise OptionError(
                f"voice '{manifest.name}' has no text stage, so it cannot be served; take another"
            )
        engines = open_engines(
            bundle, provider=settings.provider, precision=settings.precision, threads=settings.threads
        )
        most = engines.by_name["step"].axes["batch"].max if engines.in_batches else 1
        by_name = {
            name: self._dispatcher.share(engine, most if name == "step" else 1)
            for name, engine in engines.by_name.items()
        }
        voice = Voice(
            bundle,
            by_name,
            in_batches=engines.in_batches,
            lexicon=settings.lexicon,
            threads=settings.threads,
            load=lambda: max(1, self.jobs.working),
        )
        costs = voice.warm_up()
        self._dispatcher.most_frames = _batch_frames(costs)
        first = _first_audio(costs, manifest, 3.0 if voice.voices else 0.0)
        self.jobs.expect(first, first / 20, 3 * first)
        self._voice = voice
        self._is_warm = True
        self._hop = manifest.audio.hop
        self.model = manifest.name
        made = int((bundle.path / MANIFEST_FILE).stat().st_mtime)
        self.description = Model(id=self.model, created=made, owned_by="soundstorm-edge")
        folder = settings.voice_uploads
        uploads = None if folder is None else UploadedVoices(folder, manifest)
        self.voices = ServedVoices(voice, self.description, uploads)
        self.engine = f"{by_name['step']}, {engines.precision}"

    def begin_upload(self, name: object, file: IO[bytes]) -> Job:
        """Queue a recording of which a voice is made; the one piece of the job is a `VoiceMade` in JSON.

        Raises:
            Refusal: Clients may make no voices, or the name is taken or cannot be one.
            Busy: The queue is full.
        """
        wanted, voice, voices = self.voices.check_new(name), self._voice, self.voices

        def pieces() -> Generator[bytes, None, None]:
            recording = read_upload(file)
            prompt = voice.prompt(recording.samples, recording.sample_rate)

            def speak(text: str) -> np.ndarray:
                return voice.speak(text, voice=prompt)

            warnings = prompt_warnings(recording, speak, voice.sample_rate)
            made = voices.add(wanted, prompt)
            yield VoiceMade(**made.model_dump(), warnings=warnings).model_dump_json().encode()

        return self._queue(pieces, len(SENTENCE))

    def read(self, request: SpeechRequest) -> tuple[ReadText, str]:
        """Return the sentences of a request, and its characters that are not spoken, each once.

        Raises:
            TextError: The text cannot be spoken, is no SSML that is supported, or, if the request is strict,
                has characters that are not spoken.
        """
        text = read_ssml(request.input) if request.input_type == "ssml" else request.input
        dropped: list[str] = []
        sentences = self._voice.sentences(text, refuse_dropped if request.strict else dropped.append)
        return sentences, "".join(dropped)

    def begin(self, request: SpeechRequest, text: ReadText) -> Job:
        """Queue a request with the sentences that `read` returned.

        Raises:
            Refusal: The model or voice is unknown, or the fields contradict each other.
            Busy: The queue is full.
        """
        self.check_model(request.model)
        if request.timestamp_granularities and request.stream_format != "sse":
            message = "timestamp_granularities was given without stream_format 'sse', whose events carry them"
            raise Refusal(400, message, "timestamp_granularities")
        self._check_format(request)
        options = self._options(request)
        progress, traced = Progress(self.metrics, self.jobs, self._voice.sample_rate), self._tracing.speech()
        return self._queue(
            partial(self._pieces, request, text, options, progress, traced), len(request.input)
        )

    def begin_dialogue(self, request: DialogueRequest) -> Job:
        """Queue a dialogue. A turn that cannot be spoken is an error of the first piece.

        Raises:
            Refusal: The model or a voice is unknown, or the fields contradict each other.
            Busy: The queue is full.
        """
        self.check_model(request.model)
        self._check_format(request)
        if request.timestamp_granularities:
            message = "a dialogue has the times of its turns, with stream_format 'sse'; leave it out"
            raise Refusal(400, message, "timestamp_granularities")
        if request.characters > MOST_DIALOGUE:
            message = f"the turns have {request.characters} characters, expected {MOST_DIALOGUE} at most"
            raise Refusal(400, message, "turns")
        options, names = self._options(request), [voice_name(turn, request) for turn in request.turns]
        voices = []
        for place, name in enumerate(names, 1):
            try:
                voice = self.voices.find(name)
            except Refusal as error:
                message = f"turn {place}: {error}"
                raise Refusal(error.status, message, "turns", error.detail.code) from error
            if isinstance(voice, MixedPrompt):
                message = f"turn {place}: a dialogue takes no mixed voices; name one voice"
                raise Refusal(400, message, "turns")
            voices.append(voice)
        with _blaming_turns():
            turns = [
                Turn(voice, turn.input, turn.gap) for voice, turn in zip(voices, request.turns, strict=True)
            ]
        progress = Progress(self.metrics, self.jobs, self._voice.sample_rate)
        return self._queue(
            partial(self._dialogue_pieces, request, turns, names, options, progress), request.characters
        )

    def _dialogue_pieces(
        self,
        request: DialogueRequest,
        turns: Sequence[Turn],
        names: Sequence[str],
        options: SynthesisOptions,
        progress: Progress,
    ) -> Generator[bytes, None, None]:
        """Speak a dialogue in a thread of the pool; closing the generator stops the synthesis."""
        progress.begin()
        ended: list[TurnTime] = []
        told = iter(names)

        def audio() -> Iterator[np.ndarray]:
            made = self._voice.stream_dialogue if request.stream else _whole(self._voice)
            for chunk in made(turns, options):
                progress.add(chunk.audio)
                ended.extend(chunk.turns)
                yield chunk.audio

        def times() -> list[dict[str, object]]:
            found = [{**turn.to_json(), "voice": next(told)} for turn in ended]
            ended.clear()
            return found

        with self.metrics.speaking.track_inprogress(), _blaming_turns():
            pieces = encode(audio(), request.response_format, progress.rate, whole=not request.stream)
            if request.stream_format == "sse":
                pieces = events(
                    pieces, lambda: (request.characters, progress.samples // self._hop), times, "turns"
                )
            yield from pieces
        progress.end()

    def begin_incremental(self, fields: SpeechFields, on_dropped: OnDropped) -> IncrementalSpeech:
        """Begin a text that is appended while it is spoken. `begin_sentences` speaks what is complete of it.

        Raises:
            Refusal: The model or voice is unknown.
            OptionError: The voice has no times.
        """
        self.check_model(fields.model)
        times = bool(fields.timestamp_granularities)
        return self._voice.incremental(self._options(fields), times=times, on_dropped=on_dropped)

    def begin_sentences(
        self, speech: IncrementalSpeech, sentences: Sequence[Sentence], on_word: Callable[[WordTime], object]
    ) -> Job:
        """Queue sentences of an incremental text; the job makes PCM.

        Args:
            speech: What `begin_incremental` returned.
            sentences: Sentences that it returned.
            on_word: Called in the thread of the job with each word, before the audio that it begins in.

        Raises:
            Busy: The queue is full.
        """
        progress = Progress(self.metrics, self.jobs, self._voice.sample_rate)

        def pieces() -> Generator[bytes, None, None]:
            progress.begin()

            def audio() -> Iterator[np.ndarray]:
                for chunk in speech.speak(sentences):
                    progress.add(chunk.audio)
                    for word in chunk.words:
                        on_word(word)
                    yield chunk.audio

            with self.metrics.speaking.track_inprogress():
                yield from encode(audio(), "pcm", progress.rate)
            progress.end()

        return self._queue(pieces, sum(map(len, sentences)))

    def _queue(self, pieces: Pieces, characters: int) -> Job:
        job = self.jobs.begin(pieces, characters)
        self.metrics.texts.inc()
        job.future.add_done_callback(lambda _: self._count_out(job))
        return job

    def _count_out(self, job: Job) -> None:
        self.metrics.texts.dec()
        if job.timed_out:
            self.metrics.timeouts.labels("speech").inc()
        elif job.cancelled and not job.refused:
            self.metrics.abandoned.inc()

    def _count_batch(self, texts: int) -> None:
        if self._is_warm:
            self.metrics.batch.observe(texts)

    def check_model(self, name: str | None) -> None:
        """Raise `Refusal` for a name that is neither the model's nor one of OpenAI's."""
        if name not in (None, self.model) and not OPENAI_MODELS.fullmatch(name):
            message = f"model {name!r} was asked for, but there is {self.model!r} alone; leave it out"
            raise Refusal(404, message, "model", "model_not_found")

    def _check_format(self, request: AudioFields) -> None:
        if request.response_format == "aac" and ffmpeg() is None:
            raise Refusal(400, NO_FFMPEG, "response_format")

    def _options(self, fields: SpeechFields) -> SynthesisOptions:
        """Return the options of a request. Raises `Refusal` for a voice that is unknown."""
        return SynthesisOptions(
            voice=self.voices.find(fields.voice_name),
            seed=fields.seed,
            speed=fields.speed,
            pause=fields.sentence_pause,
            paragraph_pause=fields.paragraph_pause,
            mark_pauses={str(mark): seconds for mark, seconds in fields.mark_pauses.items()},
            volume=fields.volume,
        )

    def _pieces(
        self,
        request: SpeechRequest,
        text: ReadText,
        options: SynthesisOptions,
        progress: Progress,
        traced: Traced,
    ) -> Generator[bytes, None, None]:
        """Speak in a thread of the pool; closing the generator stops the synthesis."""
        progress.begin()
        words: list[WordTime] = []

        def counted(chunks: Iterator[TimedAudio]) -> Iterator[np.ndarray]:
            for chunk in chunks:
                progress.add(chunk.audio)
                words.extend(chunk.words)
                yield chunk.audio

        def begun() -> list[dict[str, object]]:
            phones = "phone" in request.timestamp_granularities
            found = [word.to_json(request.input, phones=phones) for word in words]
            words.clear()
            return found

        with (
            self.metrics.speaking.track_inprogress(),
            closing(self._stream(request, text, options)) as chunks,
        ):
            pieces = encode(counted(chunks), request.response_format, progress.rate, whole=not request.stream)
            if request.stream_format == "sse":
                pieces = events(pieces, lambda: (len(request.input), progress.samples // self._hop), begun)
            yield from pieces
        traced(
            progress.arrived,
            progress.started,
            progress.first or time.perf_counter(),
            {
                "soundstorm.characters": len(request.input),
                "soundstorm.voice": USUAL_VOICE if options.voice is None else request.voice_name,
                "soundstorm.audio_seconds": progress.samples / progress.rate,
            },
        )
        progress.end()

    def _stream(
        self, request: SpeechRequest, text: ReadText, options: SynthesisOptions
    ) -> Generator[TimedAudio, None, None]:
        if request.timestamp_granularities:
            yield from self._voice.stream_timed(text, options)
        elif not request.stream:
            yield from map(TimedAudio, self._voice.speak_sentences(text, options))
        else:
            yield from map(TimedAudio, self._voice.stream(text, options))


@contextmanager
def _blaming_turns() -> Iterator[None]:
    """Turn the error of a text into that of the field `turns`."""
    try:
        yield
    except TextError as error:
        raise Refusal(400, str(error), "turns") from error


def _whole(voice: Voice) -> Callable[[Sequence[Turn], SynthesisOptions], Iterator[DialogueAudio]]:
    """Return what decodes a dialogue in passes of many turns, and yields it whole."""

    def spoken(turns: Sequence[Turn], options: SynthesisOptions) -> Iterator[DialogueAudio]:
        yield voice.dialogue(turns, options)

    return spoken


def _batch_frames(costs: Costs) -> int:
    """Return the frames of a batch: as many as save time, and take `BATCH_SECONDS` at most.

    On a CPU a step of a few hundred frames takes as long in a batch as alone; on a GPU, much less.
    """
    if not costs.step_frame:
        return MOST_FRAMES
    worthwhile = costs.step / costs.step_frame * (1 - LEAST_FIXED) / LEAST_FIXED
    in_time = (BATCH_SECONDS - costs.step) / costs.step_frame
    return min(MOST_FRAMES, max(1, int(min(worthwhile, in_time))))


def _first_audio(costs: Costs, manifest: Manifest, prompt: float) -> float:
    """Return the seconds of computation until the first audio, after a prompt of so many seconds."""
    seconds = prompt + 2.0  # with what a block is decoded with before and after it
    tokens = int(seconds * manifest.semantic.rate)
    frames = tokens * manifest.frames_per_token
    steps = sum(manifest.decode.steps) * costs.one_step(frames)
    return costs.text_stage(tokens) + steps + costs.codec(frames)
