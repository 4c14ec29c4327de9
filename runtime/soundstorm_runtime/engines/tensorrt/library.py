"""TensorRT's Python package, whichever is installed: found, started, and its complaints kept.

The device is looked for before anything of TensorRT is made: the lean runtime of 11.4 was seen to end the
process with a segmentation fault where there is none.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from ...errors import EngineError
from ..cuda_runtime import Cuda, open_cuda

# The whole library, what runs engines alone, and what loads the runtime that an engine carries.
PACKAGES = ("tensorrt", "tensorrt_lean", "tensorrt_dispatch")
OLDEST = (10, 3)


@dataclass(frozen=True)
class TensorRt:
    """A TensorRT package that can be used here, and the GPU.

    complaints: TensorRT's latest errors, the oldest first; its functions give only None or False.
    """

    module: Any
    logger: Any
    cuda: Cuda
    complaints: list[str]

    def __str__(self) -> str:
        return f"{self.module.__name__} {self.version} on {self.cuda.gpu.name}"

    @property
    def version(self) -> str:
        """Its version, such as '10.3.0'."""
        return self.module.__version__

    def why(self) -> str:
        """Give the reasons since the last call, in one line, and forget them."""
        reasons = "; ".join(dict.fromkeys(" ".join(line.split()) for line in self.complaints))
        self.complaints.clear()
        return reasons[-600:] or "TensorRT gave no reason"


def open_tensorrt_library(packages: tuple[str, ...] = PACKAGES) -> TensorRt:
    """Find a GPU, then the first of `packages`.

    Raises `EngineError` that says what is missing or too old, and what to do.
    """
    cuda = open_cuda()
    module = _import(packages)
    parts = module.__version__.split(".")
    if tuple(map(int, parts[:2])) < OLDEST:
        raise EngineError(
            f"{module.__name__} is {module.__version__}, expected {OLDEST[0]}.{OLDEST[1]} or newer; "
            "pip install --upgrade tensorrt, or on a Jetson update JetPack to 6.1 or newer"
        )
    complaints: list[str] = []
    return TensorRt(module, _logger(module, complaints), cuda, complaints)


def _import(packages: tuple[str, ...]) -> Any:
    for name in packages:
        try:
            return importlib.import_module(name)
        except ImportError as error:  # a package whose shared libraries are missing raises it, too
            if error.name != name:
                raise EngineError(
                    f"{name} is installed but cannot be loaded ({error}); install it again"
                ) from error
    raise EngineError(
        f"no TensorRT: none of {', '.join(packages)} is installed; pip install 'soundstorm-edge[tensorrt]', "
        "or on a Jetson use JetPack's own: python3 -m venv --system-site-packages"
    )


def _logger(module: Any, complaints: list[str]) -> Any:
    """Make a logger that keeps errors in `complaints`, and says nothing."""

    class Keeper(module.ILogger):
        def __init__(self) -> None:
            module.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in (module.ILogger.Severity.ERROR, module.ILogger.Severity.INTERNAL_ERROR):
                complaints.append(message)

    return Keeper()
