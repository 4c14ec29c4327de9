"""TensorRT for RTX as a plug-in of ONNX Runtime, in a package of its own: what it needs, and its options.

Sources: NVIDIA's integration guide and reference of options, version 0.5 of the plug-in.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from ...errors import EngineError
from ..graphs import Axis, Graph
from .tensorrt_provider import EngineCache, profile_shapes

RTX = "NvTensorRTRTXExecutionProvider"

_PACKAGE = "onnxruntime_ep_nv_tensorrt_rtx"
_INSTALL = "pip install 'soundstorm-edge[rtx]'"


def rtx_devices(library: ModuleType) -> list[Any]:
    """List the GPUs that the plug-in of ONNX Runtime takes; there is one at least.

    Raises:
        EngineError: the plug-in is not installed, cannot be loaded, or finds no GPU.
    """
    if not hasattr(library, "register_execution_provider_library"):
        raise EngineError(
            f"provider 'rtx' needs ONNX Runtime 1.23 or newer, this is {library.__version__}; {_INSTALL}"
        )
    try:
        _register(library)
    except ImportError as error:
        raise EngineError(f"provider 'rtx' was asked for, but {error}; {_INSTALL}") from error
    except Exception as error:  # the library's exceptions have no base of their own
        reason = " ".join(str(error).split())
        advice = "install NVIDIA's driver" if "libcuda.so" in reason else _INSTALL
        raise EngineError(
            f"ONNX Runtime cannot load TensorRT for RTX ({reason}); {advice}, or take --provider cpu"
        ) from error
    devices = [device for device in library.get_ep_devices() if device.ep_name == RTX]
    if not devices:
        raise EngineError(
            "provider 'rtx' was asked for, but TensorRT for RTX finds no GPU; it runs on GeForce RTX and RTX "
            "PRO since Ampere, with NVIDIA's driver; take --provider cpu"
        )
    return devices


@functools.cache
def _register(library: ModuleType) -> None:
    """Tell ONNX Runtime, once a process, where the plug-in is; CUDA's runtime is loaded before it."""
    file = Path(importlib.import_module(_PACKAGE).get_library_path())
    for runtime in sorted(file.parent.glob("libcudart.so.*")):
        ctypes.CDLL(str(runtime), ctypes.RTLD_GLOBAL)
    library.register_execution_provider_library(RTX, str(file))


def rtx_options(graph: Graph, axes: Mapping[str, Axis], cache: EngineCache) -> dict[str, str]:
    """Return the options of the plug-in: one range of shapes, and a folder for compiled kernels.

    CUDA graphs are off, for the plug-in replays them in one fixed shape alone, and lengths differ.
    """
    return {
        "device_id": "0",
        "enable_cuda_graph": "0",
        "nv_runtime_cache_path": str(cache.folder),
        **{f"nv_{name}": shapes for name, shapes in profile_shapes(graph, axes).items()},
    }
