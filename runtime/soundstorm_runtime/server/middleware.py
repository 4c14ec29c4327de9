"""The outermost layer of the application: limits on requests and clients, headers, access log, counts."""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .api_errors import Refusal, error_response, refusal
from .connections import Client, Connections
from .settings import BODY_SECONDS, MOST_BODY, STALL_SECONDS, BearerToken
from .telemetry.logs import new_request_id, request_id
from .telemetry.metrics import Metrics
from .telemetry.tracing import Tracing

_HEADERS = {
    # Nothing from other origins, nothing inline, in no frame.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}

_BEARER = Depends(HTTPBearer(auto_error=False, description="The bearer token of this server."))

_access = logging.getLogger(f"{__name__.rpartition('.')[0]}.access")
_log = logging.getLogger(__name__)


class CutOff(Exception):
    """A response ends early. Its connection is closed, so that the client does not take it for complete."""


class Guard:
    """Limits the body of a request, the host that it names and the time that its client may stall.

    Args:
        hosts: Names by which the server may be addressed; None allows every name.
        tracing: Makes a span of each request.
    """

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        connections: Connections,
        hosts: Sequence[str] | None,
        tracing: Tracing,
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._connections = connections
        self._hosts = hosts
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        token = request_id.set(new_request_id(headers.get("x-request-id", "")))
        exchange = _Exchange(scope, send, self._metrics)
        inner = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
        client: Client | None = tuple(scope["client"]) if scope.get("client") else None
        trace = ExitStack()
        finish = trace.enter_context(self._tracing.request(scope["method"], headers))
        try:
            with self._connections.busy(client):
                if self._is_allowed(headers.get("host"), scope["path"]):
                    await self._app(inner, _limited(receive), exchange.send)
                else:
                    refused = Refusal(400, _HOST_REFUSED, code="host_not_allowed")
                    await error_response(refused)(inner, receive, exchange.send)
        except CutOff as error:
            _log.warning("%s; its connection is closed", error)
            self._connections.abort(client)
            await asyncio.sleep(0)  # the server notes that the connection is closed
        except Exception as error:
            _log.exception("a request failed")
            if exchange.started:
                self._connections.abort(client)
                await asyncio.sleep(0)
            else:
                await error_response(refusal(error))(inner, receive, exchange.send)
        finally:
            path = exchange.log(inner)
            finish(
                f"{scope['method']} {path}",
                {
                    "http.request.method": scope["method"],
                    "http.route": path,
                    "http.response.status_code": exchange.status,
                    "soundstorm.request_id": request_id.get(),
                },
            )
            trace.close()
            request_id.reset(token)

    def _is_allowed(self, host: str | None, path: str) -> bool:
        """Check the header Host. Requests without one come from no browser, health checks give an address."""
        if self._hosts is None or host is None or path.startswith("/health"):
            return True
        name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
        return any(
            name.lower() == allowed or (allowed.startswith("*.") and name.lower().endswith(allowed[1:]))
            for allowed in self._hosts
        )


_HOST_REFUSED = (
    "the server is not known by the name in the header Host; start it with --allowed-host NAME, or use the "
    "name localhost"
)


class _Exchange:
    """One request and its response: what is sent, and what is logged and counted of it."""

    def __init__(self, scope: Scope, send: Send, metrics: Metrics) -> None:
        self._scope = scope
        self._send = send
        self._metrics = metrics
        self._started = time.perf_counter()
        self.status = 0
        self._bytes = 0

    @property
    def started(self) -> bool:
        """Whether the status has been sent."""
        return self.status != 0

    async def send(self, message: Message) -> None:
        """Send a message of the application, within `STALL_SECONDS`."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            headers["X-Request-ID"] = request_id.get()
        elif self._scope["method"] == "HEAD":
            message = {**message, "body": b""}
        self._bytes += len(message.get("body", b""))
        try:
            await asyncio.wait_for(self._send(message), STALL_SECONDS)
        except asyncio.TimeoutError:
            self._metrics.timeouts.labels("client").inc()
            raise CutOff(f"the client did not read for {STALL_SECONDS:g} s") from None

    def log(self, scope: Scope) -> str:
        """Count the request and write a line to the access log; return the path of its route."""
        # The path of the route and not that of the request: made-up paths must not become counters.
        path = getattr(scope.get("route"), "path", "other")
        self._metrics.requests.labels(path, str(self.status)).inc()
        seconds = time.perf_counter() - self._started
        client = self._scope.get("client")
        fields = {
            "client": client[0] if client else "",
            "method": self._scope["method"],
            "path": self._scope["path"],
            "status": self.status,
            "bytes": self._bytes,
            "seconds": round(seconds, 4),
        }
        level = logging.DEBUG if path.startswith("/health") or path == "/metrics" else logging.INFO
        line = "%(client)s %(method)s %(path)r %(status)d, %(bytes)d bytes in %(seconds).3f s"
        _access.log(level, line, fields, extra={"fields": fields})
        return path


def _limited(receive: Receive) -> Receive:
    """Receive a body of at most `MOST_BODY` bytes, within `BODY_SECONDS`."""
    size, ends, complete = 0, time.monotonic() + BODY_SECONDS, False

    async def limited() -> Message:
        nonlocal size, complete
        if complete:
            return await receive()  # returns when the client has closed the connection
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


def token_check(token: BearerToken) -> Callable[..., Awaitable[None]]:
    """Return a dependency that refuses requests without the bearer token."""

    async def check(shown: HTTPAuthorizationCredentials | None = _BEARER) -> None:
        given = shown.credentials if shown else ""
        if not hmac.compare_digest(given.encode(), str(token.value).encode()):  # in constant time
            message = "the token is absent or wrong; send the header 'Authorization: Bearer TOKEN'"
            raise Refusal(401, message, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})

    return check
