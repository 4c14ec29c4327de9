"""Decoding steps of several requests in one batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from threading import Thread

import numpy as np

from ..decoding.length_batching import MOST_FRAMES, buckets
from ..engines.base import Engine
from ..engines.graphs import Graph

Results = dict[str, np.ndarray]


class _Call:
    """The feeds of one caller, and the results that it waits for."""

    def __init__(self, feeds: Mapping[str, np.ndarray], kind: tuple[bytes, ...]) -> None:
        self.feeds = feeds
        self.kind = kind  # the inputs that all samples of a batch share: the level and the temperature
        self.arrived = time.perf_counter()
        self.rows, self.frames = feeds["codes"].shape[:2]
        self.results: Future[Results] = Future()


class BatchingEngine(Engine):
    """Runs the step graph for many threads, several calls in one batch.

    A thread takes the call that has waited longest, and with it the other calls of the same level and
    temperature and of similar length. Before that it waits for further calls, at most `patience` seconds,
    while fewer threads have called than are active: a single caller does not wait.

    Args:
        most: Largest batch; 1 runs the calls one after the other.
        patience: Seconds.
        company: Returns the number of active callers.
        before: Called in the caller's thread before each step; what it raises stops only that caller.
        on_batch: Called with the number of samples of each batch.
    """

    def __init__(
        self,
        engine: Engine,
        most: int,
        patience: float,
        company: Callable[[], int],
        before: Callable[[], None],
        on_batch: Callable[[int], None],
    ) -> None:
        super().__init__(engine.graph, engine.axes)
        self._engine = engine
        self._most = most
        self._patience = patience
        self._company = company
        self._before = before
        self._on_batch = on_batch
        self._shared = [tensor.name for tensor in engine.graph.inputs if "batch" not in tensor.axes]
        self._calls: SimpleQueue[_Call] = SimpleQueue()
        Thread(target=self._serve, name="steps", daemon=True).start()

    def __str__(self) -> str:
        return str(self._engine)

    def padded(self, frames: int) -> int:
        """Return the length in which the engine within runs fastest."""
        return self._engine.padded(frames)

    def _run(self, feeds: Mapping[str, np.ndarray]) -> Results:
        self._before()
        call = _Call(feeds, tuple(feeds[name].tobytes() for name in self._shared))
        self._calls.put(call)
        return call.results.result()

    def _serve(self) -> None:
        waiting: list[_Call] = []
        while True:
            if not waiting:
                waiting.append(self._calls.get())
            self._gather(waiting)
            batch = self._like_the_first(waiting)
            waiting = [call for call in waiting if call not in batch]
            self._compute(batch)

    def _gather(self, waiting: list[_Call]) -> None:
        """Add the calls that have arrived, and wait shortly for further ones."""
        patience_ends = waiting[0].arrived + self._patience
        while True:
            lonely = self._most > 1 and len(waiting) < min(self._most, self._company())
            timeout = max(0.0, patience_ends - time.perf_counter()) if lonely else 0.0
            try:
                waiting.append(self._calls.get(timeout=timeout))
            except Empty:
                return

    def _like_the_first(self, waiting: Sequence[_Call]) -> list[_Call]:
        """Return the call that has waited longest, and those that can share its batch."""
        first = waiting[0]
        if first.rows > 1:
            return [first]
        like = [call for call in waiting if call.kind == first.kind and call.rows == 1]
        batches = buckets([call.frames for call in like], self._most, MOST_FRAMES)
        return next([like[place] for place in batch] for batch in batches if 0 in batch)

    def _compute(self, batch: Sequence[_Call]) -> None:
        self._on_batch(sum(call.rows for call in batch))
        try:
            results = self._engine.run(_joined(self.graph, batch))
        except Exception as error:  # raised again for the callers
            for call in batch:
                call.results.set_exception(error)
            return
        for row, call in enumerate(batch):
            rows = slice(None) if len(batch) == 1 else slice(row, row + 1)
            call.results.set_result({name: array[rows, : call.frames] for name, array in results.items()})


def _joined(graph: Graph, batch: Sequence[_Call]) -> dict[str, np.ndarray]:
    """Stack the samples, padded with zeros to the longest."""
    if len(batch) == 1:
        return dict(batch[0].feeds)
    longest = max(call.frames for call in batch)
    feeds = {}
    for tensor in graph.inputs:
        arrays = [call.feeds[tensor.name] for call in batch]
        if "batch" not in tensor.axes:
            feeds[tensor.name] = arrays[0]
            continue
        if "frames" in tensor.axes:
            arrays = [_padded(array, longest) for array in arrays]
        feeds[tensor.name] = np.concatenate(arrays)
    return feeds


def _padded(array: np.ndarray, frames: int) -> np.ndarray:
    """Pad the second axis, that of frames, with zeros at its end."""
    width = [(0, 0)] * array.ndim
    width[1] = (0, frames - array.shape[1])
    return np.pad(array, width)
