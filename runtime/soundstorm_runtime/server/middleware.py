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
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from .api_errors import Refusal, error_response, refusal
from .connections import Client, Connections
from .request_queue import Busy
from .settings import BODY_SECONDS, MOST_BODY, MOST_UPLOAD, STALL_SECONDS, UPLOAD_SECONDS, BearerToken
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
        origins: Origins of other web pages that may open WebSockets, which browsers leave to the server.
        token: Bearer token that a WebSocket needs; routes check it for requests.
        uploads: Paths to which recordings are posted, which are larger than a text.
    """

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        connections: Connections,
        hosts: Sequence[str] | None,
        tracing: Tracing,
        token: BearerToken,
        origins: Sequence[str] = (),
        uploads: Sequence[str] = (),
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._connections = connections
        self._hosts = hosts
        self._tracing = tracing
        self._token = token
        self._origins = origins
        self._uploads = uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or serve one WebSocket."""
        if scope["type"] == "websocket":
            await self._serve_socket(WebSocket(scope, receive, send))
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _serve_socket(self, socket: WebSocket) -> None:
        """Serve a WebSocket; what is refused gets a response in place of one."""
        client: Client | None = tuple(socket.client) if socket.client else None  # type: ignore[assignment]
        token = request_id.set(new_request_id(socket.headers.get("x-request-id", "")))
        started, status = time.perf_counter(), 101
        try:
            with self._connections.busy(client):
                self._check_socket(socket)
                await self._app(socket.scope, socket.receive, socket.send)
        except Refusal as error:
            status = error.status
            await socket.send_denial_response(error_response(error))
        finally:
            path = getattr(socket.scope.get("route"), "path", "other")
            self._metrics.requests.labels(path, str(status)).inc()
            fields = {
                "client": client[0] if client else "",
                "path": socket.scope["path"],
                "status": status,
                "seconds": round(time.perf_counter() - started, 4),
            }
            line = "%(client)s WebSocket %(path)r %(status)d, %(seconds).3f s"
            _access.info(line, fields, extra={"fields": fields})
            request_id.reset(token)

    def _check_socket(self, socket: WebSocket) -> None:
        """Raise `Refusal` for a WebSocket of another host or origin, or without the token."""
        host, origin = socket.headers.get("host"), socket.headers.get("origin")
        if refused := self._refused(host, socket.scope["path"]):
            raise refused
        own = host is not None and origin is not None and origin.partition("://")[2] == host
        if origin is not None and not own and not {origin, "*"} & set(self._origins):
            message = f"pages of {origin} may not use this server; start it with --origin {origin}"
            raise Refusal(403, message, code="origin_not_allowed")
        if self._token.value is not None:
            scheme, _, given = socket.headers.get("authorization", "").partition(" ")
            check_token(given if scheme.lower() == "bearer" else "", self._token.value)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers, path = Headers(scope=scope), scope["path"]
        token = request_id.set(new_request_id(headers.get("x-request-id", "")))
        exchange = _Exchange(scope, send, self._metrics)
        inner = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
        client: Client | None = tuple(scope["client"]) if scope.get("client") else None
        trace = ExitStack()
        finish = trace.enter_context(self._tracing.request(scope["method"], headers))
        try:
            with self._connections.busy(client):
                if refused := self._refused(headers.get("host"), path):
                    await error_response(refused)(inner, receive, exchange.send)
                else:
                    body = self._body(receive, client, path in self._uploads)
                    await self._app(inner, body, exchange.send)
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
            route = exchange.log(inner)
            finish(
                f"{scope['method']} {route}",
                {
                    "http.request.method": scope["method"],
                    "http.route": route,
                    "http.response.status_code": exchange.status,
                    "soundstorm.request_id": request_id.get(),
                },
            )
            trace.close()
            request_id.reset(token)

    def _body(self, receive: Receive, client: Client | None, is_upload: bool) -> Receive:
        """Receive a body of a bounded size within a bounded time; a recording may be larger than a text."""
        most, seconds = (MOST_UPLOAD + MOST_BODY, UPLOAD_SECONDS) if is_upload else (MOST_BODY, BODY_SECONDS)
        size, ends, complete = 0, time.monotonic() + seconds, False

        async def limited() -> Message:
            nonlocal size, complete
            if complete:
                return await receive()  # returns when the client has closed the connection
            try:
                with self._connections.receiving(client):
                    message = await asyncio.wait_for(receive(), max(0.001, ends - time.monotonic()))
            except asyncio.TimeoutError as error:
                raise HTTPException(408, f"the body took more than {seconds:g} s to arrive") from error
            size += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if size > most:
                what = "a shorter recording" if is_upload else "less text"
                raise HTTPException(413, f"the body has more than {most} bytes; send {what}")
            return message

        return limited

    def _refused(self, host: str | None, path: str) -> Refusal | None:
        """Return why a request is refused before it is read. The health is for everybody, at any time."""
        if path.startswith("/health"):  # whose requests name an address as the host
            return None
        if not self._is_allowed(host):
            return Refusal(400, _HOST_REFUSED, code="host_not_allowed")
        if self._connections.are_busy:
            return refusal(Busy("too many requests are answered", 1.0))
        return None

    def _is_allowed(self, host: str | None) -> bool:
        """Check the header Host. Requests without one come from no browser."""
        if self._hosts is None or host is None:
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


class Cors(CORSMiddleware):
    """CORS, with refusals in the form of all other errors."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """Answer what a browser asks before it sends a request of another origin."""
        answer = super().preflight_response(request_headers)
        if answer.status_code == 200:
            return answer
        message, code = f"{bytes(answer.body).decode()}; give --origin to the server", "origin_not_allowed"
        headers = {name: value for name, value in answer.headers.items() if not name.startswith("content-")}
        return error_response(Refusal(answer.status_code, message, code=code, headers=headers))


def token_check(token: BearerToken) -> Callable[..., Awaitable[None]]:
    """Return a dependency that refuses requests without the bearer token."""

    async def check(shown: HTTPAuthorizationCredentials | None = _BEARER) -> None:
        check_token(shown.credentials if shown else "", str(token.value))

    return check


def check_token(given: str, token: str) -> None:
    """Raise `Refusal` unless a client's token is the right one."""
    if not hmac.compare_digest(given.encode(), token.encode()):  # in constant time
        message = "the token is absent or wrong; send the header 'Authorization: Bearer TOKEN'"
        raise Refusal(401, message, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})
