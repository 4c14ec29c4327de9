"""Operators that lack a CUDA kernel in ONNX Runtime: each costs copies, and rules out CUDA graphs."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib import resources
from types import MappingProxyType

import onnx
import onnx_ir as ir

Span = tuple[int, int | None]  # opsets that a kernel is registered for; None where it has no end

TABLES = ("1.22", "2025", "2026")  # that are recorded: the oldest release supported, and two later states


@functools.cache
def cuda_kernels(table: str) -> Mapping[str, tuple[Span, ...]]:
    """Read a recorded table of registered kernels."""
    file = resources.files(__package__) / f"onnxruntime-cuda-kernels-{table}.txt"
    text = file.read_text(encoding="utf-8")
    rows = (line.split("\t") for line in text.splitlines() if line and not line.startswith("#"))
    return MappingProxyType({name: tuple(map(_span, spans.split())) for name, spans in rows})


def without_cuda_kernel(model: ir.Model) -> list[str]:
    """Name the operators of a graph, with their versions, that would run on the CPU; in order, each once.

    Every recorded table must have the kernel. Constants are no nodes to a session, so they are left out.
    """
    found: dict[str, None] = {}
    for node in model.graph.all_nodes():
        if node.op_type == "Constant":
            continue
        name, version = _identity(node, model.graph.opset_imports)
        if not all(
            any(_serves(span, version) for span in cuda_kernels(table).get(name, ())) for table in TABLES
        ):
            found[f"{name}-{version}"] = None
    return list(found)


def _identity(node: ir.Node, opsets: Mapping[str, int]) -> tuple[str, int]:
    """Return the name of an operator in the tables, and its version in the opset of a graph."""
    if node.domain in ("", "ai.onnx"):
        return node.op_type, onnx.defs.get_schema(node.op_type, opsets[""]).since_version
    return f"{node.domain}::{node.op_type}", 1  # that of all of ONNX Runtime's own


def _span(text: str) -> Span:
    if text.endswith("+"):
        return int(text[:-1]), None
    first, _, last = text.partition("-")
    return int(first), int(last or first)


def _serves(span: Span, version: int) -> bool:
    first, last = span
    return version == first or (last is not None and first <= version <= last)
