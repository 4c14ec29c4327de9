"""A stand-in for `cuda.bindings.runtime`: memory is the host's; work is done when its stream is waited for.

So a result that is read too early, or an input that is changed before it was used, shows. Work that is
captured is kept and done at every launch, with what the memory then holds.
"""

from __future__ import annotations

import ctypes
import enum
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from tests.gpu.recorded import API, check_arguments


class cudaError_t(enum.IntEnum):
    cudaSuccess = 0
    cudaErrorInvalidValue = 1
    cudaErrorMemoryAllocation = 2
    cudaErrorInsufficientDriver = 35
    cudaErrorNoDevice = 100
    cudaErrorStreamCaptureUnsupported = 900


class FakeStream:
    def __init__(self) -> None:
        self.queue: list[Callable[[], None]] = []
        self.captured: list[Callable[[], None]] | None = None

    def __int__(self) -> int:
        return id(self)

    def put(self, work: Callable[[], None]) -> None:
        (self.queue if self.captured is None else self.captured).append(work)


class FakeGraph(list[Callable[[], None]]):
    """What was captured; true like every handle, even where it is empty."""

    def __bool__(self) -> bool:
        return True


class FakeCuda:
    """The module.

    `memory`: bytes of the card. `needs`: the oldest driver that it takes. `calls`: what was called.
    `refuses`: what fails, and how.
    """

    def __init__(
        self, version: str = "13.5.0", *, devices: int = 1, driver: int = 13000, needs: int = 12000,
        memory: int = 1 << 34,
    ) -> None:  # fmt: skip
        self.cudaError_t = cudaError_t
        self.cudaMemcpyKind = enum.IntEnum(
            "cudaMemcpyKind",
            {"cudaMemcpyHostToDevice": 1, "cudaMemcpyDeviceToHost": 2, "cudaMemcpyDeviceToDevice": 3},
        )
        self.cudaStreamCaptureMode = enum.IntEnum(
            "cudaStreamCaptureMode",
            {
                "cudaStreamCaptureModeGlobal": 0,
                "cudaStreamCaptureModeThreadLocal": 1,
                "cudaStreamCaptureModeRelaxed": 2,
            },
        )
        self.cudaStreamNonBlocking, self.cudaHostAllocDefault = 1, 0
        self.name, self.capability, self.multiprocessors = "NVIDIA Fake 1", (9, 0), 16
        self.graphs: set[int] = set()  # that were made and not destroyed
        self.devices, self.driver, self.needs, self.memory = devices, driver, needs, memory
        self.calls: list[str] = []
        self.refuses: dict[str, cudaError_t] = {}
        self.last_error = cudaError_t.cudaSuccess  # of what failed, until it is asked for
        self.taken: dict[int, Any] = {}
        self.streams: dict[int, FakeStream] = {}
        self._parameters = API["cuda"][version]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name not in self._parameters:
            raise AttributeError(f"cuda has no {name}")

        def call(*arguments: Any) -> tuple[Any, ...]:
            check_arguments(name, [self._parameters[name]], arguments, {})
            self.calls.append(name)
            if name in self.refuses:
                return (self.refuses[name], None)
            return getattr(self, f"do_{name}")(*arguments)

        return call

    def do_cudaGetDeviceCount(self) -> tuple[Any, ...]:
        if self.driver < self.needs:
            return cudaError_t.cudaErrorInsufficientDriver, None
        return (cudaError_t(0), self.devices) if self.devices else (cudaError_t.cudaErrorNoDevice, None)

    def do_cudaDriverGetVersion(self) -> tuple[Any, ...]:
        return cudaError_t(0), self.driver

    def do_cudaGetDeviceProperties(self, device: int) -> tuple[Any, ...]:
        name = self.name.encode().ljust(256, b"\0")
        major, minor = self.capability
        return cudaError_t(0), SimpleNamespace(
            name=name, major=major, minor=minor, multiProcessorCount=self.multiprocessors,
            totalGlobalMem=self.memory,
        )  # fmt: skip

    def do_cudaGetErrorString(self, error: Any) -> tuple[Any, ...]:
        return cudaError_t(0), cudaError_t(error).name.encode()

    def do_cudaGetLastError(self) -> tuple[Any, ...]:
        error, self.last_error = self.last_error, cudaError_t.cudaSuccess
        return (error,)

    def do_cudaMemGetInfo(self) -> tuple[Any, ...]:
        return cudaError_t(0), self.memory - sum(map(len, self.taken.values())), self.memory

    def do_cudaMalloc(self, size: int) -> tuple[Any, ...]:
        if size > self.do_cudaMemGetInfo()[1]:
            return cudaError_t.cudaErrorMemoryAllocation, None
        block = (ctypes.c_uint8 * size)(*b"\xa5" * min(size, 64))  # what was there before is no zeros
        self.taken[ctypes.addressof(block)] = block
        return cudaError_t(0), ctypes.addressof(block)

    def do_cudaHostAlloc(self, size: int, flags: int) -> tuple[Any, ...]:
        return self.do_cudaMalloc(size)

    def do_cudaFree(self, pointer: int) -> tuple[Any, ...]:
        del self.taken[pointer]
        return (cudaError_t(0),)

    def do_cudaFreeHost(self, pointer: int) -> tuple[Any, ...]:
        return self.do_cudaFree(pointer)

    def do_cudaStreamCreateWithFlags(self, flags: int) -> tuple[Any, ...]:
        stream = FakeStream()
        self.streams[int(stream)] = stream
        return cudaError_t(0), stream

    def do_cudaMemcpyAsync(
        self, dst: int, src: int, count: int, kind: Any, stream: FakeStream
    ) -> tuple[Any, ...]:
        stream.put(lambda: ctypes.memmove(dst, src, count) and None)
        return (cudaError_t(0),)

    def do_cudaStreamSynchronize(self, stream: FakeStream) -> tuple[Any, ...]:
        queue, stream.queue = stream.queue, []
        for work in queue:
            work()
        return (cudaError_t(0),)

    def do_cudaStreamBeginCapture(self, stream: FakeStream, mode: Any) -> tuple[Any, ...]:
        stream.captured = []
        return (cudaError_t(0),)

    def do_cudaStreamEndCapture(self, stream: FakeStream) -> tuple[Any, ...]:
        captured, stream.captured = stream.captured, None
        return cudaError_t(0), self._graph(captured)

    def do_cudaGraphInstantiate(self, graph: Any, flags: int) -> tuple[Any, ...]:
        return cudaError_t(0), self._graph(graph)

    def do_cudaGraphDestroy(self, graph: Any) -> tuple[Any, ...]:
        self.graphs.remove(id(graph))
        return (cudaError_t(0),)

    def do_cudaGraphExecDestroy(self, graph: Any) -> tuple[Any, ...]:
        return self.do_cudaGraphDestroy(graph)

    def _graph(self, work: Any) -> FakeGraph:
        graph = FakeGraph(work)
        self.graphs.add(id(graph))
        return graph

    def do_cudaGraphLaunch(self, graph: Any, stream: FakeStream) -> tuple[Any, ...]:
        for work in graph:
            stream.put(work)
        return (cudaError_t(0),)
