"""Check a graph against what TensorRT's ONNX parser accepts: opset, operators, types and restrictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType

import onnx_ir as ir

from ..errors import ExportError
from ..rewrite.constants import constant

NEWEST_OPSET = 20
LATER = ("10.6", "10.15", "11.2")  # versions whose tables are recorded beside that of 10.0

_TYPES = {
    "FLOAT": "FP32", "FLOAT16": "FP16", "BFLOAT16": "BF16", "FLOAT8E4M3FN": "FP8", "INT8": "INT8",
    "UINT8": "UINT8", "INT32": "INT32", "INT64": "INT64", "BOOL": "BOOL",
}  # fmt: skip


@dataclass(frozen=True)
class Operator:
    """What the table says of an operator: the types it takes, and its restrictions in words."""

    types: frozenset[str]
    restriction: str


def tensorrt_operators() -> Mapping[str, Operator]:
    """Read the table of TensorRT 10.0, from the onnx-tensorrt project.

    What it has is taken by all versions that are supported: those recorded take more each
    (`later_operators`), and the supported ones lie between them: 10.3 before 10.6, 10.16 before 11.2. The
    parser of TensorRT for RTX 1.7, which is as new as 11.4, takes all but those that are plug-ins.
    """
    return _table("tensorrt-operators.txt")


def later_operators(version: str) -> Mapping[str, Operator]:
    """Read the rows in which the table of one of `LATER` differs from that of TensorRT 10.0."""
    return _table(f"tensorrt-operators-{version}.txt")


def implementations() -> Mapping[str, str]:
    """Read how TensorRT's parser implements operators where it decides their speed, in all versions read."""
    return MappingProxyType({name: "; ".join(ways) for name, *ways in _rows("tensorrt-implementations.txt")})


def _table(name: str) -> Mapping[str, Operator]:
    return MappingProxyType(
        {
            name: Operator(frozenset(types.replace("INF64", "INT64").replace(",", " ").split()), restriction)
            for name, types, restriction in _rows(name)
        }
    )


def _rows(name: str) -> list[list[str]]:
    text = (resources.files(__package__) / name).read_text(encoding="utf-8")
    return [line.split("\t") for line in text.splitlines() if line and not line.startswith("#")]


def check_operators(name: str, model: ir.Model) -> None:
    """Raise `ExportError` naming every place of graph `name` that TensorRT does not take.

    Restrictions that depend on the data, such as the most that TopK may be asked for, are not checked.
    """
    imports = model.graph.opset_imports
    if imports.get("", 0) > NEWEST_OPSET:
        raise ExportError(f"graph '{name}' has opset {imports['']}, TensorRT takes up to {NEWEST_OPSET}")
    table = tensorrt_operators()
    nodes = list(model.graph.all_nodes())
    unknown = sorted({_name(node) for node in nodes if _name(node) not in table})
    if unknown:
        raise ExportError(f"graph '{name}' has operators that TensorRT does not take: {', '.join(unknown)}")
    reasons = {reason: None for node in nodes for reason in _objections(node, table[node.op_type])}
    if reasons:
        raise ExportError(
            f"graph '{name}' has operators as TensorRT does not take them: {'; '.join(reasons)}"
        )


def _name(node: ir.Node) -> str:
    return f"{node.domain}::{node.op_type}" if node.domain not in ("", "ai.onnx") else node.op_type


def _objections(node: ir.Node, operator: Operator) -> list[str]:
    found = []
    data = node.inputs[0] if node.inputs else None
    dtype = data.dtype.name if data is not None and data.dtype is not None else None
    if dtype is not None and _TYPES.get(dtype, dtype) not in operator.types:
        found.append(f"{node.op_type} of {dtype}")
    check = _RESTRICTIONS.get(node.op_type)
    if check is not None and not check(node):
        found.append(f"{node.op_type} ({operator.restriction})")
    return found


def _fixed(place: int) -> Callable[[ir.Node], bool]:
    """Make a check that an input, where it is given, is a constant."""

    def check(node: ir.Node) -> bool:
        value = node.inputs[place] if place < len(node.inputs) else None
        return value is None or constant(value) is not None

    return check


def _lacks(*names: str) -> Callable[[ir.Node], bool]:
    """Make a check that a node has none of these attributes."""
    return lambda node: not any(name in node.attributes for name in names)


def _number(name: str, *allowed: int) -> Callable[[ir.Node], bool]:
    """Make a check that an attribute, where it is given, is one of these numbers."""
    return lambda node: name not in node.attributes or node.attributes[name].as_int() in allowed


def _undilated(node: ir.Node) -> bool:
    return "dilations" not in node.attributes or set(node.attributes["dilations"].as_ints()) <= {1}


def _first_output_alone(node: ir.Node) -> bool:
    return not any(value.uses() or value.is_graph_output() for value in node.outputs[1:])


def _centred(place: int) -> Callable[[ir.Node], bool]:
    """Make a check that a zero point, where it is given, is 0."""

    def check(node: ir.Node) -> bool:
        value = node.inputs[place] if place < len(node.inputs) else None
        array = constant(value)
        return value is None or (array is not None and not array.any())

    return check


_REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")

_RESTRICTIONS: Mapping[str, Callable[[ir.Node], bool]] = MappingProxyType(
    {
        **{f"Reduce{kind}": _fixed(1) for kind in _REDUCTIONS},
        **{name: _fixed(1) for name in ("CumSum", "Squeeze", "Unsqueeze", "OneHot")},
        "Slice": _fixed(3),
        "Pad": _fixed(3),
        "Constant": _lacks("sparse_value", "value_string", "value_strings"),
        "ScatterND": lambda node: (
            _lacks("reduction")(node) or node.attributes["reduction"].as_string() == "none"
        ),
        "TopK": _number("sorted", 1),
        "LSTM": lambda node: _number("input_forget", 0)(node) and _number("layout", 0)(node),
        **{name: _undilated for name in ("AveragePool", "LpPool", "MaxPool")},
        **{name: _first_output_alone for name in ("LayerNormalization", "MaxPool")},
        **{name: _centred(2) for name in ("DequantizeLinear", "QuantizeLinear")},
    }
)
