"""Calls of several callers: their order, which go together, and that results stay the same."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

from soundstorm_runtime.engines.example_feeds import FeedLimits, example_feeds
from soundstorm_runtime.engines.graphs import CacheShape, check_feeds, step_graph
from soundstorm_runtime.engines.onnx.onnx_engine import OnnxEngine
from soundstorm_runtime.errors import EngineError
from soundstorm_runtime.server.dispatcher import Dispatcher, _joined
from soundstorm_runtime.server.request_queue import Cancelled
from tests.runtime.conftest import CODES, LEVELS, VOCABULARY, step_model

PATIENCE = 30.0  # seconds: longer than a test may take, so that who waits for nobody is noticed


def feeds(frames: int, level: int = 0, seed: int = 0, temperature: float = 1.0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng([seed, frames])
    return {
        "codes": rng.integers(CODES, size=(1, frames, LEVELS)),
        "level": np.array([level]),
        "semantic_tokens": rng.integers(VOCABULARY, size=(1, frames)),
        "lengths": np.array([frames]),
        "uniform": rng.random((1, frames), dtype=np.float32),
        "temperature": np.array([temperature], np.float32),
    }


@pytest.fixture(scope="module")
def engine():
    graph = step_graph(LEVELS)
    return OnnxEngine(graph, step_model(graph).SerializeToString(), threads=1)


@pytest.fixture
def batched(engine):
    """`batched(callers)` is an engine, and the sizes of the batches that it has computed."""

    made: list[Dispatcher] = []

    def make(callers: int, most: int = 16, patience: float = PATIENCE, inner=engine, caller=lambda: None):
        sizes: list[int] = []
        made.append(Dispatcher(caller, patience, lambda: callers, sizes.append))
        return made[-1].share(inner, most), sizes

    yield make
    for dispatcher in made:
        dispatcher.close()


def run_together(engine, calls):
    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(engine.run, calls))


def test_callers_go_together_and_get_what_they_get_alone(engine, batched):
    together, sizes = batched(4)
    calls = [feeds(frames, seed=seed) for seed, frames in enumerate((40, 38, 36, 40))]
    for call, results in zip(calls, run_together(together, calls), strict=True):
        alone = engine.run(call)
        np.testing.assert_array_equal(results["ids"], alone["ids"])
        np.testing.assert_allclose(results["confidence"], alone["confidence"], rtol=1e-5)
    assert sizes == [4]


@pytest.mark.parametrize(
    "others", [{"level": 1}, {"temperature": 0.5}, {"frames": 20}], ids=["level", "temperature", "length"]
)
def test_unlike_callers_go_one_after_the_other(engine, batched, others):
    together, sizes = batched(2, patience=0.2)
    calls = [feeds(40), feeds(**{"frames": 40, **others})]
    for call, results in zip(calls, run_together(together, calls), strict=True):
        np.testing.assert_array_equal(results["ids"], engine.run(call)["ids"])
    assert sizes == [1, 1]


def test_no_more_go_together_than_fit(batched):
    together, sizes = batched(5, most=2)
    together._dispatcher._company = lambda: 5 - sum(sizes)  # the last one is alone
    run_together(together, [feeds(40, seed=seed) for seed in range(5)])
    assert sorted(sizes) == [1, 2, 2]


def test_an_engine_that_takes_one_at_a_time_does_not_wait(batched):
    together, sizes = batched(3, most=1)
    begun = time.perf_counter()
    run_together(together, [feeds(40, seed=seed) for seed in range(3)])
    assert time.perf_counter() - begun < PATIENCE
    assert sizes == [1, 1, 1]


def test_a_call_that_fills_a_batch_waits_for_nobody(batched):
    together, sizes = batched(3)
    together._dispatcher.most_frames = 79  # less than two of 40
    begun = time.perf_counter()
    run_together(together, [feeds(40, seed=seed) for seed in range(3)])
    assert time.perf_counter() - begun < PATIENCE
    assert sizes == [1, 1, 1]


def test_a_caller_by_itself_waits_for_nobody(batched):
    together, sizes = batched(1)
    together.run(feeds(40))
    assert sizes == [1]


def test_the_wait_for_company_is_bounded(batched):
    together, sizes = batched(2, patience=0.2)
    begun = time.perf_counter()
    together.run(feeds(40))
    assert 0.2 <= time.perf_counter() - begun < PATIENCE
    assert sizes == [1]


def test_batches_of_a_caller_stay_whole(engine, batched):
    together, _ = batched(2, patience=0.2)
    rows = [feeds(40, seed=seed) for seed in range(2)]
    shared = {"level", "temperature"}
    several = {n: a if n in shared else np.concatenate([a, rows[1][n]]) for n, a in rows[0].items()}
    whole, _ = run_together(together, [several, feeds(40)])
    np.testing.assert_array_equal(whole["ids"], engine.run(several)["ids"])


def test_a_failure_reaches_all_who_wait_and_ends_nothing(engine, batched):
    class Failing(OnnxEngine):
        fails = True

        def _run(self, given):
            if self.fails:
                raise EngineError("no")
            return super()._run(given)

    graph = step_graph(LEVELS)
    failing = Failing(graph, step_model(graph).SerializeToString(), threads=1)
    together, _ = batched(2, inner=failing)
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(together.run, feeds(40, seed=seed)) for seed in range(2)]
        for future in waiting:
            with pytest.raises(EngineError, match="no"):
                future.result()
    failing.fails = False
    run_together(together, [feeds(40), feeds(40)])


def test_what_is_raised_before_a_step_stops_that_caller_alone(batched):
    def caller():
        raise Cancelled

    together, sizes = batched(1, caller=caller)
    with pytest.raises(Cancelled):
        together.run(feeds(40))
    assert sizes == []


@dataclass
class Caller:
    """What a dispatcher reads of a job, and writes to it."""

    due: float
    computed: float = 0.0
    has_audio: bool = True


@pytest.fixture
def recording():
    """An engine that computes once the gate is open, and the levels in the order that it computed them."""
    order, begun, gate = [], threading.Event(), threading.Event()

    class Recording(OnnxEngine):
        def _run(self, given):
            begun.set()
            gate.wait(PATIENCE)
            order.append(int(given["level"][0]))
            return super()._run(given)

    graph = step_graph(LEVELS)
    made = Recording(graph, step_model(graph).SerializeToString(), threads=1)
    return SimpleNamespace(engine=made, order=order, begun=begun, gate=gate)


def until_waiting(dispatcher: Dispatcher, calls: int) -> None:
    """Wait until so many calls wait for the one that is computed."""
    ends = time.monotonic() + PATIENCE
    while dispatcher._calls.qsize() < calls:
        assert time.monotonic() < ends
        time.sleep(0.005)


def test_the_call_whose_audio_is_due_first_is_computed_first(recording):
    """Whatever the order of arrival; and each job is charged for its share of the computation."""
    here = threading.local()
    dispatcher = Dispatcher(lambda: here.job, 0.0, lambda: 1, lambda _: None)
    shared = dispatcher.share(recording.engine)
    jobs = [Caller(due) for due in (9.0, 5.0, 4.0)]

    def call(level: int):
        here.job = jobs[level]
        return shared.run(feeds(40, level=level))

    with ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(call, 0)]
        assert recording.begun.wait(PATIENCE)  # the first is computed at once: the others arrive while it is
        for level in (1, 2):
            calls.append(pool.submit(call, level))
            until_waiting(dispatcher, level)
        recording.gate.set()
        for done in calls:
            done.result()
    dispatcher.close()
    assert recording.order == [0, 2, 1]
    assert all(job.computed > 0 for job in jobs)


def test_a_text_without_audio_is_not_delayed_by_steps_of_others_between_its_own(recording):
    here = threading.local()
    dispatcher = Dispatcher(lambda: here.job, PATIENCE, lambda: 1, lambda _: None)
    shared = dispatcher.share(recording.engine)
    new, speaking, other = Caller(0.0, has_audio=False), Caller(5.0), Caller(9.0)

    def steps(job: Caller, level: int, count: int) -> None:
        here.job = job
        for step in range(count):
            job.has_audio |= step == count - 1  # or else its next call would be waited for
            shared.run(feeds(40, level=level))

    with ThreadPoolExecutor(3) as pool:
        done = [pool.submit(steps, other, 2, 1)]
        assert recording.begun.wait(PATIENCE)  # it is computed: the others arrive while it is
        done += [pool.submit(steps, speaking, 1, 3), pool.submit(steps, new, 0, 3)]
        until_waiting(dispatcher, 2)
        recording.gate.set()
        for each in done:
            each.result()
    dispatcher.close()
    assert recording.order == [2, 0, 0, 0, 1, 1, 1]


def test_samples_with_prefixes_of_other_lengths_share_a_batch() -> None:
    cache = CacheShape(layers=1, width=4, before=2, channels=3)
    graph, rng = step_graph(LEVELS, cache), np.random.default_rng(0)
    limits = FeedLimits(LEVELS, CODES, VOCABULARY, 0, 1.0)
    alone = [
        example_feeds(graph, limits, {"batch": 1, "frames": frames, "prefix": prefix}, rng)
        for frames, prefix in ((5, 3), (4, 7))
    ]
    joined = _joined(graph, alone)
    check_feeds(graph, joined)
    assert joined["past_keys"].shape == (2, 1, 7, 4)
    assert joined["past_lengths"].tolist() == [3, 7]
    np.testing.assert_array_equal(joined["past_keys"][0, :, :3], alone[0]["past_keys"][0])
    assert not joined["past_keys"][0, :, 3:].any()
