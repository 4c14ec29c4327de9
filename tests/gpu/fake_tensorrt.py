"""A stand-in for `tensorrt` and `tensorrt_rtx`, of any recorded version: a plan is the ONNX file, and ONNX
Runtime runs it.

It is as strict as TensorRT about order and kind: shapes before a run, within the profile, addresses for all
tensors, one run in new shapes before a capture, and no touch of a context that was captured.
"""

from __future__ import annotations

import ctypes
import json
import time
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
from onnx import load

from tests.gpu.fake_cuda import FakeCuda
from tests.gpu.recorded import RTX, enums, strict

DTYPES = {"tensor(int64)": ("INT64", np.int64), "tensor(float)": ("FLOAT", np.float32)}
SEPARATOR = b"\0profile\0"


def fake_tensorrt(version: str, cuda: FakeCuda, *, refuses: dict[str, Any] | None = None) -> Any:
    """Make the module.

    refuses: what is to go wrong: 'parse' (node number, name, operator, reason), 'build' (a complaint),
    'capture', 'deserialize' (a complaint), 'cache' (a timing cache that is of another card), 'interrupt'.
    """
    refuses = refuses or {}
    names = enums(version)
    asked = SimpleNamespace(
        flags=set(), parser_flags=set(), network_flags=None, pools={}, compatibility=None, caches=[],
        host_code=False, capabilities={}, kernels=[], specialization=[],
    )  # fmt: skip

    class ILogger:
        Severity = SimpleNamespace(INTERNAL_ERROR=0, ERROR=1, WARNING=2, INFO=3, VERBOSE=4)

        def __init__(self) -> None:
            pass

    class IProgressMonitor:
        def __init__(self) -> None:
            pass

    loggers: list[Any] = []

    def heard(logger: Any) -> None:
        """Take a logger: the first of the process gets all messages."""
        loggers.append(logger)

    def complain(message: str) -> None:
        callback(loggers[0].log, ILogger.Severity.ERROR, message)

    class ITensor:
        def __init__(self, name: str) -> None:
            self._name = name

        name = property(lambda self: self._name)
        is_shape_tensor = property(lambda self: self._name in refuses.get("shape tensors", ()))

    class INetworkDefinition:
        _model: Any = None
        _source = b""

        num_inputs = property(lambda self: len(self._model.graph.input))

        def get_input(self, index: int) -> Any:
            return made["ITensor"](self._model.graph.input[index].name)

    class ParserError:
        def __init__(self, facts: tuple[Any, ...]) -> None:
            self._facts = facts

        node = lambda self: self._facts[0]  # noqa: E731
        node_name = lambda self: self._facts[1]  # noqa: E731
        node_operator = lambda self: self._facts[2]  # noqa: E731
        desc = lambda self: self._facts[3]  # noqa: E731

    class OnnxParser:
        def __init__(self, network: Any, logger: Any) -> None:
            self._network = network

        num_errors = property(lambda self: int("parse" in refuses))

        def set_flag(self, flag: Any) -> None:
            asked.parser_flags.add(names["OnnxParserFlag"](flag).name)

        def get_error(self, index: int) -> Any:
            return made["ParserError"](refuses["parse"])

        def parse_from_file(self, model: str) -> bool:
            self._network._model, self._network._source = load(model), model.encode()
            return "parse" not in refuses

    class ITimingCache:
        def __init__(self, content: bytes) -> None:
            self._content = content

        def serialize(self) -> bytes:
            return self._content + b"t"

    class IOptimizationProfile:
        def __init__(self) -> None:
            self._shapes: dict[str, list[list[int]]] = {}

        def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
            self._shapes[input] = [list(min), list(opt), list(max)]

    class IBuilderConfig:
        def __init__(self) -> None:
            self._profiles: list[Any] = []

        progress_monitor: Any = None
        num_compute_capabilities = 0
        hardware_compatibility_level: Any = None

        def clear_flag(self, flag: Any) -> None:
            asked.flags.discard(names["BuilderFlag"](flag).name)

        def set_flag(self, flag: Any) -> None:
            asked.flags.add(names["BuilderFlag"](flag).name)

        def set_compute_capability(self, compute_capability: Any, index: int) -> bool:
            asked.capabilities[index] = names["ComputeCapability"](compute_capability).name
            return bool(0 <= index < self.num_compute_capabilities)

        def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
            asked.pools[names["MemoryPoolType"](pool).name] = pool_size

        def create_timing_cache(self, serialized_timing_cache: bytes) -> Any:
            asked.caches.append(serialized_timing_cache)
            if serialized_timing_cache.strip(b"t"):  # damaged
                return None
            return made["ITimingCache"](serialized_timing_cache)

        def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
            if cache is None:
                raise TypeError("set_timing_cache(): incompatible function arguments")
            return not ("cache" in refuses and cache._content)

        def add_optimization_profile(self, profile: Any) -> int:
            self._profiles.append(profile)
            return len(self._profiles) - 1

    class Builder:
        def __init__(self, logger: Any) -> None:
            heard(logger)

        def create_network(self, flags: int = 0) -> Any:
            asked.network_flags = flags
            return made["INetworkDefinition"]()

        def create_builder_config(self) -> Any:
            asked.flags.add("TF32")  # the default
            return made["IBuilderConfig"]()

        def create_optimization_profile(self) -> Any:
            return made["IOptimizationProfile"]()

        def build_serialized_network(self, network: Any, config: Any) -> bytes | None:
            asked.compatibility = config.hardware_compatibility_level
            monitor = config.progress_monitor
            callback(monitor.phase_start, "Building Engine", None, 2)
            callback(monitor.phase_start, "Timing", "Building Engine", 9)
            goes_on = bool(callback(monitor.step_complete, "Timing", 0))
            for step in range(refuses.get("steps", 1)):
                goes_on = goes_on and bool(callback(monitor.step_complete, "Building Engine", step))
                if "steps" in refuses:
                    time.sleep(0.01)
            callback(monitor.phase_finish, "Timing")
            callback(monitor.phase_finish, "Building Engine")
            if "build" in refuses or not goes_on:
                complain(refuses.get("build", "cancelled"))
                return None
            profiles = json.dumps([profile._shapes for profile in config._profiles]).encode()
            return network._model.SerializeToString() + SEPARATOR + profiles

    class ICudaEngine:
        def __init__(self, plan: bytes) -> None:
            model, profile = plan.split(SEPARATOR)
            self._profiles = json.loads(profile)
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            options.log_severity_level = 3
            self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
            self._inputs = {tensor.name: tensor for tensor in self._session.get_inputs()}
            self._tensors = {
                **self._inputs,
                **{tensor.name: tensor for tensor in self._session.get_outputs()},
            }

        num_io_tensors = property(lambda self: len(self._tensors))
        num_optimization_profiles = property(lambda self: len(self._profiles))

        def get_tensor_profile_shape(self, name: str, profile_index: int) -> Any:
            return [tuple(shape) for shape in self._profiles[profile_index][name]]

        def get_tensor_name(self, index: int) -> str:
            return list(self._tensors)[index]

        def get_tensor_mode(self, name: str) -> Any:
            return names["TensorIOMode"]["INPUT" if name in self._inputs else "OUTPUT"]

        def get_tensor_dtype(self, name: str) -> Any:
            return names["DataType"][DTYPES[self._tensors[name].type][0]]

        def get_tensor_location(self, name: str) -> Any:
            return names["TensorLocation"]["DEVICE"]

        def get_tensor_shape(self, name: str) -> Any:
            return [axis if isinstance(axis, int) else -1 for axis in self._tensors[name].shape]

        def create_runtime_config(self) -> Any:
            return made["IRuntimeConfig"]()

        def create_execution_context(self, strategy: Any) -> Any:
            if version == RTX:  # a runtime configuration
                asked.specialization.append(strategy.dynamic_shapes_kernel_specialization_strategy.name)
                strategy._cache._kernels += b"k"
                strategy = strategy._strategy
            assert names["ExecutionContextAllocationStrategy"](strategy).name == "USER_MANAGED"
            return made["IExecutionContext"](self)

    class IRuntimeCache:
        def __init__(self) -> None:
            self._kernels = b""

        def deserialize(self, blob: bytes) -> bool:
            asked.kernels.append(blob)
            fits = not blob.strip(b"k")  # else it is damaged
            self._kernels = blob if fits else self._kernels
            return fits

        def serialize(self) -> bytes:
            return self._kernels

    class IRuntimeConfig:
        dynamic_shapes_kernel_specialization_strategy: Any = None

        def create_runtime_cache(self) -> Any:
            return made["IRuntimeCache"]()

        def set_runtime_cache(self, cache: Any) -> bool:
            self._cache = cache
            return True

        def set_execution_context_allocation_strategy(self, strategy: Any) -> None:
            self._strategy = strategy

    class IExecutionContext:
        def __init__(self, engine: Any) -> None:
            self._engine, self._shapes, self._addresses = engine, {}, {}
            self._memory, self._is_warm, self._is_captured = None, False, False
            self._profile: Any = None

        def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
            self._touch()
            self._profile, self._shapes = self._engine._profiles[profile_index], {}
            return stream_handle in cuda.streams

        def update_device_memory_size_for_shapes(self) -> int:
            assert self._shapes.keys() == self._engine._inputs.keys(), "set all shapes first"
            return activations(self._shapes)

        def set_device_memory(self, memory: int, size: int) -> None:
            self._touch()
            assert size >= activations(self._shapes), "the memory is too small for the shapes"
            self._memory = memory

        def set_input_shape(self, name: str, shape: Any) -> bool:
            self._touch()
            assert self._profile is not None, "no profile was set"
            low, _, high = self._profile.get(name, [shape] * 3)
            if not all(a <= b <= c for a, b, c in zip(low, shape, high, strict=True)):
                return False
            self._shapes[name], self._is_warm = tuple(shape), False
            return True

        def get_tensor_shape(self, name: str) -> tuple[int, ...]:
            if name in self._shapes:
                return self._shapes[name]
            feeds = {n: np.zeros(self._shapes[n], DTYPES[t.type][1]) for n, t in self._engine._inputs.items()}
            feeds = {n: feed + 1 if n in ("temperature", "lengths") else feed for n, feed in feeds.items()}
            return self._engine._session.run([name], feeds)[0].shape

        def set_tensor_address(self, name: str, memory: int) -> bool:
            self._touch()
            self._addresses[name] = memory
            return memory != 0

        def execute_async_v3(self, stream_handle: int) -> bool:
            stream = cuda.streams[stream_handle]
            ready = self._memory and self._addresses.keys() == self._engine._tensors.keys()
            if not ready or self._is_captured:
                return False
            if stream.captured is not None:
                if "capture" in refuses or not self._is_warm:
                    cuda.last_error = cuda.cudaError_t.cudaErrorStreamCaptureUnsupported
                    return False
                self._is_captured = True
            self._is_warm = True
            shapes, addresses = dict(self._shapes), dict(self._addresses)
            stream.put(lambda: self._compute(shapes, addresses))
            return True

        def _compute(self, shapes: dict[str, Any], addresses: dict[str, int]) -> None:
            feeds = {}
            for name, tensor in self._engine._inputs.items():
                feeds[name] = _at(addresses[name], shapes[name], DTYPES[tensor.type][1]).copy()
            outputs = [name for name in self._engine._tensors if name not in feeds]
            for name, result in zip(outputs, self._engine._session.run(outputs, feeds), strict=True):
                _at(addresses[name], result.shape, result.dtype)[...] = result

        def _touch(self) -> None:
            assert not self._is_captured, "a context whose run was captured must be left alone"

    class Runtime:
        def __init__(self, logger: Any) -> None:
            assert cuda.calls[:1] == ["cudaGetDeviceCount"], "the device must be looked for first"
            heard(logger)

        def __setattr__(self, name: str, value: Any) -> None:
            object.__setattr__(self, name, value)
            asked.host_code |= name == "engine_host_code_allowed" and value

        def deserialize_cuda_engine(self, serialized_engine: bytes) -> Any:
            if "deserialize" in refuses:
                complain(refuses["deserialize"])
                return None
            return made["ICudaEngine"](serialized_engine)

    classes = (ITensor, INetworkDefinition, ParserError, OnnxParser, ITimingCache, IOptimizationProfile)
    classes += (IBuilderConfig, Builder, ICudaEngine, IExecutionContext, Runtime)
    classes += (IRuntimeConfig, IRuntimeCache) if version == RTX else ()
    made = {cls.__name__: strict(version, cls) for cls in classes}
    module = ModuleType("tensorrt_rtx" if version == RTX else "tensorrt")
    vars(module).update(
        __version__=version, asked=asked, ILogger=ILogger, IProgressMonitor=IProgressMonitor, **names, **made
    )
    return module


def callback(method: Any, *arguments: Any) -> Any:
    """Call a method of ours as TensorRT's C++ does: what it raises is lost."""
    try:
        return method(*arguments)
    except BaseException:
        return None


def activations(shapes: dict[str, tuple[int, ...]]) -> int:
    """Say how much memory a run takes: it grows with the square of the longest input."""
    return 1000 + 100 * max(
        (int(np.prod(shape[:2])) for shape in shapes.values() if len(shape) > 1), default=0
    )


def _at(address: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    count = int(np.prod(shape))
    size = count * np.dtype(dtype).itemsize
    return np.frombuffer((ctypes.c_uint8 * size).from_address(address), dtype, count).reshape(shape)
