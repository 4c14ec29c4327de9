"""Traces of PyTorch networks, kept in `build/traces` for later tests, workers and runs.

Tracing is most of what an export of a tiny voice costs: several seconds a graph. A trace depends on the
network (its class, configuration and weights), on the source code that is traced and that traces, and on the
versions of packages; the file is named after a digest of all of them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
from filelock import FileLock

from soundstorm_export.tracing.networks import Network

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "build" / "traces"
SOURCES = ("soundstorm_edge", "export/soundstorm_export/tracing", "runtime/soundstorm_runtime/engines")
PACKAGES = ("torch", "onnx", "onnxscript", "onnx_ir", "numpy")

Trace = Callable[..., ir.Model]


def cached(trace: Trace) -> Trace:
    """Return `trace`, whose first argument is a network, with a cache before it.

    Every call returns a model of its own.
    """

    def look_up(network: Network, *arguments: Any) -> ir.Model:
        FOLDER.mkdir(parents=True, exist_ok=True)
        file = FOLDER / f"{_digest(network)}.onnx"
        with FileLock(file.with_suffix(".lock")):
            if not file.is_file():
                partial = file.with_suffix(f".{os.getpid()}")
                ir.save(trace(network, *arguments), partial)
                partial.replace(file)
        return ir.from_proto(onnx.load(file))

    return look_up


def fresh(trace: Trace) -> Trace:
    """Return `trace` without a cache, for models like those that the cache reads from its files.

    A model that was written and read again is equal, but names some values otherwise.
    """
    return lambda network, *arguments: ir.from_proto(ir.to_proto(trace(network, *arguments)))


def _digest(network: Network) -> str:
    module, function = network.module, network.function
    if isinstance(function, partial):
        function = function.func
    digest = hashlib.sha256(_environment())
    for part in (network.graph, function.__qualname__, module, getattr(module, "config", None)):
        digest.update(repr(part).encode())
    for name, tensor in module.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


@cache
def _environment() -> bytes:
    """Digest the sources and the versions of the packages that a trace depends on."""
    digest = hashlib.sha256()
    for folder in SOURCES:
        for file in sorted((ROOT / folder).rglob("*.py")):
            digest.update(str(file.relative_to(ROOT)).encode() + file.read_bytes())
    for package in PACKAGES:
        digest.update(f"{package} {version(package)}".encode())
    return digest.digest()
