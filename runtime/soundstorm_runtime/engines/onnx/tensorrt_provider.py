"""TensorRT through ONNX Runtime, which builds the engines in the first runs and keeps them in a folder.

Source: ONNX Runtime's page on the TensorRT execution provider (options, explicit ranges of shapes, caches).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...errors import EngineError
from ...support.files import reason
from ..graphs import Axis, Graph
from ..padding import shapes_of

TENSORRT = "TensorrtExecutionProvider"


@dataclass(frozen=True)
class EngineCache:
    """Where the engines of a graph are kept, and whether TensorRT may compute in half precision."""

    folder: Path
    half: bool

    def create(self) -> None:
        """Create the folder. Raises `EngineError` where that fails."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EngineError(
                f"cannot keep engines in {self.folder} ({reason(error)}); copy the bundle to another place"
            ) from error


def profile_shapes(graph: Graph, axes: Mapping[str, Axis]) -> dict[str, str]:
    """Return the options `profile_min_shapes`, `..opt..` and `..max..`: ranges of the inputs that vary."""
    dynamic = tuple(t for t in graph.inputs if any(isinstance(axis, str) for axis in t.axes))
    return {
        f"profile_{end}_shapes": ",".join(
            f"{name}:{'x'.join(map(str, shape))}"
            for name, shape in shapes_of(dynamic, {a: getattr(span, end) for a, span in axes.items()}).items()
        )
        for end in ("min", "opt", "max")
    }


def tensorrt_options(graph: Graph, axes: Mapping[str, Axis], cache: EngineCache) -> dict[str, str]:
    """Return the options of the TensorRT provider.

    The one engine of a graph takes all lengths that the bundle does; without the ranges given here, each new
    length would have it built again. Engines are built one after the other, for a Jetson has little memory.
    """
    return {
        "device_id": "0",
        "trt_fp16_enable": str(cache.half),
        "trt_layer_norm_fp32_fallback": "True",
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": str(cache.folder),
        "trt_timing_cache_enable": "True",
        "trt_force_sequential_engine_build": "True",
        **{f"trt_{name}": shapes for name, shapes in profile_shapes(graph, axes).items()},
    }
