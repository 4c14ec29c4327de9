"""What stands before the application: limits on what comes in, headers on what goes out, counts."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .api_errors import Refusal
from .metrics import Metrics
from .settings import BODY_SECONDS, MOST_BODY, STALL_SECONDS

_HEADERS = {
    # Nothing from elsewhere, nothing inline, in nobody's frame.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}

_BEARER = Depends(HTTPBearer(auto_error=False, description="The token of this server."))


class Guard:
    """Refuses bodies that are too large or too slow, and gives up clients that do not read."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request through the application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        await self._app(scope, _limited(receive), self._guarded(scope, send))

    def _guarded(self, scope: Scope, send: Send) -> Send:
        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                # The route's own path, not what was asked for: counts must not grow with made-up paths.
                path = getattr(scope.get("route"), "path", "other")
                self._metrics.requests.labels(path, str(message["status"])).inc()
            await asyncio.wait_for(send(message), STALL_SECONDS)

        return guarded


def _limited(receive: Receive) -> Receive:
    """Receive a body of at most `MOST_BODY` bytes, within `BODY_SECONDS`."""
    size, ends, complete = 0, time.monotonic() + BODY_SECONDS, False

    async def limited() -> Message:
        nonlocal size, complete
        if complete:
            return await receive()  # waits for the client to go away
        try:
            message = await asyncio.wait_for(receive(), max(0.001, ends - time.monotonic()))
        except asyncio.TimeoutError as error:
            raise HTTPException(408, f"the body took more than {BODY_SECONDS:g} s to arrive") from error
        size += len(message.get("body", b""))
        complete = not message.get("more_body", False)
        if size > MOST_BODY:
            raise HTTPException(413, f"the body has more than {MOST_BODY} bytes; send less text")
        return message

    return limited


def token_check(token: str) -> Callable[..., Awaitable[None]]:
    """Make the dependency that lets in who shows the token, and nobody else."""

    async def check(shown: HTTPAuthorizationCredentials | None = _BEARER) -> None:
        given = shown.credentials if shown else ""
        if not hmac.compare_digest(given.encode(), token.encode()):  # as long for a wrong one as for another
            message = "the token is absent or wrong; send the header 'Authorization: Bearer TOKEN'"
            raise Refusal(401, message, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})

    return check
