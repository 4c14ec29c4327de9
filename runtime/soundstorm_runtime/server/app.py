"""The application: the OpenAI API of one voice, its page, its health and its counts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.responses import FileResponse, Response, StreamingResponse
from fastapi.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from ..support.version import package_version
from .api_errors import Refusal, add_handlers
from .api_schema import ErrorBody, Health, Model, ModelList, SpeechRequest, Voices
from .encoding import MEDIA_TYPES
from .metrics import Metrics
from .middleware import Guard, token_check
from .request_queue import Job
from .settings import Settings
from .voice_service import Speaker

_STATIC = Path(__file__).parent / "static"
_LOCAL_HOSTS = ["localhost", "127.0.0.1", "[::1]"]
_AUDIO: dict[str, Any] = {
    kind: {"schema": {"type": "string", "format": "binary"}} for kind in MEDIA_TYPES.values()
}
_EVENT = {"type": "object", "properties": {"data": {"type": "string"}}, "required": ["data"]}
_SPEECH: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The speech, as it is made.",
        "content": _AUDIO | {"text/event-stream": {"schema": _EVENT}},
    },
    429: {
        "model": ErrorBody,
        "description": "The queue is full.",
        "headers": {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}},
    },
}
_ERROR: dict[int | str, dict[str, Any]] = {"default": {"model": ErrorBody, "description": "An error."}}


class SpeechResponse(StreamingResponse):
    """Sends a job's pieces as they are made; the job ends with it, however it ends.

    Nothing is sent before the first piece is there: what goes wrong until then is a proper error.
    """

    def __init__(self, job: Job, media_type: str) -> None:
        super().__init__(job, media_type=media_type, headers={"Cache-Control": "no-store"})
        self._job = job

    async def stream_response(self, send: Send) -> None:
        """Send the headers with the first piece, then the others."""
        first = await anext(self._job)
        self.body_iterator = _after(first, self._job)
        await super().stream_response(send)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response, unless the client goes away."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._job.cancel()


async def _after(first: bytes, job: Job) -> AsyncIterator[bytes]:
    yield first
    async for piece in job:
        yield piece


def create_app(settings: Settings) -> FastAPI:
    """Load the voice and build the application around it. Raises what `Voice.load` does."""
    metrics = Metrics(settings.metrics)
    speaker = Speaker(settings, metrics)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        speaker.jobs.close()

    app = FastAPI(
        title="SoundStorm Edge",
        summary=f"Speech of the voice {speaker.model}.",
        version=package_version(),
        lifespan=lifespan,
        docs_url=None,  # the usual pages fetch their scripts from elsewhere
        redoc_url=None,
        responses=_ERROR,
    )
    app.state.speaker = speaker
    add_handlers(app)
    guards = [] if settings.token is None else [Depends(token_check(settings.token))]
    app.include_router(_api(speaker), dependencies=guards)
    app.include_router(_pages(speaker))
    app.mount("/static", StaticFiles(directory=_STATIC))
    if settings.origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=settings.origins, allow_methods=["*"], allow_headers=["*"]
        )
    if (
        settings.is_local and settings.token is None
    ):  # a page elsewhere must not get in by a name that it points here (DNS rebinding)
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*_LOCAL_HOSTS, settings.host])
    app.add_middleware(Guard, metrics=metrics)
    return app


def _api(speaker: Speaker) -> APIRouter:
    """What the token guards."""
    router = APIRouter()

    @router.post("/v1/audio/speech", response_class=Response, responses=_SPEECH, tags=["speech"])
    async def speak(request: SpeechRequest) -> SpeechResponse:
        """Speak a text. The audio is sent while it is being made."""
        kind = MEDIA_TYPES[request.response_format]
        return SpeechResponse(
            speaker.begin(request), "text/event-stream" if request.stream_format == "sse" else kind
        )

    @router.get("/v1/models", tags=["names"])
    async def models() -> ModelList:
        """List the one model."""
        return ModelList(data=[speaker.facts])

    @router.get("/v1/models/{name}", tags=["names"])
    async def model(name: str) -> Model:
        """Describe the model by its name."""
        if name != speaker.model:
            raise Refusal(404, f"there is no model {name!r}", "model", "model_not_found")
        return speaker.facts

    @router.get("/voices", tags=["names"])
    async def voices() -> Voices:
        """List what `voice` may be."""
        return Voices(default=speaker.voices[0], voices=speaker.voices)

    @router.get("/metrics", response_class=Response, tags=["state"])
    async def metrics() -> Response:
        """Counts for Prometheus."""
        return Response(speaker.metrics.render(), media_type="text/plain; version=0.0.4")

    return router


def _pages(speaker: Speaker) -> APIRouter:
    """What everybody may see."""
    router = APIRouter()

    @router.get("/health", tags=["state"])
    async def health() -> Health:
        """Say that the server works."""
        return Health(model=speaker.model, working=speaker.jobs.working, waiting=speaker.jobs.waiting)

    @router.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(_STATIC / "index.html")

    @router.get("/docs", include_in_schema=False)
    async def docs() -> FileResponse:
        return FileResponse(_STATIC / "docs.html")

    return router
