"""Work for requests: its limits, its end, and that nobody's work goes on for nothing."""

from __future__ import annotations

import asyncio
import math
import threading
from types import SimpleNamespace

import pytest

from soundstorm_runtime.server import request_queue
from soundstorm_runtime.server.request_queue import Busy, Cancelled, Jobs, TooSlow


def run(test):
    """Run an async function to its end, in a loop of its own."""
    return asyncio.run(asyncio.wait_for(test(), 120))


async def until(condition) -> None:
    while not condition():
        await asyncio.sleep(0.005)


@pytest.fixture
def make_jobs():
    made: list[Jobs] = []

    def make(at_once=1, waiting=1, seconds=10.0, max_wait=math.inf) -> Jobs:
        made.append(Jobs(at_once, waiting, seconds, max_wait))
        return made[-1]

    yield make
    for jobs in made:
        jobs.close()


def pieces_until(event: threading.Event):
    """Give pieces for as long as the event is not set."""

    def pieces():
        while not event.wait(0.005):
            yield b"x"

    return pieces


def test_pieces_come_in_order(make_jobs):
    async def test():
        def pieces():
            yield from (b"a", b"b", b"c")

        return [piece async for piece in make_jobs().begin(pieces)]

    assert run(test) == [b"a", b"b", b"c"]


def test_a_failure_comes_after_the_pieces_before_it(make_jobs):
    async def test():
        def pieces():
            yield b"a"
            raise ValueError("no")

        job = make_jobs().begin(pieces)
        assert await anext(job) == b"a"
        with pytest.raises(ValueError, match="no"):
            await anext(job)

    run(test)


def test_a_full_queue_refuses_and_says_when_to_come_back(make_jobs):
    async def test():
        jobs, done = make_jobs(at_once=2, waiting=3), threading.Event()
        taken = [jobs.begin(pieces_until(done)) for _ in range(5)]
        await until(lambda: jobs.working == 2)
        assert jobs.waiting == 3
        with pytest.raises(Busy, match="the queue is full; try again in 1 s") as refused:
            jobs.begin(pieces_until(done))
        assert refused.value.retry_after == 1
        done.set()
        for job in taken:
            async for _ in job:
                pass
        await until(lambda: jobs.working == jobs.waiting == 0)
        jobs.begin(pieces_until(done))

    run(test)


def test_a_cancelled_job_stops_and_makes_room(make_jobs):
    async def test():
        jobs, never = make_jobs(at_once=1, waiting=0), threading.Event()
        job = jobs.begin(pieces_until(never))
        await anext(job)
        job.cancel()
        await until(lambda: jobs.working == jobs.waiting == 0)
        assert job.cancelled

    run(test)


def test_a_cancelled_job_leaves_the_queue_at_once(make_jobs):
    async def test():
        jobs, done = make_jobs(), threading.Event()
        jobs.begin(pieces_until(done))
        second = jobs.begin(pieces_until(done))
        await until(lambda: jobs.working == 1)
        second.cancel()
        await until(lambda: jobs.waiting == 0)
        assert jobs.working == 1
        done.set()

    run(test)


def test_work_looks_between_pieces_whether_it_is_cancelled(make_jobs):
    """As a step does: the thread that works raises, another goes on."""
    stopped = threading.Event()

    async def test():
        jobs = make_jobs()

        def pieces():
            yield b"x"
            try:
                while True:
                    jobs.check()
            except Cancelled:
                stopped.set()
                raise

        job = jobs.begin(pieces)
        await anext(job)
        jobs.check()
        job.cancel()
        await until(stopped.is_set)

    run(test)


def test_a_finished_job_was_not_cancelled(make_jobs):
    async def test():
        job = make_jobs().begin(lambda: (piece for piece in [b"a"]))
        assert [piece async for piece in job] == [b"a"]
        job.cancel()
        assert not job.cancelled

    run(test)


def test_a_job_has_so_much_time_its_wait_included(make_jobs):
    async def test():
        jobs, done = make_jobs(seconds=0.2), threading.Event()
        jobs.begin(pieces_until(done))
        with pytest.raises(TooSlow):
            await anext(jobs.begin(pieces_until(done)))
        done.set()

    run(test)


def test_a_job_that_would_wait_for_too_long_is_refused_with_the_time(make_jobs):
    async def test():
        jobs, done = make_jobs(at_once=4, waiting=4, max_wait=1.0), threading.Event()
        jobs.expect(first=0.4, per_character=0.01, usual=2.0)
        for expected in (0.0, 0.4, 0.8):
            assert jobs.expected_wait() == pytest.approx(expected)
            jobs.begin(pieces_until(done))
        with pytest.raises(Busy, match=r"would begin in about 1\.2 s, and 1 s are allowed; try again in 1 s"):
            jobs.begin(pieces_until(done))
        assert jobs.is_full
        done.set()

    run(test)


def test_jobs_with_audio_delay_no_first_audio(make_jobs):
    async def test():
        jobs, done = make_jobs(at_once=2), threading.Event()
        jobs.expect(first=0.4, per_character=0.01, usual=2.0)

        def pieces():
            jobs.add_audio(3.0)
            yield from pieces_until(done)()

        job = jobs.begin(pieces)
        await anext(job)
        assert job.due >= job.arrived + 3.0
        assert jobs.expected_wait() == 0
        await anext(jobs.begin(pieces))
        assert jobs.expected_wait() == pytest.approx(2.0)  # both threads are taken
        done.set()

    run(test)


def test_a_job_whose_computation_does_not_begin_in_time_is_refused(make_jobs):
    async def test():
        jobs, done = make_jobs(max_wait=0.1), threading.Event()
        jobs.expect(0.0, 0.0, 0.0)
        jobs.begin(pieces_until(done))
        await until(lambda: jobs.working == 1)
        second = jobs.begin(pieces_until(done))
        with pytest.raises(Busy, match=r"did not begin within 0\.1 s"):
            await anext(second)
        assert second.refused
        done.set()

    run(test)


def test_short_texts_overtake_long_ones_for_so_long_only(make_jobs, monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(request_queue, "time", SimpleNamespace(perf_counter=lambda: clock.now))

    async def test():
        jobs, done, order = make_jobs(waiting=9), threading.Event(), []
        jobs.expect(0.0, per_character=0.001, usual=1.0)
        jobs.begin(pieces_until(done))
        await until(lambda: jobs.working == 1)

        def named(name):
            return lambda: (order.append(name) or piece for piece in [b"x"])

        long = jobs.begin(named("long"), characters=200)  # 0.2 s
        short = jobs.begin(named("short"), characters=10)
        clock.now = 0.25
        late = jobs.begin(named("late"), characters=10)
        done.set()
        for job in (long, short, late):
            await anext(job)
        return order

    assert run(test) == ["short", "long", "late"]
