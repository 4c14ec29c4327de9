"""A pool of threads for the requests on the event loop, and a bounded queue before it."""

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
    """The queue is full; `retry_after` is the number of seconds after which a place is likely to be free."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"the queue is full; try again in {retry_after} s")
        self.retry_after = retry_after


class TooSlow(Exception):
    """A job took longer than its time limit."""


class Cancelled(Exception):
    """Raised in the thread of a job that was cancelled, to stop it."""


class Job:
    """Pieces of bytes that a thread makes and the event loop awaits: `async for piece in job`.

    The thread does not wait for a slow reader, so that it is free for the next job when this one is done.
    Pieces that are not yet read are kept in memory; the length of the text bounds them.
    """

    def __init__(self, pieces: Pieces, seconds: float) -> None:
        self.cancelled = False  # before it was finished
        self.timed_out = False
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
            self.timed_out = True
            raise TooSlow from error
        if isinstance(made, BaseException):
            raise made
        return made

    def cancel(self) -> None:
        """Stop the work if it is not finished; the step that is being computed is the last one."""
        if self._finished:
            return
        self.cancelled = True
        self.future.cancel()  # removes it from the queue; a thread that has begun checks `cancelled`

    def run(self) -> None:
        """Do the work, in a thread of the pool."""
        end: BaseException = StopAsyncIteration()
        try:
            with closing(self._pieces()) as pieces:
                for piece in pieces:
                    if self.cancelled:
                        return
                    self._give(piece)
        except Exception as error:  # raised again for the reader of the job
            end = error
        self._finished = not self.cancelled
        self._give(end)

    def _give(self, made: bytes | BaseException) -> None:
        _call_soon(self._loop, self._made.put_nowait, made)


class Jobs:
    """A pool of threads, and a queue of jobs before it. Used from one event loop.

    Args:
        at_once: Threads.
        waiting: Jobs that may wait for a thread.
        seconds: Time limit of a job, including its wait.
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
    def is_full(self) -> bool:
        """Whether the next job would be refused."""
        return len(self._unfinished) >= self._most

    @property
    def working(self) -> int:
        """The number of jobs that have a thread."""
        return self._working

    @property
    def waiting(self) -> int:
        """The number of jobs that wait for a thread."""
        return max(0, len(self._unfinished) - self._working)

    def begin(self, pieces: Pieces) -> Job:
        """Queue a job, which calls `pieces` in a thread. Raises `Busy` if the queue is full."""
        if self.is_full:
            rounds = self._most / self._at_once
            raise Busy(min(60, max(1, math.ceil(rounds * self._usual))))
        job = Job(pieces, self._seconds)
        self._unfinished.add(job)
        job.future = self._pool.submit(self._run, job)
        loop = asyncio.get_running_loop()
        job.future.add_done_callback(lambda _: _call_soon(loop, self._unfinished.discard, job))
        return job

    def check(self) -> None:
        """Raise `Cancelled` in a thread whose job was cancelled; do nothing in other threads."""
        job: Job | None = getattr(self._here, "job", None)
        if job is not None and job.cancelled:
            raise Cancelled

    def close(self) -> None:
        """Cancel all jobs and end the threads."""
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
    """Call a function on the event loop, from any thread; do nothing if the loop has ended."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(function, *arguments)
