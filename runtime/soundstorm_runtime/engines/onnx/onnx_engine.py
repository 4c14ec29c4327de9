"""Graphs on ONNX Runtime: on the CPU, on CUDA, or on what else it has a provider for."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np

from ...errors import EngineError
from ...support.hardware import default_threads
from ...support.interrupt import uninterrupted
from ...support.telemetry import refuse_telemetry
from ..base import Engine
from ..graphs import AXES, Axis, Graph, Tensor
from .cuda_provider import CUDA, OLDEST, BoundRuns, cuda_options, load_cuda_libraries, placed_nodes
from .openvino_plugin import OPENVINO, add_plugin, has_plugin
from .rtx_provider import RTX, rtx_devices, rtx_options
from .tensorrt_provider import TENSORRT, EngineCache, tensorrt_options

Device = Literal["cpu", "cuda", "onnx-tensorrt", "rtx", "openvino", "coreml", "directml", "xnnpack"]

CPU = "CPUExecutionProvider"

_PROVIDERS: dict[Device, str] = {
    "onnx-tensorrt": TENSORRT,
    "cuda": CUDA,
    "rtx": RTX,
    "openvino": OPENVINO,
    "coreml": "CoreMLExecutionProvider",
    "directml": "DmlExecutionProvider",
    "xnnpack": "XnnpackExecutionProvider",
    "cpu": CPU,
}
_ON_CUDA: tuple[Device, ...] = ("cuda", "onnx-tensorrt")
_CACHING: tuple[Device, ...] = ("onnx-tensorrt", "rtx")  # which keep what they build
_CUDA_ADVICE = (
    "for a driver of CUDA 13: pip install 'soundstorm-edge[gpu]'; for one of CUDA 12, and nvidia-smi shows "
    "which: pip install 'soundstorm-edge[gpu-cu12]'"
)
_ABSENT: dict[Device, str] = {  # what to do where ONNX Runtime does not have a provider
    "cpu": "install onnxruntime again",
    "cuda": f"pip uninstall onnxruntime; {_CUDA_ADVICE}",
    "onnx-tensorrt": f"pip uninstall onnxruntime; {_CUDA_ADVICE}",
    "rtx": "pip install 'soundstorm-edge[rtx]'",
    "openvino": "pip install 'soundstorm-edge[openvino]', which needs Linux or Windows on x86-64",
    "coreml": "ONNX Runtime has it on macOS; take --provider cpu elsewhere",
    "directml": "on Windows: pip uninstall onnxruntime, then pip install onnxruntime-directml",
    "xnnpack": "it needs an ONNX Runtime that was built with --use_xnnpack; take --provider cpu",
}
_NEEDS: dict[Device, str] = {  # what to check where a provider does not start
    "cpu": "the installation of onnxruntime",
    "cuda": f"the driver, CUDA and cuDNN ({_CUDA_ADVICE})",
    "onnx-tensorrt": f"the driver, TensorRT's libraries (libnvinfer), CUDA and cuDNN ({_CUDA_ADVICE})",
    "rtx": "NVIDIA's driver",
    "openvino": "that the processor is Intel's, and a GPU's driver is installed",
    "coreml": "the version of macOS",
    "directml": "the GPU's driver",
    "xnnpack": "the installation of onnxruntime",
}
_TYPES = {"int64": "tensor(int64)", "float32": "tensor(float)"}

_log = logging.getLogger(__name__)


class OnnxEngine(Engine):
    """Runs a graph with ONNX Runtime.

    source: path of an ONNX file, or its bytes.
    provider: one of `Device`.
    threads: threads within one operator; None takes the processors this process may use, up to 8.
    cache: where 'onnx-tensorrt' and 'rtx' keep what they build.

    Raises `EngineError` where the library is missing, the provider cannot be used, or the source is
    not this graph.
    """

    def __init__(
        self,
        graph: Graph,
        source: str | Path | bytes,
        axes: Mapping[str, Axis] = AXES,
        *,
        provider: Device = "cpu",
        threads: int | None = None,
        cache: EngineCache | None = None,
    ) -> None:
        super().__init__(graph, axes)
        if (provider in _CACHING) != (cache is not None):
            names = " or ".join(_CACHING)
            raise EngineError(f"{names} and a cache of engines go together; give both, or neither")
        self._cache = cache
        self.provider: Device = provider
        self.threads = threads or default_threads()
        self._where = f"graph '{graph.name}'" if isinstance(source, bytes) else str(source)
        library = _onnxruntime()
        self._name = f"ONNX Runtime {library.__version__}"
        self._source = source
        self._captures = provider == "cuda" and graph.padding is not None
        self._devices: list[Any] = []  # of TensorRT for RTX
        self._session = self._open(library)
        self._check_signature()
        self._bound: BoundRuns | None = None
        if provider in _ON_CUDA and graph.padding is not None:  # run often in one shape
            self._bound = BoundRuns(library, self._session, graph, axes, "cuda", self._captures)
        self._outputs = [tensor.name for tensor in graph.outputs]

    def __str__(self) -> str:
        return f"{self._name} on {self.provider}, {self.threads} thread{'s' * (self.threads > 1)}"

    def _run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        try:
            if self._bound is not None:
                return self._bound.run(feeds)
            results = self._session.run(self._outputs, dict(feeds))
        except Exception as error:  # the library's exceptions have no base of their own
            raise EngineError(f"{self._where} failed to run: {_first_line(error)}") from error
        return dict(zip(self._outputs, results, strict=True))

    def _open(self, library: ModuleType) -> Any:
        name = _PROVIDERS[self.provider]
        if self.provider == "rtx":
            self._devices = rtx_devices(library)
        elif not _has_provider(library, self.provider):
            raise EngineError(
                f"provider '{self.provider}' asked for, but {self._name} has only "
                f"{library.get_available_providers()}; {_ABSENT[self.provider]}"
            )
        if self.provider == "cuda" and _release(library) < OLDEST:
            raise EngineError(
                f"{self._name} is too old for provider 'cuda', expected {OLDEST[0]}.{OLDEST[1]} or later; "
                f"{_CUDA_ADVICE}"
            )
        if self._cache is not None:
            self._cache.create()
        if self.provider in _ON_CUDA:
            load_cuda_libraries(library)
        try:
            session = self._open_captured(library) if self._captures else None
            session = session or self._open_with(library, library.SessionOptions())
        except Exception as error:  # the library's exceptions have no base of their own
            raise EngineError(
                f"{self._where} cannot be opened by {self._name} on {self.provider}: "
                f"{_first_line(error)}; update onnxruntime or export the voice again with soundstorm-export"
            ) from error
        if name not in session.get_providers():
            raise EngineError(
                f"provider '{self.provider}' was asked for, but ONNX Runtime could not start it (its reason "
                f"is above); check {_NEEDS[self.provider]}, or take --provider cpu"
            )
        return session

    def _open_captured(self, library: ModuleType) -> Any:
        """Open a session that replays CUDA graphs; None where the graph does not allow it, which is said."""
        try:
            return self._open_with(library, library.SessionOptions())
        except Exception as error:  # the library's exceptions have no base of their own
            self._captures = False
            _log.warning("%s is run without CUDA graphs (%s)", self._where, _first_line(error))
            return None

    def _open_with(self, library: ModuleType, options: Any) -> Any:
        on_cpu = self.provider == "cpu"
        options.intra_op_num_threads = self.threads
        # Between operators threads wait busily, for waking them takes longer. After a run they sleep at once:
        # a voice has several graphs, each with its own threads, which would be in each other's way.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        options.log_severity_level = 3  # errors alone; what matters reaches the user as an exception
        chain: list[Any] | None = self._providers()
        if self.provider == "openvino" and has_plugin(library):
            if not add_plugin(library, options, self.threads):
                raise EngineError(f"OpenVINO sees no device; check {_NEEDS[self.provider]}")
            chain = None
        if self.provider == "rtx" and self._cache is not None:
            wanted = rtx_options(self.graph, self.axes, self._cache)
            options.add_provider_for_devices(self._devices[:1], wanted)
            chain = None
        # Without enable_fallback=0 the library prints to stdout and takes another provider.
        return library.InferenceSession(
            self._source if isinstance(self._source, bytes) else str(self._source),
            options,
            providers=chain,
            enable_fallback=0,
            # On a CPU, the fused kernel takes longer than the sum and the norm one after the other.
            disabled_optimizers=["SkipLayerNormFusion"] if on_cpu else None,
        )

    def _providers(self) -> list[Any]:
        """List what the library may run nodes on, the first that can being taken, with its options."""
        chain: list[Any] = [CPU]
        if self.provider in _ON_CUDA:
            chain.insert(0, (CUDA, cuda_options(self._captures)))
        elif self.provider != "cpu":
            chain.insert(0, _PROVIDERS[self.provider])
        if self.provider == "onnx-tensorrt" and self._cache is not None:
            chain.insert(0, (TENSORRT, tensorrt_options(self.graph, self.axes, self._cache)))
        return chain

    def placed_nodes(self, feeds: Mapping[str, np.ndarray]) -> dict[str, int]:
        """Run once in a session of its own; gives how many nodes ran on which of the library's providers."""
        library = _onnxruntime()
        return placed_nodes(library, lambda options: self._open_with(library, options), feeds)

    def _check_signature(self) -> None:
        """Raise `EngineError` unless the file has the names, types and axes of the graph."""
        for kind, tensors, found in (
            ("inputs", self.graph.inputs, self._session.get_inputs()),
            ("outputs", self.graph.outputs, self._session.get_outputs()),
        ):
            by_name = {argument.name: argument for argument in found}
            expected = {tensor.name: tensor for tensor in tensors}
            same = by_name.keys() == expected.keys() and all(
                _is_like(tensor, by_name[name]) for name, tensor in expected.items()
            )
            if not same:
                is_ = [f"{name} {argument.type} {argument.shape}" for name, argument in by_name.items()]
                want = [f"{name} {_TYPES[t.dtype]} {list(t.axes)}" for name, t in expected.items()]
                raise EngineError(
                    f"{self._where} has the {kind} {', '.join(is_)}; expected {', '.join(want)}; "
                    "export the voice again with soundstorm-export"
                )


def available_devices() -> tuple[Device, ...]:
    """Name the devices that the installed ONNX Runtime was built for; a device may be absent all the same.

    Raises `EngineError` where the library is missing.
    """
    library = _onnxruntime()
    return tuple(device for device in _PROVIDERS if _has_provider(library, device))


def _has_provider(library: ModuleType, device: Device) -> bool:
    if device == "openvino" and has_plugin(library):
        return True
    return _PROVIDERS[device] in library.get_available_providers()


def _release(library: ModuleType) -> tuple[int, ...]:
    return tuple(int(part) for part in library.__version__.split(".")[:2])


def _onnxruntime() -> ModuleType:
    """Import the library at its first use: it is large, and the runtime can be imported without it."""
    refuse_telemetry()
    try:
        with uninterrupted():
            import onnxruntime
    except ImportError as error:
        raise EngineError(
            f"no engine to run the voice with ({error}); pip install 'soundstorm-edge[cpu]', "
            "or 'soundstorm-edge[gpu]' for CUDA"
        ) from error
    return onnxruntime


def _is_like(tensor: Tensor, argument: Any) -> bool:
    """Compare type, rank and fixed lengths; a file may leave symbols unnamed and outputs without shape."""
    if argument.type != _TYPES[tensor.dtype]:
        return False
    return not argument.shape or (
        len(argument.shape) == len(tensor.axes)
        and all(
            want == found
            for want, found in zip(tensor.axes, argument.shape, strict=True)
            if isinstance(want, int) and isinstance(found, int)
        )
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
