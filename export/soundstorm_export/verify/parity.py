"""Check that an exported graph computes what PyTorch does: names, axes, shapes, then values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir

from soundstorm_edge.nn.torch_engine import TorchEngine
from soundstorm_runtime.bundle.manifest import ParityReport, Precision
from soundstorm_runtime.bundle.precisions import runs_on
from soundstorm_runtime.engines.comparison import errors
from soundstorm_runtime.engines.example_feeds import example_feeds
from soundstorm_runtime.engines.graphs import Graph, Tensor
from soundstorm_runtime.engines.onnx.onnx_engine import OnnxEngine

from ..errors import ExportError
from ..rewrite.bf16_emulation import rounded
from ..tracing.networks import Network, feed_limits
from ..voice_parts import Parts


@dataclass(frozen=True)
class Bound:
    """How much a graph may differ from PyTorch.

    Attributes:
        error: the largest error of a number, as `soundstorm_runtime.engines.comparison.errors` measures it.
        agreement: the smallest share of equal integers (sampled codes, chosen tokens): where a uniform number
            falls between two differently rounded cumulative sums, another code is sampled.
    """

    error: float
    agreement: float


# The inputs here are random: the network is unsure, one of 1,024 codes is about as likely as the next, and
# many borders between cumulative sums move a little. In int8, 91 % of the codes are equal for a voice of 512
# codes a level and 77 to 83 % for ones of 1,024; what that changes in speech is measured by
# `speech_comparison`.
BOUNDS: dict[Precision, Bound] = {
    "fp32": Bound(1e-3, 0.995),  # sums in another order stay well below
    "fp16": Bound(2e-2, 0.96),  # ten bits, summed over the depth of the network
    "bf16": Bound(0.25, 0.8),  # seven bits, an eighth as fine
    "int8": Bound(0.25, 0.7),  # seven bits; a probability may move by so much where the codes are equal
    "int8-qdq": Bound(0.25, 0.7),  # an activation has one scale, measured on speech
    "fp8-qdq": Bound(0.25, 0.7),
}

# Lengths other than those of the trace: one sample and several, short and long.
CASES: tuple[dict[str, int], ...] = (
    {"batch": 1, "frames": 1, "phones": 1, "tokens": 1, "past": 0, "prefix": 1},
    {"batch": 1, "frames": 50, "phones": 12, "tokens": 50, "past": 7, "prefix": 150},
    {"batch": 3, "frames": 211, "phones": 61, "tokens": 211, "past": 40, "prefix": 83},
    {"batch": 1, "frames": 500, "phones": 120, "tokens": 500, "past": 200, "prefix": 64},
)
PROMPTS = (10, 75, 111, 250)  # frames and tokens of the recordings in these cases


def check_parity(network: Network, path: Path, parts: Parts, precision: Precision = "fp32") -> ParityReport:
    """Compare the ONNX file at `path` with PyTorch over all `CASES`, with the same random numbers.

    Numbers that belong to an integer, such as the confidence of a code, are compared where it is equal.

    Raises:
        ExportError: names the graph, output and case that differ, and by how much.
    """
    graph = network.graph
    _check_interface(graph, onnx.load(path, load_external_data=False))
    torch_engine, onnx_engine = TorchEngine(graph, network.function), cpu_engine(graph, path, precision)
    rng = np.random.default_rng(1)
    symbols = {axis for tensor in graph.inputs for axis in tensor.axes if isinstance(axis, str)}
    lengths = ({**c, "prompt_frames": n, "prompt_tokens": n} for c, n in zip(CASES, PROMPTS, strict=True))
    cases = tuple({s: n for s, n in case.items() if s in symbols} for case in lengths)
    differences: list[np.ndarray] = []
    equal: list[np.ndarray] = []
    for case in cases:
        feeds = example_feeds(graph, feed_limits(parts), case, rng)
        compared = _compare(graph, case, torch_engine.run(feeds), onnx_engine.run(feeds))
        differences += compared[0]
        equal += compared[1]
    bound = BOUNDS[precision]
    numbers = np.concatenate(differences) if differences else np.zeros(1)
    agreement = float(np.concatenate(equal).mean()) if equal else 1.0
    result = ParityReport(cases, float(numbers.max()), float(numbers.mean()), bound.error, agreement)
    _check_values(graph, result, precision, bound)
    return result


def cpu_engine(graph: Graph, path: Path, precision: Precision) -> OnnxEngine:
    """Open an ONNX file of a precision on the CPU; bf16, which lacks kernels there, is emulated."""
    if runs_on(precision, "cpu"):
        return OnnxEngine(graph, path, provider="cpu")
    model = rounded(ir.external_data.load_to_model(ir.load(path)))
    source = ir.to_proto(model).SerializeToString()
    return OnnxEngine(graph, source, provider="cpu")


def _compare(
    graph: Graph, case: Mapping[str, int], expected: dict[str, np.ndarray], found: dict[str, np.ndarray]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return the errors of all numbers, and which integers are equal, for each output, flat."""
    found_errors, equal = [], []
    same = np.ones(1, bool)
    for tensor in sorted(graph.outputs, key=lambda tensor: tensor.dtype != "int64"):
        where = f"graph '{graph.name}', output '{tensor.name}' at {_shown(case)}"
        want, have = expected[tensor.name], found[tensor.name]
        _check_shape(where, want, have)
        if tensor.dtype == "int64":
            same = want == have
            equal.append(same.ravel())
        else:
            counted = same if same.shape == want.shape else np.ones(1, bool)
            if not np.isfinite(have).all():
                raise ExportError(f"{where} has values that are not finite; nothing was written")
            found_errors.append((errors(want, have) * counted).ravel())
    return found_errors, equal


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


def _check_values(graph: Graph, result: ParityReport, precision: Precision, bound: Bound) -> None:
    where = f"graph '{graph.name}'" + ("" if precision == "fp32" else f" in {precision}")
    remedy = "nothing was written" + ("" if precision == "fp32" else "; export with --precision fp32 alone")
    if result.largest_error > bound.error:
        raise ExportError(
            f"{where} differs from PyTorch by {result.largest_error:.2e}, expected at most "
            f"{bound.error:.0e}; {remedy}"
        )
    if result.agreement < bound.agreement:
        raise ExportError(
            f"{where} samples what PyTorch does in {result.agreement:.2%} of the cases, expected at least "
            f"{bound.agreement:.1%}; {remedy}"
        )


def _shown(case: Mapping[str, int]) -> str:
    return ", ".join(f"{symbol} {length}" for symbol, length in case.items())
