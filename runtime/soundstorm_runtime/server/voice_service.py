"""The voice that all requests share: its names, the queue, and steps in batches."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import closing
from functools import partial

import numpy as np

from ..bundle.manifest import Manifest
from ..bundle.open_engines import open_engines
from ..bundle.reader import MANIFEST_FILE, read_bundle
from ..decoding.length_batching import MOST_FRAMES
from ..errors import OptionError
from ..synthesis.calibration import Costs
from ..synthesis.options import SynthesisOptions
from ..synthesis.word_times import TimedAudio, WordTime
from ..text.markup import MarkedText
from ..text.sentences import refuse_dropped
from ..text.ssml import read_ssml
from ..voice import Voice
from .api_errors import Refusal
from .api_schema import OPENAI_MODELS, OPENAI_VOICES, USUAL_VOICE, Model, SpeechRequest
from .dispatcher import Dispatcher
from .encoding import encode, events
from .request_queue import Job, Jobs
from .settings import Settings
from .telemetry.metrics import Metrics
from .telemetry.tracing import Traced, Tracing

BATCH_SECONDS = 0.05  # that a batch of steps takes at most: what is more urgent waits for its end


class Speaker:
    """Speaks the texts of requests: synthesis runs in threads, everything else on the event loop."""

    def __init__(self, settings: Settings, metrics: Metrics, tracing: Tracing) -> None:
        self.metrics = metrics
        self._tracing = tracing
        self.is_stopping = False
        self._is_warm = False
        self.jobs = Jobs(settings.at_once, settings.queue, settings.time_limit, settings.max_wait)
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
        dispatcher = Dispatcher(
            self.jobs.check, settings.batch_ms / 1000, lambda: self.jobs.working, self._count_batch
        )
        most = engines.by_name["step"].axes["batch"].max if engines.in_batches else 1
        by_name = {
            name: dispatcher.share(engine, most if name == "step" else 1)
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
        dispatcher.most_frames = _batch_frames(costs)
        first = _first_audio(costs, manifest, 3.0 if voice.voices else 0.0)
        self.jobs.expect(first, first / 20, 3 * first)
        self._voice = voice
        self._is_warm = True
        self._hop = manifest.audio.hop
        self.model = manifest.name
        made = int((bundle.path / MANIFEST_FILE).stat().st_mtime)
        self.description = Model(id=self.model, created=made, owned_by="soundstorm-edge")
        self.voices = [USUAL_VOICE, *self._voice.voices]
        self.engine = f"{by_name['step']}, {engines.precision}"

    def read(self, request: SpeechRequest) -> tuple[str | MarkedText, str]:
        """Return the text of a request, and its characters that are not spoken, each once.

        Raises:
            TextError: The text cannot be spoken, is no SSML that is supported, or, if the request is strict,
                has characters that are not spoken.
        """
        text = read_ssml(request.input) if request.input_type == "ssml" else request.input
        dropped: list[str] = []
        self._voice.sentences(text, refuse_dropped if request.strict else dropped.append)
        return text, "".join(dropped)

    def begin(self, request: SpeechRequest, text: str | MarkedText) -> Job:
        """Queue a request with the text that `read` returned.

        Raises:
            Refusal: The model or voice is unknown, or the fields contradict each other.
            Busy: The queue is full.
        """
        self._check_model(request.model)
        if request.timestamp_granularities and request.stream_format != "sse":
            message = "timestamp_granularities was given without stream_format 'sse', whose events carry them"
            raise Refusal(400, message, "timestamp_granularities")
        voice = self._voice_name(request.voice if isinstance(request.voice, str) else request.voice.id)
        arrived, traced = time.perf_counter(), self._tracing.speech()
        pieces = partial(self._pieces, request, text, voice, arrived, traced)
        job = self.jobs.begin(pieces, len(request.input))
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

    def _check_model(self, name: str | None) -> None:
        if name not in (None, self.model, *OPENAI_MODELS):
            message = f"model {name!r} was asked for, but there is {self.model!r} alone; leave it out"
            raise Refusal(404, message, "model", "model_not_found")

    def _voice_name(self, name: str) -> str | None:
        if name in self._voice.voices:
            return name
        if name == USUAL_VOICE or name in OPENAI_VOICES:
            return None
        message = f"voice {name!r} was asked for, but there are {', '.join(self.voices)}; take one of these"
        raise Refusal(400, message, "voice", "voice_not_found")

    def _pieces(
        self,
        request: SpeechRequest,
        text: str | MarkedText,
        voice: str | None,
        arrived: float,
        traced: Traced,
    ) -> Generator[bytes, None, None]:
        """Speak in a thread of the pool; closing the generator stops the synthesis."""
        samples, first, started, rate = 0, 0.0, time.perf_counter(), self._voice.sample_rate
        self.metrics.queue_wait.observe(started - arrived)
        words: list[WordTime] = []

        def counted(chunks: Iterator[TimedAudio]) -> Iterator[np.ndarray]:
            nonlocal samples, first
            for chunk in chunks:
                if not samples:
                    first = time.perf_counter()
                    self.metrics.first_audio.observe(first - arrived)
                samples += len(chunk.audio)
                self.jobs.add_audio(len(chunk.audio) / rate)
                self.metrics.audio.inc(len(chunk.audio) / rate)
                words.extend(chunk.words)
                yield chunk.audio

        def begun() -> list[dict[str, object]]:
            phones = "phone" in request.timestamp_granularities
            found = [word.to_json(request.input, phones=phones) for word in words]
            words.clear()
            return found

        with self.metrics.speaking.track_inprogress(), closing(self._stream(request, text, voice)) as chunks:
            pieces = encode(counted(chunks), request.response_format, rate, whole=not request.stream)
            if request.stream_format == "sse":
                pieces = events(pieces, lambda: (len(request.input), samples // self._hop), begun)
            yield from pieces
        traced(
            arrived,
            started,
            first or time.perf_counter(),
            {
                "soundstorm.characters": len(request.input),
                "soundstorm.voice": voice or USUAL_VOICE,
                "soundstorm.audio_seconds": samples / rate,
            },
        )
        self.metrics.duration.observe(time.perf_counter() - arrived)
        self.metrics.rtf.observe((time.perf_counter() - started) * rate / max(1, samples))

    def _stream(
        self, request: SpeechRequest, text: str | MarkedText, voice: str | None
    ) -> Generator[TimedAudio, None, None]:
        options = SynthesisOptions(
            voice=voice,
            seed=request.seed,
            speed=request.speed,
            pause=request.sentence_pause,
            paragraph_pause=request.paragraph_pause,
        )
        if request.timestamp_granularities:
            yield from self._voice.stream_timed(text, options)
        elif not request.stream:
            yield from map(TimedAudio, self._voice.speak_sentences(text, options))
        else:
            yield from map(TimedAudio, self._voice.stream(text, options))


def _batch_frames(costs: Costs) -> int:
    """Return the frames of a batch that takes `BATCH_SECONDS`."""
    if not costs.step_frame:
        return MOST_FRAMES
    return min(MOST_FRAMES, max(1, int((BATCH_SECONDS - costs.step) / costs.step_frame)))


def _first_audio(costs: Costs, manifest: Manifest, prompt: float) -> float:
    """Return the seconds of computation until the first audio, after a prompt of so many seconds."""
    seconds = prompt + 2.0  # with what a block is decoded with before and after it
    tokens = int(seconds * manifest.semantic.rate)
    frames = tokens * manifest.frames_per_token
    steps = sum(manifest.decode.steps) * costs.one_step(frames)
    return costs.text_stage(tokens) + steps + costs.codec(frames)
