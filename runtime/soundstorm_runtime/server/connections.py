"""Open connections: how many there may be, and how long one may be idle.

uvicorn limits neither: `Connections` counts through `asyncio.Protocol`, the documented interface between a
transport and a server, and through the requests that the application receives.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

if sys.platform != "win32":
    import resource

Client = tuple[str, int]

BACKLOG = 100  # connections that the system holds until they are accepted, and asyncio accepts in one go
_SPARE = BACKLOG + 100  # descriptors for everything else: files, pipes, libraries
_WARN_SECONDS = 10.0  # between two log lines about dropped connections

_log = logging.getLogger(__name__)


def connection_limit(wanted: int) -> int:
    """Return how many connections this process may have, at most `wanted`.

    Raises the soft limit of file descriptors where the system allows it.
    """
    if sys.platform == "win32":
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted + _SPARE:
        most = wanted + _SPARE if hard == resource.RLIM_INFINITY else min(hard, wanted + _SPARE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    return wanted if soft == resource.RLIM_INFINITY else max(1, min(wanted, soft - _SPARE))


class Connections:
    """The open connections of one process. Used from one event loop.

    A connection is idle while none of its requests is being answered: before the header of its first request
    is complete, and between two requests. An idle connection is closed after a time, and earlier, the oldest
    first, where a new connection would exceed the limit; where none is idle, the one whose body has been
    waited for for longest.

    Args:
        limit: Connections at the same time.
        idle_seconds: Time that a connection may be idle.
        on_drop: Called for each connection that is closed because of the limit.
    """

    def __init__(self, limit: int, idle_seconds: float, on_drop: Callable[[], object]) -> None:
        self.limit = limit
        self._idle_seconds = idle_seconds
        self._on_drop = on_drop
        self._open: dict[Client, asyncio.Transport] = {}
        self._timers: dict[Client, asyncio.TimerHandle] = {}  # of the idle ones, the longest idle first
        self._receiving: dict[Client, None] = {}  # those whose bodies are waited for, the longest first
        self._warned = -_WARN_SECONDS

    def __len__(self) -> int:
        return len(self._open)

    def opened(self, transport: asyncio.Transport) -> None:
        """Count a new connection; close another if there are too many."""
        if (client := _client(transport)) is None:
            return
        if len(self._open) >= self.limit:
            self._drop(next(iter(self._timers or self._receiving), None), transport)
        if not transport.is_closing():
            self._open[client] = transport
            self._start_timer(client)

    def closed(self, transport: asyncio.Transport) -> None:
        """Forget a connection."""
        client = _client(transport)
        if client is not None and self._open.get(client) is transport:
            self._forget(client)

    @contextmanager
    def busy(self, client: Client | None) -> Iterator[None]:
        """Count the connection of a client as busy during the block."""
        if client is None or client not in self._open:
            yield
            return
        self._stop_timer(client)
        try:
            yield
        finally:
            if client in self._open:
                self._start_timer(client)

    @contextmanager
    def receiving(self, client: Client | None) -> Iterator[None]:
        """Count the connection of a client during the block as one whose body is waited for."""
        if client is None or client not in self._open:
            yield
            return
        self._receiving[client] = None
        try:
            yield
        finally:
            self._receiving.pop(client, None)

    @property
    def are_busy(self) -> bool:
        """Whether so many are busy that only a tenth is left for those who ask for the health."""
        return len(self._open) - len(self._timers) - len(self._receiving) > self.limit - self.limit // 10

    def abort(self, client: Client | None) -> None:
        """Close the connection of a client at once, so that a response without its end is seen as such."""
        if client is not None and (transport := self._open.get(client)):
            self._forget(client)
            transport.abort()

    def _drop(self, oldest: Client | None, newest: asyncio.Transport) -> None:
        if oldest is None:  # all others are busy
            newest.abort()
        else:
            self.abort(oldest)
        self._on_drop()
        if time.monotonic() - self._warned >= _WARN_SECONDS:
            self._warned = time.monotonic()
            _log.warning("more than %d connections: idle ones are closed, the oldest first", self.limit)

    def _expire(self, client: Client) -> None:
        if transport := self._open.get(client):
            self._forget(client)
            transport.close()

    def _forget(self, client: Client) -> None:
        self._stop_timer(client)
        self._receiving.pop(client, None)
        self._open.pop(client, None)

    def _start_timer(self, client: Client) -> None:
        loop = asyncio.get_running_loop()
        self._timers[client] = loop.call_later(self._idle_seconds, self._expire, client)

    def _stop_timer(self, client: Client) -> None:
        if timer := self._timers.pop(client, None):
            timer.cancel()


def protocol(connections: Connections) -> type[asyncio.Protocol]:
    """Return a protocol for `uvicorn.Config(http=...)`: uvicorn's own HTTP/1.1, with counted connections."""

    class CountedProtocol(asyncio.Protocol):
        def __init__(self, **arguments: Any) -> None:
            self._http = H11Protocol(**arguments)
            self._transport: asyncio.Transport | None = None

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self._transport = transport  # type: ignore[assignment]  # of a TCP connection
            self._http.connection_made(transport)  # type: ignore[arg-type]
            connections.opened(transport)  # type: ignore[arg-type]

        def connection_lost(self, exc: Exception | None) -> None:
            if self._transport is not None:
                connections.closed(self._transport)
            self._http.connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            self._http.data_received(data)

        def eof_received(self) -> None:
            self._http.eof_received()

        def pause_writing(self) -> None:
            self._http.pause_writing()

        def resume_writing(self) -> None:
            self._http.resume_writing()

    return CountedProtocol


def _client(transport: asyncio.BaseTransport) -> Client | None:
    """Return the address as the application receives it."""
    address = transport.get_extra_info("peername")
    return (str(address[0]), int(address[1])) if isinstance(address, tuple) else None
