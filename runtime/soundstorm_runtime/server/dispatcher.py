"""The engines' work for all requests: one call at a time, the most urgent first, and steps in batches."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from threading import Thread

import numpy as np

from ..decoding.length_batching import MOST_FRAMES, buckets
from ..engines.base import Engine
from ..engines.graphs import Graph, lengths_of
from ..engines.padding import shapes_of
from .request_queue import Job

Results = dict[str, np.ndarray]


class _Call:
    """The feeds of one caller, and the results that it waits for."""

    def __init__(self, engine: SharedEngine, feeds: Mapping[str, np.ndarray], job: Job | None) -> None:
        self.engine = engine
        self.feeds = feeds
        # What all samples of a batch share: the level, the temperature, and lengths that are not padded.
        self.kind = (
            tuple(feeds[name].tobytes() for name in engine.shared),
            tuple(feeds[name].shape[1:] for name in engine.fixed),
        )
        self.job = job
        self.due = -math.inf if job is None else job.due
        self.arrived = time.perf_counter()
        self.results: Future[Results] = Future()

    @property
    def rows(self) -> int:
        """The number of its samples."""
        return self.feeds["codes"].shape[0]

    @property
    def frames(self) -> int:
        """The frames of each."""
        return self.feeds["codes"].shape[1]


class Dispatcher:
    """Runs engines for many threads.

    The call of the job whose next audio is due first is computed first. Jobs without audio are due since they
    arrived, and others when what they have made has been played; so first audio comes before all other, long
    and short texts share the machine, and each text waits for single calls of others and not for their ends.

    A call of an engine that takes batches is joined by others of the same kind and of similar length. Before
    that it waits for further calls, at most `patience` seconds, while fewer threads have called than are
    active: a single caller does not wait. A job without audio comes again soon after a step, and the calls
    that are less urgent wait for it as long: its first audio would else come after as many steps of others.

    Args:
        caller: Called in the caller's thread before each call: returns its job; what it raises stops only
            that caller.
        patience: Seconds.
        company: Returns the number of active callers.
        on_batch: Called with the number of samples of each batch of steps.

    Attributes:
        most_frames: Frames of a batch, all samples together, at most.
    """

    def __init__(
        self,
        caller: Callable[[], Job | None],
        patience: float,
        company: Callable[[], int],
        on_batch: Callable[[int], None],
    ) -> None:
        self.caller = caller
        self.most_frames = MOST_FRAMES
        self._patience = patience
        self._company = company
        self._on_batch = on_batch
        self._returning: list[Job] = []  # those without audio that the last steps were of
        self._returning_until = 0.0
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        Thread(target=self._serve, name="engines", daemon=True).start()

    def share(self, engine: Engine, most: int = 1) -> SharedEngine:
        """Return an engine that runs the calls of `engine` here, in batches of at most `most` samples."""
        return SharedEngine(engine, self, most)

    def submit(self, call: _Call) -> Results:
        """Compute a call when it is its turn."""
        self._calls.put(call)
        return call.results.result()

    def close(self) -> None:
        """End the thread when it has computed the calls before."""
        self._calls.put(None)

    def _serve(self) -> None:
        waiting: list[_Call] = []
        while True:
            if not waiting:
                call = self._calls.get()
                if call is None:
                    return
                waiting.append(call)
            if not self._gather(waiting):
                self._calls.put(None)  # after what is waiting
            batch = self._batch(waiting)
            waiting = [call for call in waiting if call not in batch]
            self._compute(batch)

    def _gather(self, waiting: list[_Call]) -> bool:
        """Add the calls that have arrived, and wait shortly for further ones; return False at the end."""
        while True:
            try:
                call = self._calls.get(timeout=max(0.0, self._wait_until(waiting) - time.perf_counter()))
            except Empty:
                return True
            if call is None:
                return False
            waiting.append(call)

    def _wait_until(self, waiting: Sequence[_Call]) -> float:
        """Return until when further calls are waited for."""
        called = [call.job for call in waiting]
        most_urgent = min(call.due for call in waiting)
        if any(job not in called and job.due < most_urgent for job in self._returning):
            return self._returning_until
        room = max(self._room(call) for call in waiting)
        is_lonely = room > 1 and len(waiting) < min(room, self._company())
        return waiting[0].arrived + self._patience if is_lonely else -math.inf

    def _room(self, call: _Call) -> int:
        """Return how many samples like those of a call fit into a batch."""
        most = call.engine.most
        return 1 if most == 1 else max(1, min(most, self.most_frames // call.frames))

    def _batch(self, waiting: Sequence[_Call]) -> list[_Call]:
        """Return the most urgent call, and those that can share its batch."""
        first = min(waiting, key=lambda call: call.due)
        most = first.engine.most
        if most == 1 or first.rows > 1:
            return [first]
        like = [
            call
            for call in waiting
            if call.engine is first.engine and call.kind == first.kind and call.rows == 1
        ]
        batches = buckets([call.frames for call in like], most, self.most_frames)
        place = like.index(first)
        return next([like[other] for other in batch] for batch in batches if place in batch)

    def _compute(self, batch: Sequence[_Call]) -> None:
        engine = batch[0].engine
        started = time.perf_counter()
        try:
            results = engine.compute([call.feeds for call in batch])
        except Exception as error:  # raised again for the callers
            for call in batch:
                call.results.set_exception(error)
            return
        ended = time.perf_counter()
        self._returning, self._returning_until = [], ended + self._patience
        if engine.graph.name.startswith("step"):
            self._on_batch(sum(call.rows for call in batch))
            self._returning = [call.job for call in batch if call.job and not call.job.has_audio]
        seconds = (ended - started) / len(batch)
        for call, result in zip(batch, results, strict=True):
            if call.job is not None:
                call.job.computed += seconds
            call.results.set_result(result)


class SharedEngine(Engine):
    """An engine whose calls a dispatcher orders. Made by `Dispatcher.share`.

    Attributes:
        most: Largest batch.
        shared: Inputs that all samples of a batch share.
        fixed: Inputs whose shapes all samples of a batch share.
    """

    def __init__(self, engine: Engine, dispatcher: Dispatcher, most: int) -> None:
        super().__init__(engine.graph, engine.axes)
        self.most = most
        self.shared = [tensor.name for tensor in engine.graph.inputs if "batch" not in tensor.axes]
        varying = ("batch", "frames", "prefix")
        self.fixed = [
            tensor.name
            for tensor in engine.graph.inputs
            if any(isinstance(axis, str) and axis not in varying for axis in tensor.axes)
        ]
        self._engine = engine
        self._dispatcher = dispatcher

    def __str__(self) -> str:
        return str(self._engine)

    def padded(self, frames: int) -> int:
        """Return the length, at least `frames`, in which the engine runs fastest."""
        return self._engine.padded(frames)

    def compute(self, feeds: Sequence[Mapping[str, np.ndarray]]) -> list[Results]:
        """Run calls in one batch."""
        if len(feeds) == 1:
            return [self._engine.run(feeds[0])]
        results = self._engine.run(_joined(self.graph, feeds))
        return [
            {name: array[row : row + 1, : own["codes"].shape[1]] for name, array in results.items()}
            for row, own in enumerate(feeds)
        ]

    def _run(self, feeds: Mapping[str, np.ndarray]) -> Results:
        return self._dispatcher.submit(_Call(self, feeds, self._dispatcher.caller()))


def _joined(graph: Graph, feeds: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Stack the samples, padded with zeros to the longest of every axis."""
    each = [lengths_of(graph, own) for own in feeds]
    longest = {axis: max(lengths[axis] for lengths in each) for axis in each[0]}
    shapes = shapes_of(graph.inputs, {**longest, "batch": 1})
    joined = {}
    for tensor in graph.inputs:
        arrays = [own[tensor.name] for own in feeds]
        if "batch" not in tensor.axes:
            joined[tensor.name] = arrays[0]
            continue
        joined[tensor.name] = np.concatenate([_padded(array, shapes[tensor.name]) for array in arrays])
    return joined


def _padded(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Pad every axis with zeros at its end."""
    if array.shape == shape:
        return array
    return np.pad(array, [(0, most - length) for length, most in zip(array.shape, shape, strict=True)])
