"""The few calls of CUDA's runtime that an engine needs, through cuda-python; its errors in words.

Sources: CUDA Runtime API (device, memory, stream and graph management); cuda-python 12.6, whose calls are
in `cuda.cudart` and `cuda.bindings.runtime`, and 13, which has the latter alone. Each call gives a tuple:
an error code, then its results.
"""

from __future__ import annotations

import ctypes
import importlib
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import EngineError

MODULES = ("cuda.bindings.runtime", "cuda.cudart")  # the newer layout first

_SMALLEST = 256  # bytes that are borrowed at once


@dataclass(frozen=True)
class Gpu:
    """The GPU of this machine.

    compute_capability: such as '8.7'. driver: the newest CUDA version that the driver supports.
    multiprocessors, memory: their number, and MiB; boards of one name differ in both.
    """

    name: str
    compute_capability: str
    driver: str
    multiprocessors: int
    memory: int


class DeviceMemory:
    """Memory of the GPU; `give_back` gets its address once nobody uses it."""

    def __init__(self, pointer: int, give_back: Callable[[int], object]) -> None:
        self.pointer = pointer
        weakref.finalize(self, give_back, pointer)


class CapturedGraph:
    """A sequence of GPU work that `Cuda.launch` repeats; freed once nobody refers to it."""

    def __init__(self, handle: Any, destroy: Callable[[Any], object]) -> None:
        self.handle = handle
        weakref.finalize(self, destroy, handle)


class Cuda:
    """CUDA on its first device. `open_cuda` makes one, once it has seen that there is such a device.

    Every method raises `EngineError` that says what failed, and what to do where memory ran out.
    """

    def __init__(self, api: Any, gpu: Gpu) -> None:
        self._api = api
        self.gpu = gpu
        self._pools: dict[int, list[int]] = {}
        weakref.finalize(self, _free, api, self._pools)
        self.copies = self.stream()  # what is copied on its own is not caught up in the capture of a run

    def reserve(self, size: int) -> DeviceMemory:
        """Allocate so many bytes on the GPU for long use; the memory is not cleared."""
        return DeviceMemory(int(self._call("cudaMalloc", max(size, 1))), self._api.cudaFree)

    def borrow(self, size: int) -> DeviceMemory:
        """Allocate so many bytes on the GPU for a few runs, from released memory where there is some."""
        rounded = max(_SMALLEST, 1 << (size - 1).bit_length())
        pool = self._pools.setdefault(rounded, [])
        try:
            pointer = pool.pop()
        except IndexError:
            pointer = int(self._call("cudaMalloc", rounded))
        return DeviceMemory(pointer, pool.append)

    def host_memory(self, size: int) -> np.ndarray:
        """Allocate pinned memory, uint8 [size], which the GPU reads and writes without a further copy."""
        pointer = int(self._call("cudaHostAlloc", max(size, 1), self._api.cudaHostAllocDefault))
        block = (ctypes.c_uint8 * size).from_address(pointer)
        weakref.finalize(block, self._api.cudaFreeHost, pointer)
        return np.ctypeslib.as_array(block)

    def stream(self) -> Any:
        """Make a stream that waits for no other."""
        return self._call("cudaStreamCreateWithFlags", self._api.cudaStreamNonBlocking)

    def upload(self, pointer: int, array: np.ndarray, stream: Any) -> None:
        """Begin to copy a contiguous array to the GPU; leave both alone until `wait`."""
        kind = self._api.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("cudaMemcpyAsync", pointer, array.ctypes.data, array.nbytes, kind, stream)

    def download(self, array: np.ndarray, pointer: int, stream: Any) -> None:
        """Begin to fill a contiguous array from the GPU; leave both alone until `wait`."""
        kind = self._api.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("cudaMemcpyAsync", array.ctypes.data, pointer, array.nbytes, kind, stream)

    def copy(self, target: int, source: int, size: int, stream: Any) -> None:
        """Enqueue a copy of `size` bytes within the GPU's memory."""
        kind = self._api.cudaMemcpyKind.cudaMemcpyDeviceToDevice
        self._call("cudaMemcpyAsync", target, source, size, kind, stream)

    def wait(self, stream: Any) -> None:
        """Wait until all work of a stream is done."""
        self._call("cudaStreamSynchronize", stream)

    def capture(self, work: Callable[[], None], stream: Any) -> CapturedGraph:
        """Record the work that `work` enqueues on a stream, without running it.

        Raises whatever `work` raises, and `EngineError` where CUDA cannot capture it; nothing stays allocated
        then, and the stream can be used again.
        """
        self._call(
            "cudaStreamBeginCapture", stream, self._api.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        )
        try:
            work()
        except BaseException:
            _, *partial = self._api.cudaStreamEndCapture(stream)
            if partial and partial[0]:
                self._api.cudaGraphDestroy(partial[0])
            self._api.cudaGetLastError()  # clears the error, which the next call would return
            raise
        graph = self._call("cudaStreamEndCapture", stream)
        try:
            executable = self._call("cudaGraphInstantiate", graph, 0)
        finally:
            self._api.cudaGraphDestroy(graph)
        return CapturedGraph(executable, self._api.cudaGraphExecDestroy)

    def launch(self, graph: CapturedGraph, stream: Any) -> None:
        """Enqueue what was captured."""
        self._call("cudaGraphLaunch", graph.handle, stream)

    def _call(self, name: str, *arguments: Any) -> Any:
        code, *results = getattr(self._api, name)(*arguments)
        errors = self._api.cudaError_t
        if code == errors.cudaSuccess:
            return results[0] if results else None
        if code == errors.cudaErrorMemoryAllocation:
            raise out_of_memory(self.free_memory(), arguments[0] if arguments else 0)
        raise EngineError(
            f"{name} failed: {_reason(self._api, code)}; run soundstorm doctor, or take --provider cpu"
        )

    def free_memory(self) -> tuple[int, int]:
        """Return how many bytes of the GPU's memory are free, and how many there are."""
        code, free, total = self._api.cudaMemGetInfo()
        return (int(free), int(total)) if code == self._api.cudaError_t.cudaSuccess else (0, 0)


def out_of_memory(memory: tuple[int, int], wanted: int = 0) -> EngineError:
    """Make the error for memory that ran out: what there is, what was asked for, what to do."""
    free, total = (round(size / 2**20) for size in memory)
    asked = f"{round(wanted / 2**20)} MiB were asked for" if wanted else "more was asked for"
    return EngineError(
        f"the GPU's memory is full: {free} of {total} MiB are free, {asked}; end other programs, or build "
        "engines for shorter speech and smaller batches: soundstorm-export BUNDLE --tensorrt "
        "--frames 1,250,1000 --batch 1,1,1"
    )


def open_cuda() -> Cuda:
    """Look for a GPU, and give CUDA on it.

    Raises `EngineError` that says whether cuda-python, the driver or the card is missing, and what to do.
    """
    api = _import()
    try:
        code, count = api.cudaGetDeviceCount()
        version = api.cudaDriverGetVersion()[1] or 0
    except RuntimeError as error:  # cuda-python 12 where there is no driver at all
        raise EngineError(f"no NVIDIA driver answers ({error}); {_NO_DRIVER}") from error
    errors = api.cudaError_t
    if code == errors.cudaErrorInsufficientDriver and version:
        raise EngineError(
            f"the NVIDIA driver supports CUDA up to {_dotted(version)}, the installed cuda-python needs a "
            f"newer one; {_driver_advice(version)}"
        )
    if code == errors.cudaErrorInsufficientDriver:
        raise EngineError(f"no NVIDIA driver answers ({_reason(api, code)}); {_NO_DRIVER}")
    if code != errors.cudaSuccess or not count:
        reason = _reason(api, code) if code != errors.cudaSuccess else "the driver counts 0 of them"
        raise EngineError(f"no GPU can be used ({reason}); look at nvidia-smi, or take --provider cpu")
    code, device = api.cudaGetDeviceProperties(0)
    if code != errors.cudaSuccess:
        raise EngineError(f"the GPU does not answer ({_reason(api, code)}); look at nvidia-smi, or restart")
    gpu = Gpu(
        name=device.name.split(b"\0")[0].decode("utf-8", "replace"),
        compute_capability=f"{device.major}.{device.minor}",
        driver=_dotted(version),
        multiprocessors=int(device.multiProcessorCount),
        memory=int(device.totalGlobalMem) >> 20,
    )
    return Cuda(api, gpu)


def _driver_advice(version: int) -> str:
    """Return what to install for a driver that supports CUDA up to `version`, such as 12060."""
    if version < 12000:
        return "update the driver"
    return (
        "update the driver, or install what its CUDA 12 runs: pip uninstall tensorrt tensorrt-cu13 "
        "cuda-python, then pip install 'soundstorm-edge[tensorrt-cu12]'"
    )


def _free(api: Any, pools: dict[int, list[int]]) -> None:
    for pool in pools.values():
        for pointer in pool:
            api.cudaFree(pointer)


_NO_DRIVER = "install the driver of the GPU, or take --provider cpu"


def _import() -> Any:
    for name in MODULES:
        try:
            return importlib.import_module(name)
        except ImportError as error:
            reason = error
    raise EngineError(f"cuda-python is missing ({reason}); pip install 'soundstorm-edge[tensorrt]'")


def _reason(api: Any, code: Any) -> str:
    try:
        return api.cudaGetErrorString(code)[1].decode("utf-8", "replace")
    except RuntimeError:  # cuda-python 12 asks the driver, which may be what is missing
        return str(code)


def _dotted(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"
