"""Processes that listen: uvicorn around the application, one or several of them on one socket."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import tempfile
from asyncio import TimerHandle
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..bundle.reader import read_bundle
from ..errors import EngineError, OptionError, SoundStormError
from ..support.hardware import default_threads
from ..support.interrupt import follow_parent, starting_processes
from .app import create_app
from .settings import BODY_SECONDS, MOST_CONNECTIONS, TOKEN_VARIABLE, Settings

_log = logging.getLogger(__name__)


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C; what is being spoken then is finished first.

    Raises `OptionError` for an address that cannot be had, and what `Voice.load` does.
    """
    listener = _listen(settings)
    with listener:
        if not settings.is_local and settings.token is None:
            _log.warning(
                "warning: whoever reaches %s can use this voice: there is no token; "
                "set %s, or give --token-file",
                settings.host,
                TOKEN_VARIABLE,
            )
        if settings.workers == 1:
            _serve(settings, listener)
        else:
            with tempfile.TemporaryDirectory(prefix="soundstorm-") as folder:
                _serve_in_processes(settings, listener, folder)


def address(listener: socket.socket) -> str:
    """Return the address of a listening socket as a browser takes it."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


class _Protocol(H11Protocol):
    """HTTP/1.1, with a limit on how long a request's header may take to arrive."""

    _late: TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Take what has arrived; the wait ends with the header."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        super().connection_lost(exc)
        self._forget()

    def _watch(self) -> None:
        if self.conn.their_state is not h11.IDLE:
            self._forget()
        elif self._late is None:
            self._late = self.loop.call_later(BODY_SECONDS, self.transport.close)

    def _forget(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=512)
    except (OSError, OverflowError) as error:
        raise OptionError(
            f"cannot listen on {settings.host} port {settings.port} ({error}); "
            "take another --host or --port (0 finds a free one)"
        ) from error


def _serve(settings: Settings, listener: socket.socket) -> None:
    """Serve in this process."""
    app = create_app(settings)
    if settings.workers == 1:
        _say_ready(settings, listener, app.state.speaker.engine)
    config = uvicorn.Config(
        app,
        http=_Protocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=int(settings.time_limit),
    )
    # The server hands the signal on when it is done: an end that was asked for is no failure.
    signal.signal(signal.SIGTERM, lambda *_: None)
    uvicorn.Server(config).run(sockets=[listener])


def _say_ready(settings: Settings, listener: socket.socket, engine: str) -> None:
    _log.info("serving %s on %s (%s); Ctrl-C stops", settings.bundle, address(listener), engine)


def _serve_in_processes(settings: Settings, listener: socket.socket, folder: str) -> None:
    """Serve in processes of their own, until this one is told to stop or one of them fails."""
    read_bundle(settings.bundle)  # a bad one is told once, and not by every process
    threads = settings.threads or max(1, default_threads() // settings.workers)
    shared = replace(settings, threads=threads, metrics=Path(folder))
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder  # where the library looks, in the processes that start
    context = get_context("spawn")  # an engine's threads do not survive a fork
    failures: SimpleQueue[str] = context.SimpleQueue()
    workers: list[SpawnProcess] = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    try:
        with starting_processes():
            for _ in range(settings.workers):
                workers.append(context.Process(target=_work, args=(shared, listener, failures)))
                workers[-1].start()
        _say_ready(settings, listener, f"{settings.workers} processes of {threads} threads")
        wait([worker.sentinel for worker in workers])
        if failures.empty():
            raise EngineError("a process has ended by itself, and the others were stopped; start them again")
        raise EngineError(failures.get())
    except (KeyboardInterrupt, SystemExit):
        _log.info("stopping; what is being spoken is finished first")
        raise
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.join()


def _work(settings: Settings, listener: socket.socket, failures: SimpleQueue[str]) -> None:
    """Be one of the processes; what keeps it from serving is told by the first process, once."""
    logging.basicConfig(stream=sys.stderr, format="%(message)s")
    follow_parent()
    try:
        _serve(settings, listener)
    except SoundStormError as error:
        failures.put(str(error))
        sys.exit(1)
