"""Traces of PyTorch networks, kept in `build/traces` for later tests, workers and runs.

Tracing is most of what an export of a tiny voice costs: several seconds a graph. The operators that a trace
has depend on the structure of the network, on the source code that is traced and that traces, and on the
versions of packages; the file is named after a digest of all of them. The weights are the network's own: they
are put into what the file holds.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from filelock import FileLock
from torch import Tensor, nn
from torch.onnx._internal.exporter._registration import ONNXRegistry

from soundstorm_export.tracing import trace
from soundstorm_export.tracing.networks import Network

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "build" / "traces"
SOURCES = ("soundstorm_edge", "export/soundstorm_export/tracing", "runtime/soundstorm_runtime/engines")
PACKAGES = ("torch", "onnx", "onnxscript", "onnx_ir", "numpy")
PREFIX = "module."  # of the names that the tracer gives to weights

uncached = trace.capture

# PyTorch's exporter makes its table of translations anew for each graph, as slowly as it traces a small one.
ONNXRegistry.from_torchlib = staticmethod(cache(ONNXRegistry.from_torchlib))  # type: ignore[method-assign]


def cached(network: Network, feeds: Mapping[str, np.ndarray]) -> ir.Model:
    """Return what `soundstorm_export.tracing.trace.capture` does, a model of its own for each call."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    file = FOLDER / f"{_digest(network, feeds)}.onnx"
    with FileLock(file.with_suffix(".lock")):
        if not file.is_file():
            partial = file.with_suffix(f".{os.getpid()}")
            ir.save(uncached(network, feeds), partial)
            partial.replace(file)
    return _with_weights(ir.from_proto(onnx.load(file)), network.module)


def fresh(network: Network, feeds: Mapping[str, np.ndarray]) -> ir.Model:
    """Trace, for a model like those that the cache reads from its files.

    A model that was written and read again is equal, but names some values otherwise.
    """
    return ir.from_proto(ir.to_proto(uncached(network, feeds)))


def _with_weights(model: ir.Model, module: nn.Module) -> ir.Model:
    weights = _weights(module)
    for name, value in model.graph.initializers.items():
        array = weights.get(name.removeprefix(PREFIX))
        if array is not None:
            assert value.shape == array.shape, name
            value.const_value = ir.tensor(array.detach().contiguous().numpy(), name=name)
    return model


def _weights(module: nn.Module) -> dict[str, Tensor]:
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def _digest(network: Network, feeds: Mapping[str, np.ndarray]) -> str:
    function = network.function
    if isinstance(function, partial):
        function = function.func
    digest = hashlib.sha256(_environment())
    lengths = {name: array.shape for name, array in feeds.items()}
    for part in (network.graph, lengths, function.__qualname__, network.module):
        digest.update(repr(part).encode())
    for name, module in network.module.named_modules():
        digest.update(f"{name} {_settings(module)}".encode())
    for name, tensor in _weights(network.module).items():
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
    return digest.hexdigest()


def _settings(module: nn.Module) -> dict[str, str]:
    """Return the attributes of a module that are neither weights nor other modules, written out."""
    settings = {name: repr(value) for name, value in vars(module).items() if not name.startswith("_")}
    return {name: text for name, text in settings.items() if name != "training" and " at 0x" not in text}


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
