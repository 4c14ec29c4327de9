"""`/v1/voices`: the voices of a server, and those that clients make of recordings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, Request
from starlette.datastructures import FormData, UploadFile

from ..api_errors import Refusal
from ..api_schema import VoiceDeleted, VoiceList, VoiceMade
from ..settings import MOST_UPLOAD
from ..voice_service import Speaker

PATHS = ("/v1/audio/voices", "/v1/voices")  # of OpenAI's client, and the short one
_FILE = ("audio_sample", "file")
_FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["name", "audio_sample"],
                    "properties": {
                        "name": {
                            "type": "string",
                            "pattern": "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$",
                            "description": "Its name, which requests give as voice.",
                        },
                        "audio_sample": {
                            "type": "string",
                            "format": "binary",
                            "description": "A recording of one speaker, best of 3 to 5 seconds: WAV, FLAC, "
                            f"OGG or MP3 of at most {MOST_UPLOAD >> 20} MiB.",
                        },
                    },
                }
            }
        },
    }
}


def voice_routes(speaker: Speaker) -> APIRouter:
    """The routes that list, make and delete voices."""
    router = APIRouter(tags=["names"])

    async def list_voices() -> VoiceList:
        """List the voices that requests may name, with descriptions."""
        return await asyncio.to_thread(speaker.voices.describe)

    async def make_voice(request: Request) -> VoiceMade:
        """Make a voice of a recording. Allowed where the server was started with --voice-uploads."""
        speaker.voices.check_uploads()
        async with _form(request) as form:
            name, file = form.get("name"), next((form[key] for key in _FILE if key in form), None)
            if not isinstance(file, UploadFile):
                raise Refusal(400, "audio_sample: expected a sound file, found none", "audio_sample")
            return VoiceMade.model_validate_json(await anext(speaker.begin_upload(name, file.file)))

    async def delete_voice(name: str) -> VoiceDeleted:
        """Delete a voice that was made of a recording. Speech in progress is finished with it."""
        await asyncio.to_thread(speaker.voices.delete, name)
        return VoiceDeleted(id=name)

    for path in PATHS:
        shown = {"include_in_schema": path == PATHS[0]}
        router.add_api_route(path, list_voices, methods=["GET"], **shown)  # type: ignore[arg-type]
        router.add_api_route(path, make_voice, methods=["POST"], openapi_extra=_FORM, **shown)  # type: ignore[arg-type]
        router.add_api_route(f"{path}/{{name}}", delete_voice, methods=["DELETE"], **shown)  # type: ignore[arg-type]
    return router


@asynccontextmanager
async def _form(request: Request) -> AsyncIterator[FormData]:
    """Read a form. It is read here and not by FastAPI, which would do so before the token is checked."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise Refusal(415, "expected a form with a file; send it as multipart/form-data, as curl -F does")
    async with request.form(max_files=1, max_fields=8, max_part_size=1024) as form:
        yield form
