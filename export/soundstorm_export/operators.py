"""Check a graph against the operators that TensorRT's ONNX parser accepts."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import onnx

from .errors import ExportError


def tensorrt_operators() -> frozenset[str]:
    """Name the operators of TensorRT 10.0, from the onnx-tensorrt project's table."""
    text = (resources.files("soundstorm_export") / "tensorrt-operators.txt").read_text(encoding="utf-8")
    return frozenset(line for line in text.splitlines() if not line.startswith("#"))


def check_operators(path: Path) -> None:
    """Raise `ExportError` naming every operator of the graph that TensorRT does not take."""
    model = onnx.load(path, load_external_data=False)
    foreign = sorted({_name(node) for node in _nodes(model)} - tensorrt_operators())
    if foreign:
        raise ExportError(f"{path.name} has operators that TensorRT does not take: {', '.join(foreign)}")


def _name(node: onnx.NodeProto) -> str:
    return f"{node.domain}::{node.op_type}" if node.domain not in ("", "ai.onnx") else node.op_type


def _nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    functions = {(function.domain, function.name) for function in model.functions}
    for node in (*model.graph.node, *(n for function in model.functions for n in function.node)):
        if (node.domain, node.op_type) not in functions:
            yield node
