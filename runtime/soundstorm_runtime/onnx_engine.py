"""Graphs on ONNX Runtime, on the CPU or on CUDA."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args

import numpy as np

from .engine import Engine
from .errors import EngineError, OptionError
from .graphs import AXES, Axis, Graph, Tensor

Provider = Literal["auto", "cpu", "cuda"]

_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_TYPES = {"int64": "tensor(int64)", "float32": "tensor(float)"}
_MOST_THREADS = 8  # small networks get slower beyond: each operator is too short to share further

_log = logging.getLogger(__name__)


class OnnxEngine(Engine):
    """Runs a graph with ONNX Runtime.

    source: path of an ONNX file, or its bytes.
    provider: 'cpu', 'cuda', or 'auto' for the best that works, which is then said in the log.
    threads: threads within one operator; None takes the processors this process may use, up to 8.

    `provider` of the instance is the one in use, 'cpu' or 'cuda'. Raises `EngineError` where the
    library is missing, the provider cannot be used, or the source is not this graph.
    """

    def __init__(
        self,
        graph: Graph,
        source: str | Path | bytes,
        axes: Mapping[str, Axis] = AXES,
        *,
        provider: Provider = "auto",
        threads: int | None = None,
    ) -> None:
        super().__init__(graph, axes)
        if provider not in get_args(Provider):
            raise OptionError(f"provider is {provider!r}, expected one of {', '.join(get_args(Provider))}")
        if threads is not None and threads < 1:
            raise OptionError(f"threads is {threads}, expected 1 or more")
        self.threads = threads or default_threads()
        self._where = f"graph '{graph.name}'" if isinstance(source, bytes) else str(source)
        library = _onnxruntime()
        self.provider: Provider = provider
        if provider == "auto":
            self._session, self.provider = self._open_best(library, source)
            _log.info(
                "engine: ONNX Runtime %s on %s, %d threads",
                library.__version__,
                self.provider,
                self.threads,
            )
        else:
            self._session = self._open(library, source, provider)
        self._check_signature()
        self._outputs = [tensor.name for tensor in graph.outputs]

    def _run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        try:
            results = self._session.run(self._outputs, dict(feeds))
        except Exception as error:  # the library's exceptions have no base of their own
            raise EngineError(f"{self._where} failed to run: {_first_line(error)}") from error
        return dict(zip(self._outputs, results, strict=True))

    def _open_best(self, library: ModuleType, source: str | Path | bytes) -> tuple[Any, Provider]:
        if _CUDA in library.get_available_providers():
            try:
                return self._open(library, source, "cuda"), "cuda"
            except EngineError as error:
                _log.warning("%s; using the CPU", error)
        return self._open(library, source, "cpu"), "cpu"

    def _open(self, library: ModuleType, source: str | Path | bytes, provider: Provider) -> Any:
        name = _CUDA if provider == "cuda" else _CPU
        if name not in library.get_available_providers():
            raise EngineError(
                f"provider 'cuda' asked for, but ONNX Runtime {library.__version__} has only "
                f"{library.get_available_providers()}; "
                "pip uninstall onnxruntime, then pip install 'soundstorm-edge[gpu]'"
            )
        options = library.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.log_severity_level = 3  # errors alone; what matters reaches the user as an exception
        try:
            # Without enable_fallback=0 the library prints to stdout and takes another provider.
            session = library.InferenceSession(
                source if isinstance(source, bytes) else str(source),
                options,
                providers=[name] if name == _CPU else [name, _CPU],
                enable_fallback=0,
            )
        except Exception as error:  # the library's exceptions have no base of their own
            raise EngineError(
                f"{self._where} cannot be opened by ONNX Runtime {library.__version__} on {provider}: "
                f"{_first_line(error)}; update onnxruntime or export the voice again with soundstorm-export"
            ) from error
        if name not in session.get_providers():
            raise EngineError(
                "provider 'cuda' was asked for, but ONNX Runtime could not start it (its reason is above); "
                "check the driver, CUDA and cuDNN, or take --provider cpu"
            )
        return session

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


def default_threads() -> int:
    """Return how many threads an operator takes: the processors this process may use, up to 8."""
    if hasattr(os, "sched_getaffinity"):  # a container or taskset may allow fewer than there are
        return min(len(os.sched_getaffinity(0)), _MOST_THREADS)
    return min(os.cpu_count() or 1, _MOST_THREADS)


def _onnxruntime() -> ModuleType:
    """Import the library at its first use: it is large, and the runtime can be imported without it."""
    try:
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
