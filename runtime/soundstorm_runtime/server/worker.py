"""One process that serves: uvicorn around the application, on a socket that it is given."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import parent_process

import uvicorn
from fastapi import FastAPI

from ..errors import SoundStormError
from .app import create_app
from .connections import BACKLOG, protocol
from .settings import MOST_BODY, Settings

_log = logging.getLogger(__name__)


def serve_here(settings: Settings, listener: socket.socket, on_ready: Callable[[FastAPI], object]) -> None:
    """Load the voice, then serve until SIGTERM or Ctrl-C; the speech in progress is finished first.

    A second signal ends at once, but not one of several workers: a service manager may signal all processes,
    and their parent does so again. SIGHUP loads the voice and the token again.

    Args:
        listener: A bound socket. It listens once the voice is loaded.
        on_ready: Called when connections are accepted.

    Raises:
        KeyboardInterrupt: Ctrl-C ended it.
        SoundStormError: As `Voice.load`.
    """
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is something to load again
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        http=protocol(app.state.connections),
        ws="websockets-sansio",
        ws_max_size=MOST_BODY,
        ws_per_message_deflate=False,  # what is received may not grow, and audio does not shrink
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=int(settings.time_limit),
    )
    server = uvicorn.Server(config)

    def stop(*_: object) -> None:
        server.should_exit = True

    # Before uvicorn has handlers of its own, and after: it raises the signal again when it has stopped.
    signal.signal(signal.SIGTERM, stop)
    try:
        asyncio.run(_serve(server, app, listener, on_ready))
    finally:
        app.state.speaker.jobs.close()


async def _serve(
    server: uvicorn.Server, app: FastAPI, listener: socket.socket, on_ready: Callable[[FastAPI], object]
) -> None:
    ignores_ctrl_c = signal.getsignal(signal.SIGINT) is signal.SIG_IGN  # a worker leaves it to its parent
    has_parent = parent_process() is not None
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)
    interrupted = False
    reloads: list[asyncio.Task[None]] = []  # referenced, or else the loop may drop them

    def stop(number: signal.Signals) -> None:
        nonlocal interrupted
        interrupted |= number == signal.SIGINT
        if server.should_exit:
            if not has_parent:
                server.force_exit = True
                app.state.speaker.jobs.close()
            return
        left = app.state.speaker.jobs.working + app.state.speaker.jobs.waiting
        _log.info("stopping; %d texts in progress are finished first, a second signal ends at once", left)
        app.state.speaker.is_stopping = True
        server.should_exit = True

    if server.started:
        loop = asyncio.get_running_loop()
        with suppress(NotImplementedError):  # Windows: uvicorn's own handlers stay
            loop.add_signal_handler(signal.SIGTERM, stop, signal.SIGTERM)
            if ignores_ctrl_c:
                signal.signal(signal.SIGINT, signal.SIG_IGN)
            else:
                loop.add_signal_handler(signal.SIGINT, stop, signal.SIGINT)
            if hasattr(signal, "SIGHUP"):
                loop.add_signal_handler(signal.SIGHUP, lambda: reloads.append(loop.create_task(_reload(app))))
        on_ready(app)
    await serving
    if interrupted:
        raise KeyboardInterrupt


async def _reload(app: FastAPI) -> None:
    """Load the voice and the bearer token again; an error is logged, and what was loaded stays."""
    try:
        await asyncio.to_thread(app.state.speaker.reload)
        app.state.token.reload()
    except (SoundStormError, OSError) as error:
        _log.error("not reloaded: %s", error)
    else:
        _log.info("the voice and the token were loaded again")
