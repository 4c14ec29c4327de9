"""The application: the OpenAI API of one voice, its page, its health and its metrics."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, FastAPI
from fastapi.responses import FileResponse, Response, StreamingResponse
from fastapi.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from ..support.version import package_version
from .api_errors import Refusal, add_handlers, refusal
from .api_schema import (
    USUAL_VOICE,
    AudioFields,
    DialogueRequest,
    ErrorBody,
    Health,
    Model,
    ModelList,
    SpeechRequest,
    Voices,
)
from .connections import Connections, connection_limit
from .encoding import MEDIA_TYPES, PCM_MEDIA_TYPE, error_event
from .middleware import Cors, CutOff, Guard, token_check
from .request_queue import Job, TooSlow
from .routes.speech_socket import speech_socket
from .routes.voice_routes import PATHS, voice_routes
from .settings import BODY_SECONDS, MOST_CONNECTIONS, BearerToken, Settings
from .telemetry.metrics import Metrics
from .telemetry.tracing import Tracing, otlp_provider
from .voice_service import Speaker

_log = logging.getLogger(__name__)

_STATIC = Path(__file__).parent / "static"
_EVENT_STREAM = "text/event-stream"
_AUDIO: dict[str, Any] = {
    kind: {"schema": {"type": "string", "format": "binary"}} for kind in MEDIA_TYPES.values()
}
_EVENT = {"type": "object", "properties": {"data": {"type": "string"}}, "required": ["data"]}
_DROPPED = "X-Dropped-Characters"
_IGNORED = "X-Ignored-Fields"
_MOST_NAMED = 100  # characters that a header names; clients limit the length of a header
_SPEECH: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The speech, sent while it is made.",
        "content": _AUDIO | {_EVENT_STREAM: {"schema": _EVENT}},
        "headers": {
            _DROPPED: {
                "schema": {"type": "string"},
                "description": "Characters of the text that are not spoken, each once, percent-encoded; "
                f"the first {_MOST_NAMED}. Absent if there are none.",
            },
            _IGNORED: {
                "schema": {"type": "string"},
                "description": "Fields of the request that this server does not know and has ignored, with "
                "commas between them, each percent-encoded; the first ten. Absent if there are none.",
            },
        },
    },
    429: {
        "model": ErrorBody,
        "description": "The queue is full.",
        "headers": {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}},
    },
}
_ERROR: dict[int | str, dict[str, Any]] = {"default": {"model": ErrorBody, "description": "An error."}}


class SpeechResponse(StreamingResponse):
    """Sends the pieces of a job as they are made, and cancels the job if the response ends early.

    Nothing is sent before the first piece exists: an error until then gets a status of its own. At the time
    limit, server-sent events end with an error event; the connection of other responses is closed before
    their end, so that the client does not mistake them for complete.
    """

    def __init__(self, job: Job, media_type: str, dropped: str, ignored: Sequence[str] = ()) -> None:
        headers = {"Cache-Control": "no-store"}
        if dropped:
            headers[_DROPPED] = quote(dropped[:_MOST_NAMED], safe="")
        if ignored:
            headers[_IGNORED] = ",".join(quote(name[:_MOST_NAMED], safe="") for name in ignored[:10])
        super().__init__(job, media_type=media_type, headers=headers)
        self._job = job

    async def stream_response(self, send: Send) -> None:
        """Send the headers with the first piece, then the others."""
        first = await anext(self._job)
        self.body_iterator = self._pieces(first)
        await super().stream_response(send)

    async def _pieces(self, first: bytes) -> AsyncIterator[bytes]:
        yield first
        try:
            async for piece in self._job:
                yield piece
        except TooSlow as error:
            if self.media_type != _EVENT_STREAM:
                raise CutOff("the response took longer than the time limit") from None
            _log.warning("the response took longer than the time limit")
            yield error_event(refusal(error).detail.model_dump())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response, unless the client closes the connection."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._job.cancel()


def create_app(settings: Settings, tracing: Tracing | None = None) -> FastAPI:
    """Load the voice and build the application around it.

    Args:
        settings: The options.
        tracing: Makes the spans, in place of what the settings ask for.

    Raises:
        SoundStormError: As `Voice.load`.
    """
    tracing = tracing or Tracing(otlp_provider() if settings.otel else None)
    metrics = Metrics(settings.metrics)
    if settings.is_restart:
        metrics.restarts.inc()
    speaker = Speaker(settings, metrics, tracing)
    connections = Connections(connection_limit(MOST_CONNECTIONS), BODY_SECONDS, metrics.dropped.inc)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        speaker.jobs.close()
        tracing.close()

    app = FastAPI(
        title="SoundStorm Edge",
        summary=f"Speech of the voice {speaker.model}.",
        version=package_version(),
        lifespan=lifespan,
        docs_url=None,  # FastAPI's pages load their scripts from other servers
        redoc_url=None,
        responses=_ERROR,
    )
    app.state.speaker = speaker
    app.state.connections = connections
    add_handlers(app)
    app.state.token = token = BearerToken(settings.token, settings.token_file)
    guards = [] if token.value is None else [Depends(token_check(token))]
    app.include_router(_api(speaker), dependencies=guards)
    app.include_router(voice_routes(speaker), dependencies=guards)
    app.include_router(speech_socket(speaker))  # the middleware checks its token
    app.include_router(_pages(speaker))
    app.mount("/static", StaticFiles(directory=_STATIC))
    if settings.origins:
        app.add_middleware(
            Cors,
            allow_origins=settings.origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=[_DROPPED, _IGNORED],
        )
    app.add_middleware(
        Guard,
        metrics=metrics,
        connections=connections,
        hosts=settings.hosts,
        origins=settings.origins,
        token=token,
        uploads=PATHS if settings.voice_uploads else (),
        tracing=tracing,
    )
    return app


def _api(speaker: Speaker) -> APIRouter:
    """The routes that need the bearer token."""
    router = APIRouter()

    @router.post("/v1/audio/speech", response_class=Response, responses=_SPEECH, tags=["speech"])
    async def speak(request: SpeechRequest) -> SpeechResponse:
        """Speak a text. The audio is sent while it is made."""
        speaker.jobs.admit()  # a request that is refused is not read
        text, dropped = await asyncio.to_thread(speaker.read, request)
        job = speaker.begin(request, text)
        return SpeechResponse(job, _media_type(request), dropped, request.ignored)

    @router.post("/v1/audio/dialogue", response_class=Response, responses=_SPEECH, tags=["speech"])
    async def dialogue(request: DialogueRequest) -> SpeechResponse:
        """Speak the turns of several speakers. The audio is sent while it is made; with stream false, all
        turns are decoded in one sequence.
        """
        job = speaker.begin_dialogue(request)
        return SpeechResponse(job, _media_type(request), "", request.ignored)

    @router.get("/v1/models", tags=["names"])
    async def models() -> ModelList:
        """List the one model."""
        return ModelList(data=[speaker.description])

    @router.get("/v1/models/{name}", tags=["names"])
    async def model(name: str) -> Model:
        """Describe the model by its name, or by one of OpenAI's, which stand for it."""
        speaker.check_model(name)
        return speaker.description

    @router.get("/voices", tags=["names"])
    async def voices() -> Voices:
        """List the names that `voice` may have."""
        return Voices(default=USUAL_VOICE, voices=speaker.voices.names)

    @router.get("/metrics", response_class=Response, tags=["state"])
    async def metrics() -> Response:
        """Metrics for Prometheus."""
        return Response(speaker.metrics.render(), media_type="text/plain; version=0.0.4")

    return router


def _media_type(request: AudioFields) -> str:
    if request.stream_format == "sse":
        return _EVENT_STREAM
    return PCM_MEDIA_TYPE if request.response_format == "pcm" else MEDIA_TYPES[request.response_format]


def _pages(speaker: Speaker) -> APIRouter:
    """The routes that everybody may use."""
    router = APIRouter()

    @router.get("/health", tags=["state"])
    async def health() -> Health:
        """Return how many texts are spoken and how many wait."""
        return Health(model=speaker.model, working=speaker.jobs.working, waiting=speaker.jobs.waiting)

    @router.get("/health/live", tags=["state"])
    async def live() -> Health:
        """Return 200 while the process answers."""
        return await health()

    @router.get("/health/ready", tags=["state"])
    async def ready() -> Health:
        """Return 200 if a text would be taken on now, 503 if the queue is full or the server is stopping."""
        if speaker.is_stopping:
            raise Refusal(503, "the server is stopping", code="stopping")
        if speaker.jobs.is_full:
            raise Refusal(503, "the queue is full", code="queue_full")
        return await health()

    @router.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(_STATIC / "index.html")

    @router.get("/docs", include_in_schema=False)
    async def docs() -> FileResponse:
        return FileResponse(_STATIC / "docs.html")

    return router
