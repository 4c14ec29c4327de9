"""Work in threads for requests on the event loop: so many at once, so many in a queue, no more."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress

Pieces = Callable[[], Generator[bytes, None, None]]


class Busy(Exception):
    """The queue is full. `retry_after` is when it may be worth to ask again, in seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"the queue is full; try again in {retry_after} s")
        self.retry_after = retry_after


class TooSlow(Exception):
    """A job was not done in its time."""


class Cancelled(Exception):
    """A job that nobody waits for any more stops itself with this."""


class Job:
    """Pieces of bytes that a thread makes and the event loop awaits: `async for piece in job`.

    The thread does not wait for a slow reader: it is free for the next job when it is done. What is made
    and not yet read is kept; the text's length bounds it.
    """

    def __init__(self, pieces: Pieces, seconds: float) -> None:
        self.cancelled = False  # before it was finished
        self.future: Future[None] = Future()  # the pool's, once it has the job
        self._finished = False
        self._pieces = pieces
        self._deadline = time.perf_counter() + seconds
        self._loop = asyncio.get_running_loop()
        self._made: asyncio.Queue[bytes | BaseException] = asyncio.Queue()

    def __aiter__(self) -> Job:
        return self

    async def __anext__(self) -> bytes:
        left = self._deadline - time.perf_counter()
        try:
            made = await asyncio.wait_for(self._made.get(), max(left, 0.001))
        except asyncio.TimeoutError as error:
            raise TooSlow from error
        if isinstance(made, BaseException):
            raise made
        return made

    def cancel(self) -> None:
        """Stop the work, if there is any left: a step that runs is finished, another is not begun."""
        if self._finished:
            return
        self.cancelled = True
        self.future.cancel()  # out of the queue; a thread that has begun looks at `cancelled`

    def run(self) -> None:
        """Do the work, in a thread of the pool."""
        end: BaseException = StopAsyncIteration()
        try:
            with closing(self._pieces()) as pieces:
                for piece in pieces:
                    if self.cancelled:
                        return
                    self._give(piece)
        except Exception as error:  # whoever reads the job gets it, whatever it is
            end = error
        self._finished = not self.cancelled
        self._give(end)

    def _give(self, made: bytes | BaseException) -> None:
        _call_soon(self._loop, self._made.put_nowait, made)


class Jobs:
    """A pool of `at_once` threads, and a queue of `waiting` jobs before it. Used from one event loop.

    seconds: that a job may take, its time in the queue included.
    """

    def __init__(self, at_once: int, waiting: int, seconds: float) -> None:
        self._at_once = at_once
        self._most = at_once + waiting
        self._seconds = seconds
        self._unfinished: set[Job] = set()
        self._usual = 1.0  # seconds that a job takes, a moving average
        self._lock = threading.Lock()  # of what threads change
        self._working = 0
        self._here = threading.local()
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix="speech")

    @property
    def working(self) -> int:
        """How many jobs a thread works at."""
        return self._working

    @property
    def waiting(self) -> int:
        """How many jobs no thread has begun."""
        return max(0, len(self._unfinished) - self._working)

    def begin(self, pieces: Pieces) -> Job:
        """Take on a job: `pieces` is called in a thread. Raises `Busy` where the queue is full."""
        if len(self._unfinished) >= self._most:
            rounds = self._most / self._at_once
            raise Busy(min(60, max(1, math.ceil(rounds * self._usual))))
        job = Job(pieces, self._seconds)
        self._unfinished.add(job)
        job.future = self._pool.submit(self._run, job)
        loop = asyncio.get_running_loop()
        job.future.add_done_callback(lambda _: _call_soon(loop, self._unfinished.discard, job))
        return job

    def check(self) -> None:
        """Raise `Cancelled` in a thread whose job was cancelled; elsewhere do nothing."""
        job: Job | None = getattr(self._here, "job", None)
        if job is not None and job.cancelled:
            raise Cancelled

    def close(self) -> None:
        """Stop the threads, with whatever is left undone."""
        for job in tuple(self._unfinished):
            job.cancel()
        self._pool.shutdown(wait=False)

    def _run(self, job: Job) -> None:
        with self._lock:
            self._working += 1
        self._here.job = job
        started = time.perf_counter()
        try:
            job.run()
        finally:
            self._here.job = None
            with self._lock:
                self._working -= 1
                if not job.cancelled:
                    self._usual += 0.2 * (time.perf_counter() - started - self._usual)


def _call_soon(loop: asyncio.AbstractEventLoop, function: Callable[..., object], *arguments: object) -> None:
    """Have the event loop call this, from any thread; nothing where the loop has ended."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(function, *arguments)
