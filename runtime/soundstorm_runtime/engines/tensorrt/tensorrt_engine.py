"""Graphs on TensorRT: buffers allocated once, results copied when the host needs them, CUDA graphs replayed.

Sources: TensorRT's Python API (Runtime, ICudaEngine, IExecutionContext), the same from 10.3 to 11.4 in all
that is used here, and its developer guide on CUDA graphs: a context runs once in new shapes before it is
captured, and a context whose run was captured is not touched again. So each set of shapes that is captured
has a context of its own. The contexts share one stream and the memory of their activations, which is reserved
for the largest shapes that occur and not for the largest that the profile allows
(`IExecutionContext.update_device_memory_size_for_shapes`).
"""

from __future__ import annotations

import logging
import math
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from ...errors import EngineError
from ..base import Engine
from ..cuda_runtime import CapturedGraph, DeviceMemory, out_of_memory
from ..device_array import DeviceArray
from ..graphs import Axis, Graph, Tensor, lengths_of
from ..padding import BUCKET, Shapes, cropped, fill, filled_lengths, shapes_of
from .library import TensorRt
from .runtime_cache import RuntimeCache

_MOST_LANES = 32
_WARM = 512  # frames up to which each bucket is captured when a voice is loaded
_TYPES = {"int64": "INT64", "float32": "FLOAT"}

_log = logging.getLogger(__name__)


class _Lane:
    """An execution context in one set of shapes, and its run as a CUDA graph once it was captured."""

    def __init__(self, context: Any) -> None:
        self.context = context
        self.profile: int | None = None
        self.inputs: Shapes = {}
        self.shapes: Shapes = {}  # of outputs, too
        self.runs = 0
        self.graph: CapturedGraph | None = None
        self.activations: DeviceMemory | None = None  # what the context, or its graph, works in


class TensorRtEngine(Engine):
    """Runs a graph with TensorRT.

    A graph with an axis of padding is run in whole buckets, and captured when a shape comes again.

    Args:
        plan: what TensorRT's builder wrote; `where` names it in messages.
        axes: the lengths that its profiles take.
        most: the largest product of batch and length that occurs; memory is reserved for it, and larger
            shapes reserve more when they come. None: whatever `axes` allow.
        resident: outputs that stay on the GPU until the host looks at them, and inputs that take such.
        chained: whether outputs stay on the GPU and become inputs of the next run, all inputs come from
            arrays of `keep`, and a run returns once it is enqueued: nothing waits until the host looks.
        runtime: TensorRT's `Runtime`, where several engines share one.
        runtime_cache: of an engine of TensorRT for RTX, the file of kernels that it compiles for this GPU:
            read where it exists, and written by `warm_up`.

    Raises:
        EngineError: for a plan that cannot be used, or is not this graph.
    """

    def __init__(
        self,
        graph: Graph,
        plan: bytes,
        axes: Mapping[str, Axis],
        library: TensorRt,
        *,
        where: str = "",
        most: int | None = None,
        resident: frozenset[str] = frozenset(),
        chained: bool = False,
        runtime: Any = None,
        runtime_cache: Path | None = None,
    ) -> None:
        super().__init__(graph, axes)
        self._library, self._cuda, self._trt = library, library.cuda, library.module
        self._where = where or f"the engine of graph '{graph.name}'"
        self._resident, self._chained = resident, chained
        self._in_flight: list[Any] = []  # arrays whose memory enqueued runs use
        self._runtime = runtime or self._trt.Runtime(library.logger)
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        library.messages.raise_interrupt()
        if self._engine is None:
            raise EngineError(
                f"{self._where} cannot be read by {library} ({library.why()}); build it again with "
                "soundstorm-export BUNDLE --tensorrt"
            )
        self._check_signature()
        self._captures = graph.padding is not None
        self._runtime_cache = (
            RuntimeCache(self._trt, self._engine, runtime_cache, captured=self._captures)
            if library.is_rtx
            else None
        )
        self._lock = threading.Lock()
        self._stream = self._cuda.stream()
        self._lanes: OrderedDict[Any, _Lane] = OrderedDict()
        self._profiles = [self._ranges(place) for place in range(self._engine.num_optimization_profiles)]
        self._activations, self._reserved = self._cuda.reserve(1), 1
        for lengths in _largest(self.axes, most):
            filled = filled_lengths(graph, lengths, self.axes)
            self._set_shapes(self._new_lane(), shapes_of(graph.inputs, filled))
        self._buffers = self._make_buffers()

    def __str__(self) -> str:
        return str(self._library)

    def warm_up(self) -> None:
        """Capture each bucket up to 512 frames, so that no sentence has to wait for it.

        A graph that is not captured is not run. What TensorRT for RTX compiled is kept for the next start.
        """
        if self.graph.padding is not None:
            self._capture_buckets(self.graph.padding)
        if self._runtime_cache is not None:
            self._runtime_cache.write()

    def _capture_buckets(self, axis: str) -> None:
        batch, longest = self.axes["batch"].min, min(_WARM, self.axes[axis].max)
        for length in range(BUCKET, longest + 1, BUCKET):
            usual = {symbol: span.opt for symbol, span in self.axes.items()}
            shapes = shapes_of(self.graph.inputs, {**usual, "batch": batch, axis: length})
            feeds = {
                tensor.name: np.full(
                    shapes[tensor.name],
                    tensor.dtype == "float32" or tensor.name.endswith("lengths"),
                    tensor.dtype,
                )
                for tensor in self.graph.inputs
            }
            for _ in range(2):  # the second run is captured
                self._run(feeds)

    def padded(self, frames: int) -> int:
        """Round up to whole buckets."""
        axis = self.graph.padding
        return filled_lengths(self.graph, {axis: frames}, self.axes)[axis] if axis else frames

    def keep(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Copy arrays to the GPU, where a chained engine takes them."""
        with self._lock:
            self._cuda.wait(self._stream)
            self._in_flight.clear()
        return [cast(np.ndarray, DeviceArray.of(self._cuda, array)) for array in arrays]

    def _run_chained(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Enqueue copies of the inputs, the network, and copies of its outputs."""
        with self._lock:
            lane = self._lane({tensor.name: feeds[tensor.name].shape for tensor in self.graph.inputs})
            results: dict[str, np.ndarray] = {}
            for tensor in self.graph.inputs:
                feed: Any = feeds[tensor.name]
                held = feed if isinstance(feed, DeviceArray) else DeviceArray.of(self._cuda, feed)
                fixed = self._buffers[tensor.name][1].pointer
                self._cuda.copy(fixed, held.memory.pointer, _size(tensor, lane), self._stream)
                self._in_flight.append(held)
            if lane.graph is None:
                for name, (_, memory) in self._buffers.items():
                    self._point(lane, name, memory)
            self._go(lane)
            for tensor in self.graph.outputs:
                size, shape = _size(tensor, lane), lane.shapes[tensor.name]
                memory = self._cuda.borrow(size)
                self._cuda.copy(memory.pointer, self._buffers[tensor.name][1].pointer, size, self._stream)
                made = DeviceArray(self._cuda, memory, np.dtype(tensor.dtype), shape, self._stream)
                self._in_flight.append(made)
                results[tensor.name] = cast(np.ndarray, made)
            return results

    def _run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        if self._chained:
            return self._run_chained(feeds)
        with self._lock:
            lengths = lengths_of(self.graph, feeds)
            filled = filled_lengths(self.graph, lengths, self.axes)
            lane = self._lane(shapes_of(self.graph.inputs, filled))
            held = [self._stage(lane, tensor, feeds[tensor.name]) for tensor in self.graph.inputs]
            made = {tensor.name: self._make_room(lane, tensor) for tensor in self.graph.outputs}
            self._go(lane)
            self._cuda.wait(self._stream)
            del held  # memory of the GPU that the run has read
            return {t.name: self._result(lane, t, made[t.name], lengths) for t in self.graph.outputs}

    def _lane(self, shapes: Shapes) -> _Lane:
        """Return the context for these shapes; the least recently used one is dropped for a new one."""
        key = tuple(shapes.values()) if self._captures else None
        lane = self._lanes.get(key)
        if lane is None:
            if len(self._lanes) == _MOST_LANES:
                self._lanes.popitem(last=False)
            lane = self._lanes[key] = self._new_lane()
        self._lanes.move_to_end(key)
        if lane.inputs != shapes:
            try:
                self._set_shapes(lane, shapes)
            except BaseException:
                del self._lanes[key]  # half set
                raise
        return lane

    def _new_lane(self) -> _Lane:
        strategy = self._trt.ExecutionContextAllocationStrategy.USER_MANAGED
        config = strategy if self._runtime_cache is None else self._runtime_cache.config
        context = self._engine.create_execution_context(config)
        if context is None:
            raise EngineError(
                f"{self._where}: {out_of_memory(self._cuda.free_memory())} ({self._library.why()})"
            )
        return _Lane(context)

    def _set_shapes(self, lane: _Lane, shapes: Shapes) -> None:
        """Choose the profile, set the shapes, and give the context memory for them."""
        context, profile = lane.context, self._profile_of(shapes)
        if profile != lane.profile:
            if not context.set_optimization_profile_async(profile, int(self._stream)):
                raise EngineError(f"{self._where} does not take profile {profile}: {self._library.why()}")
            lane.profile = profile
        for name, shape in shapes.items():
            if not context.set_input_shape(name, shape):
                raise EngineError(f"{self._where} does not take {name} {list(shape)}: {self._library.why()}")
        outputs = {t.name: tuple(context.get_tensor_shape(t.name)) for t in self.graph.outputs}
        size = context.update_device_memory_size_for_shapes()
        if size > self._reserved:
            self._cuda.wait(self._stream)  # the profile is set on it
            self._activations, self._reserved = self._cuda.reserve(size), size
        lane.activations = self._activations  # captured runs keep what they were captured with
        context.set_device_memory(self._activations.pointer, self._reserved)
        lane.inputs, lane.shapes, lane.runs = shapes, {**shapes, **outputs}, 0

    def _ranges(self, profile: int) -> dict[str, tuple[tuple[int, ...], tuple[int, ...]]]:
        """Return the smallest and the largest shape of each input that has a symbolic axis."""
        found = {}
        for tensor in self.graph.inputs:
            if any(isinstance(axis, str) for axis in tensor.axes):
                low, _, high = self._engine.get_tensor_profile_shape(tensor.name, profile)
                found[tensor.name] = (tuple(low), tuple(high))
        return found

    def _profile_of(self, shapes: Shapes) -> int:
        """Return the first profile that takes these shapes; 0 where none does, for TensorRT to refuse."""
        for place, ranges in enumerate(self._profiles):
            if all(
                all(
                    low <= length <= high for low, length, high in zip(least, shapes[name], most, strict=True)
                )
                for name, (least, most) in ranges.items()
            ):
                return place
        return 0

    def _make_buffers(self) -> dict[str, tuple[np.ndarray, DeviceMemory]]:
        """Make pinned memory and memory of the GPU for each tensor that moves, as long as it may get."""
        most = {symbol: axis.max for symbol, axis in self.axes.items()}
        context = self._new_lane().context
        shapes = shapes_of(self.graph.inputs, most)
        profile = self._profile_of(shapes)
        context.set_optimization_profile_async(profile, int(self._stream))
        for name, shape in shapes.items():
            context.set_input_shape(name, shape)
        shapes |= {t.name: tuple(context.get_tensor_shape(t.name)) for t in self.graph.outputs}
        sizes = {
            tensor.name: math.prod(shapes[tensor.name]) * np.dtype(tensor.dtype).itemsize
            for tensor in self.graph.inputs + self.graph.outputs
            if tensor.name not in self._resident
        }
        return {
            name: (self._cuda.host_memory(size), self._cuda.reserve(size)) for name, size in sizes.items()
        }

    def _stage(self, lane: _Lane, tensor: Tensor, feed: np.ndarray) -> DeviceMemory:
        """Put a feed where the run finds it: in pinned memory, zeros where it is padded, or on the GPU.

        Gives the memory of the GPU that the run will read.
        """
        if tensor.name in self._resident:
            held = feed if isinstance(feed, DeviceArray) else DeviceArray.of(self._cuda, feed)
            self._point(lane, tensor.name, held.memory)
            return held.memory
        fill(self._staged(lane, tensor), feed)
        memory = self._buffers[tensor.name][1]
        if lane.graph is None:
            self._point(lane, tensor.name, memory)
        return memory

    def _make_room(self, lane: _Lane, tensor: Tensor) -> DeviceMemory | None:
        """Set where an output is written; returns the memory of one that stays on the GPU."""
        memory = None
        if tensor.name in self._resident:
            memory = self._cuda.borrow(math.prod(lane.shapes[tensor.name]) * np.dtype(tensor.dtype).itemsize)
        if lane.graph is None:
            self._point(lane, tensor.name, memory or self._buffers[tensor.name][1])
        return memory

    def _point(self, lane: _Lane, name: str, memory: DeviceMemory) -> None:
        if not lane.context.set_tensor_address(name, memory.pointer):
            raise EngineError(f"{self._where} does not take an address for {name}: {self._library.why()}")

    def _staged(self, lane: _Lane, tensor: Tensor) -> np.ndarray:
        """See the pinned memory of a tensor in the shape of the run."""
        shape, dtype = lane.shapes[tensor.name], np.dtype(tensor.dtype)
        size = math.prod(shape) * dtype.itemsize
        return self._buffers[tensor.name][0][:size].view(dtype).reshape(shape)

    def _result(
        self, lane: _Lane, tensor: Tensor, memory: DeviceMemory | None, lengths: Mapping[str, int]
    ) -> np.ndarray:
        """Take an output: a copy without the padding, or what stays on the GPU."""
        if memory is not None:
            stays = DeviceArray(self._cuda, memory, np.dtype(tensor.dtype), lane.shapes[tensor.name])
            return cast(np.ndarray, stays)
        return cropped(self._staged(lane, tensor), tensor, lengths)

    def _go(self, lane: _Lane) -> None:
        """Run: in new shapes by a plain call, which TensorRT needs first; again by a CUDA graph."""
        if lane.graph is None and self._captures and lane.runs:
            try:
                lane.graph = self._cuda.capture(lambda: self._enqueue(lane), self._stream)
            except EngineError as error:
                self._captures = False
                self._lanes = OrderedDict({None: lane})  # the others are freed with their graphs
                _log.warning(
                    "%s cannot be captured as a CUDA graph (%s); each run is enqueued", self._where, error
                )
        if lane.graph is None:
            self._enqueue(lane)
        else:
            self._cuda.launch(lane.graph, self._stream)
        lane.runs += 1

    def _enqueue(self, lane: _Lane) -> None:
        """Put all of a run on the stream: inputs to the GPU, the network, outputs back."""
        copied = set() if self._chained else {t.name for t in self.graph.inputs + self.graph.outputs}
        copied -= self._resident
        for tensor in self.graph.inputs:
            if tensor.name in copied:
                self._cuda.upload(
                    self._buffers[tensor.name][1].pointer, self._staged(lane, tensor), self._stream
                )
        if not lane.context.execute_async_v3(int(self._stream)):
            raise EngineError(f"{self._where} failed to run: {self._library.why()}; run soundstorm doctor")
        for tensor in self.graph.outputs:
            if tensor.name in copied:
                self._cuda.download(
                    self._staged(lane, tensor), self._buffers[tensor.name][1].pointer, self._stream
                )

    def _check_signature(self) -> None:
        """Raise `EngineError` unless the plan has the names, types and axes of the graph, all on the GPU."""
        engine = self._engine
        names = [engine.get_tensor_name(place) for place in range(engine.num_io_tensors)]
        found = {name: self._described(name) for name in names}
        expected = {
            tensor.name: (kind, _TYPES[tensor.dtype], "DEVICE", tensor.axes)
            for kind, tensors in (("INPUT", self.graph.inputs), ("OUTPUT", self.graph.outputs))
            for tensor in tensors
        }
        same = found.keys() == expected.keys() and all(
            found[name][:-1] == facts[:-1] and _fits(found[name][-1], facts[-1])
            for name, facts in expected.items()
        )
        if not same:
            raise EngineError(
                f"{self._where} has the tensors {found}, expected {expected}; build it again with "
                "soundstorm-export BUNDLE --tensorrt"
            )

    def _described(self, name: str) -> tuple[str, str, str, tuple[int, ...]]:
        engine = self._engine
        return (
            engine.get_tensor_mode(name).name,
            engine.get_tensor_dtype(name).name,
            engine.get_tensor_location(name).name,
            tuple(engine.get_tensor_shape(name)),
        )


def _size(tensor: Tensor, lane: _Lane) -> int:
    """Return the bytes of a tensor in the shapes of a run."""
    return math.prod(lane.shapes[tensor.name]) * np.dtype(tensor.dtype).itemsize


def _largest(axes: Mapping[str, Axis], most: int | None) -> Iterator[dict[str, int]]:
    """Yield, for each size of a batch, the longest lengths that occur; those that take most memory first.

    most: the largest product of batch and length; None for the longest that the axes allow.
    """
    batches = range(axes["batch"].min, axes["batch"].max + 1) if most else [axes["batch"].max]
    for batch in batches:
        longest = {
            name: max(axis.min, min(axis.max, most // batch if most else axis.max))
            for name, axis in axes.items()
        }
        yield {**longest, "batch": batch}


def _fits(shape: tuple[int, ...], axes: tuple[str | int, ...]) -> bool:
    """Compare rank and lengths that both sides know; -1 is one that TensorRT does not."""
    return len(shape) == len(axes) and all(
        found == want for found, want in zip(shape, axes, strict=True) if isinstance(want, int) and found >= 0
    )
