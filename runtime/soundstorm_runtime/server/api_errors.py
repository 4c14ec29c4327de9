"""Errors in the form of the OpenAI API."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from ..errors import AudioError, OptionError, SoundStormError, TextError
from .api_schema import ErrorBody, ErrorDetail
from .request_queue import Busy, TooSlow

_log = logging.getLogger(__name__)


class Refusal(Exception):
    """A request that is refused with a status; `detail` is the body's `error`."""

    def __init__(
        self,
        status: int,
        message: str,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.detail = ErrorDetail(message=message, type=_type(status), param=param, code=code)
        self.headers = dict(headers or {})


def refusal(error: Exception) -> Refusal:
    """Return an error in the terms of the API. The cause of a server error is logged and not sent."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, RequestValidationError):
        return _invalid(error)
    if isinstance(error, HTTPException):
        return Refusal(error.status_code, str(error.detail), headers=error.headers)
    if isinstance(error, Busy):
        headers = {"Retry-After": str(error.retry_after)}
        return Refusal(429, str(error), code="rate_limit_exceeded", headers=headers)
    if isinstance(error, TooSlow):
        return Refusal(503, "the speech was not ready in time; try again, or send less text", code="timeout")
    if isinstance(error, TextError | OptionError):
        return Refusal(400, str(error), param="input" if isinstance(error, TextError) else None)
    if isinstance(error, AudioError):
        return Refusal(400, str(error), param="audio_sample")
    if isinstance(error, SoundStormError):
        _log.error("%s", error)
    return Refusal(500, "the speech could not be made; the server's log says why")


def error_response(found: Refusal) -> JSONResponse:
    """Return the response of a refused request."""
    return JSONResponse(ErrorBody(error=found.detail).model_dump(), found.status, found.headers)


def add_handlers(app: FastAPI) -> None:
    """Answer every error of the application in this form."""

    async def answer(request: Request, error: Exception) -> JSONResponse:
        found = refusal(error)
        if isinstance(error, RequestValidationError) and not _says_json(request):
            message = "the body is not said to be JSON; send the header 'Content-Type: application/json'"
            found = Refusal(415, message, code="unsupported_media_type")
        return error_response(found)

    kinds = (Refusal, RequestValidationError, HTTPException, Busy, TooSlow, SoundStormError)
    for kind in kinds:
        app.add_exception_handler(kind, answer)


def _invalid(error: RequestValidationError) -> Refusal:
    """Name the first parameter that is wrong, and why."""
    first = error.errors()[0]
    place = [part for part in first["loc"] if part != "body"]
    param = str(place[0]) if place and first["type"] != "json_invalid" else None
    shown = param or "the body"
    if len(place) > 1 and isinstance(place[1], int):  # of a list: turns[2].input
        shown += f"[{place[1]}]" + "".join(f".{part}" for part in place[2:3])
    return Refusal(400, f"{shown}: {first['msg']}", param)


def _says_json(request: Request) -> bool:
    """Return whether a request's header says that its body is JSON, if it has a body."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    has_body = request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
    return not has_body or kind == "application/json" or kind.endswith("+json")


def _type(status: int) -> str:
    if status == 429:
        return "rate_limit_error"
    return "server_error" if status >= 500 else "invalid_request_error"
