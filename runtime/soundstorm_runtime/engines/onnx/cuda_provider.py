"""ONNX Runtime on CUDA: its libraries and options, runs on fixed addresses, and where nodes really ran.

Sources: ONNX Runtime's pages on the CUDA execution provider (options, CUDA graphs, preloading of libraries),
I/O binding and profiling. What it captures must find its inputs and outputs at the same addresses in every
run, and each shape needs an id of its own. It keeps captured graphs for each thread, until the session ends.
"""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ..graphs import Axis, Graph, lengths_of
from ..padding import cropped, fill, filled_lengths, shapes_of

CUDA = "CUDAExecutionProvider"
OLDEST = (1, 22)  # ONNX Runtime: earlier releases may compute attention wrongly in a batch

_MOST_SHAPES = 16  # that are captured, and that are bound
_NOT_CAPTURED = "-1"  # the id of a run that is neither captured nor replayed


def load_cuda_libraries(library: ModuleType) -> None:
    """Load CUDA and cuDNN from NVIDIA's packages, where these are installed and ONNX Runtime can.

    Without it the system's libraries alone are found; `preload_dlls` came with ONNX Runtime 1.21. It prints
    what it does not find, which the system may have: the error of a session that cannot start says more.
    """
    preload = getattr(library, "preload_dlls", None)
    if preload is not None:
        with contextlib.redirect_stdout(io.StringIO()):
            preload()


def cuda_options(captures: bool) -> dict[str, str]:
    """Return the options of the CUDA provider; `captures` has runs in a known shape replayed as CUDA graphs.

    Convolutions are chosen by rule, not by a search that every new length would start again; memory is taken
    as it is needed, for on a Jetson it is also the host's; and fp32 is no TF32.
    """
    return {
        "device_id": "0",
        "cudnn_conv_algo_search": "HEURISTIC",
        "arena_extend_strategy": "kSameAsRequested",
        "use_tf32": "0",
        "enable_cuda_graph": "1" if captures else "0",
    }


class BoundRuns:
    """Runs a session whose graph is run often in one shape; inputs and outputs of a shape keep their places.

    All runs are in one thread of its own, where ONNX Runtime finds what it captured before. The first 16
    shapes are captured; ONNX Runtime would keep every further graph, so that runs in other shapes are not.

    device: 'cuda', or 'cpu' in tests. captures: whether the session was opened with CUDA graphs.
    """

    def __init__(
        self,
        library: ModuleType,
        session: Any,
        graph: Graph,
        axes: Mapping[str, Axis],
        device: str,
        captures: bool,
    ) -> None:
        self._library, self._session, self._graph, self._axes = library, session, graph, axes
        self._device, self._captures = device, captures
        self._shapes: OrderedDict[Any, _Bound] = OrderedDict()
        self._captured: dict[Any, _Bound] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="onnxruntime-cuda")

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once, filled up to a whole bucket."""
        return self._thread.submit(self._run, feeds).result()

    def _run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        lengths = lengths_of(self._graph, feeds)
        bound = self._bound(filled_lengths(self._graph, lengths, self._axes))
        for tensor in self._graph.inputs:
            fill(bound.host[tensor.name], feeds[tensor.name])
            bound.values[tensor.name].update_inplace(bound.host[tensor.name])
        self._session.run_with_iobinding(bound.binding, bound.options)
        return {t.name: cropped(bound.values[t.name].numpy(), t, lengths) for t in self._graph.outputs}

    def _bound(self, lengths: dict[str, int]) -> _Bound:
        key = tuple(lengths.items())
        if key in self._captured:
            return self._captured[key]
        if self._captures and len(self._captured) < _MOST_SHAPES:
            self._captured[key] = self._bind(lengths, str(len(self._captured) + 1))
            return self._captured[key]
        if key not in self._shapes:
            if len(self._shapes) == _MOST_SHAPES:
                self._shapes.popitem(last=False)
            self._shapes[key] = self._bind(lengths, _NOT_CAPTURED)
        self._shapes.move_to_end(key)
        return self._shapes[key]

    def _bind(self, lengths: dict[str, int], identity: str) -> _Bound:
        options = self._library.RunOptions()
        if self._captures:
            options.add_run_config_entry("gpu_graph_id", identity)
        bound = _Bound(self._session.io_binding(), options)
        for kind, tensors in (("input", self._graph.inputs), ("output", self._graph.outputs)):
            for name, shape in shapes_of(tensors, lengths).items():
                dtype = next(np.dtype(t.dtype) for t in tensors if t.name == name)
                value = self._library.OrtValue.ortvalue_from_shape_and_type(shape, dtype, self._device, 0)
                bound.values[name], bound.host[name] = value, np.zeros(shape, dtype)
                getattr(bound.binding, f"bind_ortvalue_{kind}")(name, value)
        return bound


class _Bound:
    """What is bound for one shape: values on the device, and room on the host to fill them from."""

    def __init__(self, binding: Any, options: Any) -> None:
        self.binding, self.options = binding, options
        self.values: dict[str, Any] = {}
        self.host: dict[str, np.ndarray] = {}


def placed_nodes(
    library: ModuleType, open_session: Callable[[Any], Any], feeds: Mapping[str, np.ndarray]
) -> dict[str, int]:
    """Run a session once with its profiler on; gives how many nodes ran on which provider.

    open_session: opens one with the session options that it is given.
    """
    with tempfile.TemporaryDirectory() as folder:
        options = library.SessionOptions()
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = open_session(options)
        session.run(None, dict(feeds))
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    nodes = [e for e in events if e.get("cat") == "Node" and e["name"].endswith("_kernel_time")]
    return dict(Counter(node["args"]["provider"] for node in nodes))
