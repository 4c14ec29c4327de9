"""TensorRT as it is installed: find the package, look for the GPU first, keep TensorRT's error messages.

The device is looked for before anything of TensorRT is made: the lean runtime of 11.4 was seen to end the
process with a segmentation fault where there is none. TensorRT sends the messages of a whole process to the
first logger that it is given and ignores others (NvInferRuntime.h, `createInferRuntime`), so each package has
one logger here.
"""

from __future__ import annotations

import functools
import importlib
import threading
from dataclasses import dataclass
from typing import Any

from ...errors import EngineError
from ..cuda_runtime import Cuda, open_cuda

# The whole library, what runs engines alone, and what loads the runtime that an engine carries.
PACKAGES = ("tensorrt", "tensorrt_lean", "tensorrt_dispatch")
RTX = ("tensorrt_rtx",)  # TensorRT for RTX: another library with the same Python API
_OLDEST, _OLDEST_RTX = (10, 3), (1, 7)


class Messages:
    """TensorRT's latest errors, oldest first; its functions return only None or False.

    TensorRT logs from several threads. No exception may pass through its own code, so that a Ctrl-C in a
    callback is kept here until `raise_interrupt`.
    """

    def __init__(self) -> None:
        self.errors: list[str] = []
        self._interrupted = threading.Event()

    def add(self, message: str) -> None:
        """Keep an error message."""
        self.errors.append(message)

    def interrupt(self) -> None:
        """Remember that Ctrl-C was pressed while TensorRT was running."""
        self._interrupted.set()

    def raise_interrupt(self) -> None:
        """Raise `KeyboardInterrupt` if Ctrl-C was pressed since the last call."""
        if self._interrupted.is_set():
            self._interrupted.clear()
            raise KeyboardInterrupt


@dataclass(frozen=True)
class Library:
    """A TensorRT package that can be imported here, and its logger; enough to build for GPUs elsewhere."""

    module: Any
    logger: Any
    messages: Messages

    def __str__(self) -> str:
        return f"{self.module.__name__} {self.version}"

    @property
    def is_rtx(self) -> bool:
        """Whether it is TensorRT for RTX."""
        return self.module.__name__ in RTX

    @property
    def title(self) -> str:
        """Its name and version in messages, such as 'TensorRT 10.3.0'."""
        return f"TensorRT {'for RTX ' if self.is_rtx else ''}{self.version}"

    @property
    def version(self) -> str:
        """Its version, such as '10.3.0'."""
        return self.module.__version__

    def why(self) -> str:
        """Return the errors since the last call, in one line, and forget them."""
        self.messages.raise_interrupt()
        errors = "; ".join(dict.fromkeys(" ".join(line.split()) for line in self.messages.errors))
        self.messages.errors.clear()
        return errors[-600:] or "TensorRT gave no reason"


@dataclass(frozen=True)
class TensorRt(Library):
    """The same on a machine with a GPU, where engines run."""

    cuda: Cuda

    def __str__(self) -> str:
        return f"{super().__str__()} on {self.cuda.gpu.name}"


def open_tensorrt_library(packages: tuple[str, ...] = PACKAGES) -> TensorRt:
    """Find a GPU, then the first of `packages`.

    Raises:
        EngineError: what is missing or too old, and what to do.
    """
    cuda = open_cuda()
    library = _open(packages)
    return TensorRt(library.module, library.logger, library.messages, cuda)


def open_rtx_builder() -> Library:
    """Import TensorRT for RTX, which builds engines for GPUs that are named; it needs none itself.

    Raises:
        EngineError: it is missing or too old, and what to do.
    """
    return _open(RTX)


def _open(packages: tuple[str, ...]) -> Library:
    module = _import(packages)
    oldest = _OLDEST_RTX if packages == RTX else _OLDEST
    if tuple(map(int, module.__version__.split(".")[:2])) < oldest:
        jetson = "" if packages == RTX else ", or on a Jetson update JetPack to 6.1 or newer"
        raise EngineError(
            f"{module.__name__} is {module.__version__}, expected {oldest[0]}.{oldest[1]} or newer; "
            f"pip install --upgrade {module.__name__.replace('_', '-')}{jetson}"
        )
    logger, messages = _logger(module)
    messages.errors.clear()
    return Library(module, logger, messages)


def _import(packages: tuple[str, ...]) -> Any:
    for name in packages:
        try:
            return importlib.import_module(name)
        except ImportError as error:  # a package whose shared libraries are missing raises it, too
            if error.name != name:
                raise EngineError(
                    f"{name} is installed but cannot be loaded ({error}); install it again"
                ) from error
    if packages == RTX:
        raise EngineError(
            "no TensorRT for RTX: tensorrt_rtx is not installed; on x86-64 Linux or Windows "
            "pip install 'soundstorm-edge[tensorrt-rtx]'"
        )
    raise EngineError(
        f"no TensorRT: none of {', '.join(packages)} is installed; pip install 'soundstorm-edge[tensorrt]', "
        "or on a Jetson use JetPack's own: python3 -m venv --system-site-packages"
    )


@functools.cache
def _logger(module: Any) -> tuple[Any, Messages]:
    """Make the logger of a package: it prints nothing and keeps errors in the messages beside it."""
    messages = Messages()

    class Keeper(module.ILogger):
        def __init__(self) -> None:
            module.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            try:
                if severity in (module.ILogger.Severity.ERROR, module.ILogger.Severity.INTERNAL_ERROR):
                    messages.add(message)
            except KeyboardInterrupt:
                messages.interrupt()

    return Keeper(), messages
