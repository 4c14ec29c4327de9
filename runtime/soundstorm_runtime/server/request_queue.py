"""A pool of threads for the requests on the event loop, and a bounded queue before it."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress

Pieces = Callable[[], Generator[bytes, None, None]]

_LONGEST_RETRY = 60  # seconds that a refused client is told to wait at most
_MEMORY = 0.2  # weight of the last job in the moving averages


class Busy(Exception):
    """A job is refused; `retry_after` is the number of seconds after which it would likely be taken on."""

    def __init__(self, reason: str, seconds: float) -> None:
        self.retry_after = min(_LONGEST_RETRY, max(1, math.ceil(seconds)))
        super().__init__(f"{reason}; try again in {self.retry_after} s")


class TooSlow(Exception):
    """A job took longer than its time limit."""


class Cancelled(Exception):
    """Raised in the thread of a job that was cancelled, to stop it."""


class Job:
    """Pieces of bytes that a thread makes and the event loop awaits: `async for piece in job`.

    The thread does not wait for a slow reader, so that it is free for the next job when this one is done.
    Pieces that are not yet read are kept in memory; the length of the text bounds them.

    Args:
        pieces: Makes them.
        characters: Length of its text.
        seconds: Time limit.
        max_wait: Seconds until the computation must have begun.

    Attributes:
        arrived: When it was queued (`time.perf_counter`).
        computed: Seconds that the engines have worked for it.
        future: Done when the work has ended.
        cancelled: Whether it was cancelled before it was finished.
        timed_out: Whether it took longer than its time limit.
        refused: Whether its computation did not begin in time.
    """

    def __init__(
        self, pieces: Pieces, characters: int = 1, seconds: float = math.inf, max_wait: float = math.inf
    ) -> None:
        self.arrived = time.perf_counter()
        self.characters = characters
        self.computed = 0.0
        self.cancelled = self.timed_out = self.refused = False
        self.future: Future[None] = Future()
        self._audio_began: float | None = None
        self._audio = 0.0  # seconds
        self._finished = False
        self._pieces = pieces
        self._max_wait = max_wait
        self._deadline = self.arrived + seconds
        self._loop = asyncio.get_running_loop()
        self._made: asyncio.Queue[bytes | BaseException] = asyncio.Queue()

    @property
    def has_audio(self) -> bool:
        """Whether the first audio has been made."""
        return self._audio_began is not None

    @property
    def due(self) -> float:
        """When its next audio is needed: at once, or when a listener has heard all that there is."""
        return self.arrived if self._audio_began is None else self._audio_began + self._audio

    def add_audio(self, seconds: float) -> None:
        """Count audio that was made."""
        if self._audio_began is None:
            self._audio_began = time.perf_counter()
        self._audio += seconds

    def __aiter__(self) -> Job:
        return self

    async def __anext__(self) -> bytes:
        made = await self._next()
        if isinstance(made, BaseException):
            raise made
        return made

    async def _next(self) -> bytes | BaseException:
        begin_by = self.arrived + self._max_wait
        while True:
            until = self._deadline if self.computed else min(self._deadline, begin_by)
            try:
                return await asyncio.wait_for(
                    self._made.get(), max(0.001, until - time.perf_counter()) if until < math.inf else None
                )
            except asyncio.TimeoutError as error:
                if time.perf_counter() >= self._deadline:
                    self.timed_out = True
                    raise TooSlow from error
                if not self.computed and time.perf_counter() >= begin_by:
                    self.refused = True
                    raise Busy(f"the speech did not begin within {self._max_wait:g} s", 1.0) from error

    def cancel(self) -> None:
        """Stop the work if it is not finished; the step that is being computed is the last one."""
        if self._finished:
            return
        self.cancelled = True
        self.future.cancel()  # one that waits is not begun; a thread that has begun checks `cancelled`

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

    A waiting job is begun in the order of its arrival plus the computation that its text is expected to take:
    short texts overtake long ones, and a long one is overtaken for so long only.

    Args:
        at_once: Threads.
        waiting: Jobs that may wait for a thread.
        seconds: Time limit of a job, including its wait.
        max_wait: Seconds until the first audio of a job; one that is expected to take longer is refused.
    """

    def __init__(self, at_once: int, waiting: int, seconds: float, max_wait: float = math.inf) -> None:
        self._at_once = at_once
        self._most = at_once + waiting
        self._seconds, self._max_wait = seconds, max_wait
        self._first, self._usual, self._per_character = 0.0, 1.0, 0.0
        self._unfinished: set[Job] = set()
        self._queue: list[tuple[float, int, Job]] = []
        self._numbers = itertools.count()
        self._lock = threading.Lock()  # of what threads change
        self._working = 0
        self._here = threading.local()
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix="speech")

    def expect(self, first: float, per_character: float, usual: float) -> None:
        """Set what is expected of jobs until some have been done.

        Args:
            first: Seconds of computation until the first audio.
            per_character: Seconds of computation for each character of a text.
            usual: Seconds of computation of a whole text.
        """
        self._first, self._per_character, self._usual = first, per_character, usual

    @property
    def is_full(self) -> bool:
        """Whether the next job would be refused."""
        return len(self._unfinished) >= self._most or self.expected_wait() > self._max_wait

    @property
    def working(self) -> int:
        """The number of jobs that have a thread."""
        return self._working

    @property
    def waiting(self) -> int:
        """The number of jobs that wait for a thread."""
        return max(0, len(self._unfinished) - self._working)

    @property
    def current(self) -> Job | None:
        """The job of the calling thread."""
        return getattr(self._here, "job", None)

    def expected_wait(self) -> float:
        """Return the seconds until the first audio of another job could be made.

        First audio is computed before all other audio (`Dispatcher`), so each job that has none yet counts
        with its own; where all threads are taken, so many jobs must end before as would be in front.
        """
        silent = sum(not job.has_audio for job in tuple(self._unfinished))
        in_front = max(0, len(self._unfinished) + 1 - self._at_once)
        return silent * self._first + in_front * self._usual

    def admit(self) -> None:
        """Raise `Busy` where another job would have no place, or would wait for too long."""
        if len(self._unfinished) >= self._most:
            raise Busy("the queue is full", self._usual)
        if (wait := self.expected_wait()) > self._max_wait:
            reason = f"the speech would begin in about {wait:.1f} s, and {self._max_wait:g} s are allowed"
            raise Busy(reason, wait - self._max_wait)

    def begin(self, pieces: Pieces, characters: int = 1) -> Job:
        """Queue a job, which calls `pieces` in a thread.

        Args:
            pieces: Makes the pieces.
            characters: Length of the text.

        Raises:
            Busy: There is no place for it, or it would wait for too long.
        """
        self.admit()
        job = Job(pieces, characters, self._seconds, self._max_wait)
        self._unfinished.add(job)
        loop = asyncio.get_running_loop()
        job.future.add_done_callback(lambda _: _call_soon(loop, self._unfinished.discard, job))
        with self._lock:
            start_by = job.arrived + characters * self._per_character
            heapq.heappush(self._queue, (start_by, next(self._numbers), job))
        self._pool.submit(self._run_next)
        return job

    def check(self) -> Job | None:
        """Return the job of the calling thread, None in other threads; raise `Cancelled` if it was."""
        job = self.current
        if job is not None and job.cancelled:
            raise Cancelled
        return job

    def add_audio(self, seconds: float) -> None:
        """Count audio that the job of the calling thread has made."""
        if (job := self.current) is not None:
            if not job.has_audio:
                self._first = _moved(self._first, job.computed)
            job.add_audio(seconds)

    def close(self) -> None:
        """Cancel all jobs and end the threads."""
        for job in tuple(self._unfinished):
            job.cancel()
        self._pool.shutdown(wait=False)

    def _run_next(self) -> None:
        with self._lock:
            _, _, job = heapq.heappop(self._queue)
        if not job.future.set_running_or_notify_cancel():
            return
        with self._lock:
            self._working += 1
        self._here.job = job
        try:
            job.run()
        finally:
            self._here.job = None
            with self._lock:
                self._working -= 1
                if not job.cancelled:
                    self._usual = _moved(self._usual, job.computed)
                    self._per_character = _moved(self._per_character, job.computed / job.characters)
            job.future.set_result(None)


def _moved(average: float, value: float) -> float:
    return average + _MEMORY * (value - average)


def _call_soon(loop: asyncio.AbstractEventLoop, function: Callable[..., object], *arguments: object) -> None:
    """Call a function on the event loop, from any thread; do nothing if the loop has ended."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(function, *arguments)
