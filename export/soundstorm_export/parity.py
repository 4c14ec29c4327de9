"""Prove that an exported graph computes what PyTorch does: names, axes, shapes, then values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx

from soundstorm_edge.checkpoint import VoiceConfig
from soundstorm_edge.engine import TorchEngine
from soundstorm_runtime.graphs import Graph, Tensor
from soundstorm_runtime.manifest import ParityFacts
from soundstorm_runtime.onnx_engine import OnnxEngine

from .errors import ExportError
from .networks import Network, example_feeds

TOLERANCE = 1e-3  # of values about 1; float32 in another order of summation stays well below
AGREEMENT = 0.995  # share of integers that must be equal; a draw may fall between two rounded sums

# Lengths that the trace did not see: one sample, several, short and long.
CASES: tuple[dict[str, int], ...] = (
    {"batch": 1, "frames": 1, "phones": 1, "tokens": 1, "past": 0},
    {"batch": 1, "frames": 50, "phones": 12, "tokens": 50, "past": 7},
    {"batch": 3, "frames": 211, "phones": 61, "tokens": 211, "past": 40},
    {"batch": 1, "frames": 500, "phones": 120, "tokens": 500, "past": 200},
)


def check_parity(network: Network, path: Path, config: VoiceConfig) -> ParityFacts:
    """Compare the ONNX file at `path` with PyTorch over all `CASES`.

    Raises `ExportError` that says which graph, output and case differ, and by how much.
    """
    graph = network.graph
    _check_interface(graph, onnx.load(path, load_external_data=False))
    torch_engine, onnx_engine = TorchEngine(graph, network.function), OnnxEngine(graph, path, provider="cpu")
    rng = np.random.default_rng(1)
    symbols = {axis for tensor in graph.inputs for axis in tensor.axes if isinstance(axis, str)}
    cases = tuple({s: n for s, n in case.items() if s in symbols} for case in CASES)
    errors: list[np.ndarray] = [np.zeros(1)]
    agreements = [1.0]
    for case in cases:
        feeds = example_feeds(graph, config, case, rng)
        expected, found = torch_engine.run(feeds), onnx_engine.run(feeds)
        for tensor in graph.outputs:
            where = f"graph '{graph.name}', output '{tensor.name}' at {_shown(case)}"
            _check_shape(where, expected[tensor.name], found[tensor.name])
            if tensor.dtype == "int64":
                agreements.append(float((expected[tensor.name] == found[tensor.name]).mean()))
            else:
                errors.append(_relative_error(where, expected[tensor.name], found[tensor.name]))
    largest, mean = max(float(e.max()) for e in errors), float(np.mean([e.mean() for e in errors]))
    facts = ParityFacts(cases, largest, mean, TOLERANCE, min(agreements))
    _check_values(graph, facts)
    return facts


def _check_interface(graph: Graph, model: onnx.ModelProto) -> None:
    for kind, tensors, values in (
        ("inputs", graph.inputs, model.graph.input),
        ("outputs", graph.outputs, model.graph.output),
    ):
        names, expected = [value.name for value in values], [tensor.name for tensor in tensors]
        if names != expected:
            raise ExportError(f"graph '{graph.name}' has the {kind} {names}, expected {expected}")
        for tensor, value in zip(tensors, values, strict=True):
            _check_axes(graph.name, tensor, value)


def _check_axes(name: str, tensor: Tensor, value: onnx.ValueInfoProto) -> None:
    dims = value.type.tensor_type.shape.dim
    fixed = [dim.dim_value if dim.HasField("dim_value") else None for dim in dims]
    expected = [axis if isinstance(axis, int) else None for axis in tensor.axes]
    if fixed != expected:
        raise ExportError(
            f"'{tensor.name}' of graph '{name}' has the fixed lengths {fixed}, expected {expected} "
            f"for {list(tensor.axes)}: the trace took a dynamic axis for a fixed one"
        )


def _check_shape(where: str, expected: np.ndarray, found: np.ndarray) -> None:
    if expected.shape != found.shape or expected.dtype != found.dtype:
        raise ExportError(
            f"{where} is {found.dtype} {list(found.shape)}, expected {expected.dtype} {list(expected.shape)}"
        )


def _relative_error(where: str, expected: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Give the absolute error where values are small, and the relative one where they are large."""
    if not np.isfinite(found).all():
        raise ExportError(f"{where} has values that are not finite")
    return np.abs(expected - found) / np.maximum(1.0, np.abs(expected))


def _check_values(graph: Graph, facts: ParityFacts) -> None:
    if facts.largest_error > facts.tolerance:
        raise ExportError(
            f"graph '{graph.name}' differs from PyTorch by {facts.largest_error:.2e}, expected at most "
            f"{facts.tolerance:.0e}; nothing was written"
        )
    if facts.agreement < AGREEMENT:
        raise ExportError(
            f"graph '{graph.name}' samples what PyTorch does in {facts.agreement:.2%} of the cases, expected "
            f"at least {AGREEMENT:.1%}; nothing was written"
        )


def _shown(case: Mapping[str, int]) -> str:
    return ", ".join(f"{symbol} {length}" for symbol, length in case.items())
