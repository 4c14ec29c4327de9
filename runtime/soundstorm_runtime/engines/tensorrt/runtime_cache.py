"""TensorRT for RTX compiles kernels for the GPU at hand when an engine is opened and run; here they are kept.

Sources: TensorRT for RTX's Python API (IRuntimeConfig, IRuntimeCache), and its guides to the runtime cache,
to dynamic shapes and to CUDA graphs.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from ...support.atomic import write_file


class RuntimeCache:
    """The compiled kernels of one engine, in a file beside it.

    A run that is captured as a CUDA graph keeps the kernels that it was captured with, so that those for its
    shapes are compiled before it, and not in the background. A graph that meets other lengths each time is
    run by kernels that take any shape.

    Args:
        trt: The module `tensorrt_rtx`.
        engine: Its engine.
        file: Where the kernels are kept. One that is damaged, or of another GPU, driver or version, is
            replaced: TensorRT compares these. None keeps nothing.
        captured: Whether runs of the engine are captured as CUDA graphs.

    Attributes:
        config: What execution contexts of the engine are made with; their memory is the caller's.
    """

    def __init__(self, trt: Any, engine: Any, file: Path | None, *, captured: bool) -> None:
        strategies = trt.DynamicShapesKernelSpecializationStrategy
        self.config = engine.create_runtime_config()
        self.config.dynamic_shapes_kernel_specialization_strategy = (
            strategies.EAGER if captured else strategies.NONE
        )
        self.config.set_execution_context_allocation_strategy(
            trt.ExecutionContextAllocationStrategy.USER_MANAGED
        )
        self._file, self._cache = file, self.config.create_runtime_cache()
        self._stored = b""
        if file is not None:
            with suppress(OSError):
                self._stored = file.read_bytes()
        if self._stored:
            self._cache.deserialize(self._stored)
        self.config.set_runtime_cache(self._cache)

    def write(self) -> None:
        """Write the file if there are other kernels than in it; without it, the next start takes longer."""
        kernels = bytes(self._cache.serialize())
        if self._file is not None and kernels != self._stored:
            with suppress(OSError):
                write_file(self._file, kernels)
            self._stored = kernels
