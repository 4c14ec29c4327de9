"""`soundstorm serve`: the socket, and one or several processes that serve on it."""

from __future__ import annotations

import logging
import math
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import NoReturn

from prometheus_client.multiprocess import mark_process_dead

from ..bundle.reader import read_bundle
from ..errors import EngineError, OptionError, SoundStormError
from ..support.hardware import default_threads
from ..support.interrupt import follow_parent, starting_processes
from .settings import TOKEN_VARIABLE, Settings, read_token
from .telemetry.logs import configure_logs
from .worker import serve_here

STABLE_SECONDS = 10.0  # a worker that has served for longer is replaced at once
MOST_FAILURES = 5  # how often a worker and its replacements may end sooner, before the service ends
ORPHAN_SECONDS = 5.0  # that a worker whose parent was killed may finish the texts in progress
_FIRST_DELAY, _LONGEST_DELAY = 0.5, 10.0  # seconds until a worker is replaced, doubled with each failure

_log = logging.getLogger(__name__)


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or Ctrl-C; the speech in progress is finished first.

    Raises:
        OptionError: The address cannot be used, or it is open to other machines without a token.
        SoundStormError: As `Voice.load`.
    """
    configure_logs(settings.log_level, settings.log_format)
    if not settings.is_local and settings.token is None:
        _check_open_address(settings)
    if settings.voice_uploads is not None and settings.token is None:
        raise OptionError(
            f"--voice-uploads lets clients make voices, which needs a token; set {TOKEN_VARIABLE} or give "
            "--token-file"
        )
    with _bind(settings) as listener:
        if settings.workers == 1:
            serve_here(
                settings, listener, lambda app: _say_ready(settings, listener, app.state.speaker.engine)
            )
        else:
            with tempfile.TemporaryDirectory(prefix="soundstorm-") as folder:
                _supervise(settings, listener, folder)


def _check_open_address(settings: Settings) -> None:
    if not settings.insecure:
        raise OptionError(
            f"everyone who reaches {settings.host} could use this voice: there is no token; set "
            f"{TOKEN_VARIABLE} or give --token-file, or give --insecure to allow it"
        )
    _log.warning("warning: everyone who reaches %s can use this voice: there is no token", settings.host)


def _bind(settings: Settings) -> socket.socket:
    """Reserve the address; the socket accepts connections when a worker listens on it."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # elsewhere this would share the port with another program
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise OptionError(
            f"cannot listen on {settings.host} port {settings.port} ({error}); "
            "take another --host or --port (0 finds a free one)"
        ) from error
    return listener


def _address(listener: socket.socket) -> str:
    """Return the URL of a socket."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _say_ready(settings: Settings, listener: socket.socket, engine: str) -> None:
    _log.info("serving %s on %s (%s); Ctrl-C stops", settings.bundle, _address(listener), engine)


@dataclass
class _Worker:
    """A process, and the end of a pipe on which it sends "" when it is ready, or an error message.

    failures: How many of those that it has replaced, one after the other, ended soon.
    ready: When it was ready.
    """

    process: SpawnProcess
    messages: Connection
    failures: int = 0
    ready: float = math.inf

    @property
    def is_ready(self) -> bool:
        """Whether it serves."""
        return self.ready < math.inf

    def read(self) -> None:
        """Read a message. Raises `EngineError` for an error while the voice was loaded."""
        try:
            message = self.messages.recv()
        except EOFError:  # the process has ended
            return
        if message:
            raise EngineError(message)
        self.ready = time.monotonic()


class _Supervisor:
    """Starts workers, and replaces those that end by themselves."""

    def __init__(self, settings: Settings, listener: socket.socket) -> None:
        self._settings = settings
        self._listener = listener
        self._context = get_context("spawn")  # an engine's threads do not survive a fork
        self._has_served = False
        self._due: list[tuple[float, int]] = []  # when workers are to be started, and their `failures`
        self.workers: list[_Worker] = []

    def start(self, failures: int = 0, *, is_restart: bool = False) -> None:
        """Start one worker."""
        ours, theirs = self._context.Pipe(duplex=False)
        settings = replace(self._settings, is_restart=is_restart)
        process = self._context.Process(target=_work, args=(settings, self._listener, theirs))
        with starting_processes():
            process.start()
        theirs.close()
        self.workers.append(_Worker(process, ours, failures))

    def wait(self) -> None:
        """Wait until something happens, and react to it.

        Raises `EngineError` for workers that cannot start, or keep ending.
        """
        timeout = max(0.0, min(self._due)[0] - time.monotonic()) if self._due else None
        events = wait(
            [
                *(worker.process.sentinel for worker in self.workers),
                *(worker.messages for worker in self.workers if not worker.is_ready),
            ],
            timeout,
        )
        for worker in tuple(self.workers):
            if worker.messages in events:
                worker.read()
                self._has_served |= worker.is_ready
            if worker.process.sentinel in events:
                self._replace(worker)
        now = time.monotonic()
        for due in [due for due in self._due if due[0] <= now]:
            self._due.remove(due)
            self.start(due[1], is_restart=True)

    def exit(self, number: int, _: object) -> NoReturn:
        """End the service: the handler of the first signal."""
        self._kill_at_signals()  # before anyone can know of the first
        raise KeyboardInterrupt if number == signal.SIGINT else SystemExit

    def stop(self) -> None:
        """Ask all workers to end, and wait for them; a signal meanwhile kills them."""
        self._kill_at_signals()
        for worker in self.workers:
            worker.process.terminate()
        for worker in self.workers:
            worker.process.join()

    def reload(self, *_: object) -> None:
        """Ask the workers to load the voice and the token again."""
        for worker in self.workers:
            if worker.is_ready and worker.process.pid is not None and worker.process.is_alive():
                os.kill(worker.process.pid, signal.SIGHUP)

    def _kill_at_signals(self) -> None:
        def kill(*_: object) -> None:
            for worker in self.workers:
                worker.process.kill()

        signal.signal(signal.SIGTERM, kill)
        signal.signal(signal.SIGINT, kill)

    def _replace(self, worker: _Worker) -> None:
        self.workers.remove(worker)
        worker.process.join()
        mark_process_dead(worker.process.pid)  # its gauges no longer count
        code = worker.process.exitcode
        is_stable = time.monotonic() - worker.ready > STABLE_SECONDS
        failures = 0 if is_stable else worker.failures + 1
        if failures > MOST_FAILURES or not (worker.is_ready or self._has_served):
            raise EngineError(
                f"worker processes end by themselves, the last one with exit code {code}; see the log above"
            )
        delay = 0.0 if is_stable else min(_LONGEST_DELAY, _FIRST_DELAY * 2 ** (failures - 1))
        _log.error("a worker process has ended with exit code %s; another starts in %g s", code, delay)
        self._due.append((time.monotonic() + delay, failures))


def _supervise(settings: Settings, listener: socket.socket, folder: str) -> None:
    """Serve in several processes until this one is told to stop, or they keep ending."""
    read_bundle(settings.bundle)  # a damaged one is reported once, and not by every process
    threads = settings.threads or max(1, default_threads() // settings.workers)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder  # the library reads it in the processes that start
    supervisor = _Supervisor(replace(settings, threads=threads, metrics=Path(folder)), listener)
    signal.signal(signal.SIGTERM, supervisor.exit)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as a shell's background jobs ignore it
        signal.signal(signal.SIGINT, supervisor.exit)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, supervisor.reload)
    try:
        for _ in range(settings.workers):
            supervisor.start()
        while not all(worker.is_ready for worker in supervisor.workers):
            supervisor.wait()
        _say_ready(settings, listener, f"{settings.workers} processes of {threads} threads")
        while True:
            supervisor.wait()
    except (KeyboardInterrupt, SystemExit):
        _log.info("stopping; the texts in progress are finished first, a second signal ends at once")
        raise
    finally:
        supervisor.stop()


def _work(settings: Settings, listener: socket.socket, messages: Connection) -> None:
    """Serve in a process of its own."""
    configure_logs(settings.log_level, settings.log_format)

    def orphaned() -> None:
        _log.error("the parent process has ended; stopping")
        if settings.metrics is not None:
            shutil.rmtree(settings.metrics, ignore_errors=True)  # the parent cannot remove it any more
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(ORPHAN_SECONDS)
        os._exit(1)

    follow_parent(orphaned)
    try:
        if settings.is_restart and settings.token_file is not None:  # which may have changed since
            settings = replace(settings, token=read_token(settings.token_file))
        serve_here(settings, listener, lambda _: messages.send(""))
    except SoundStormError as error:
        messages.send(str(error))
        sys.exit(1)
