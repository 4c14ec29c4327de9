"""Emulate a bf16 graph in float32, since ONNX Runtime lacks most bfloat16 kernels on the CPU.

Every operator computes in float32, and two casts round its result to bfloat16; weights are rounded. This
checks the conversion: which values are rounded, that none overflows, how errors accumulate. It does not check
the kernels of a GPU, which sum in another order and, where one kernel computes several operators, round less
often.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from .half import FLOAT, HALVES

SHORT = HALVES["bf16"]


def rounded(model: ir.Model) -> ir.Model:
    """Rewrite a bf16 model in place, and return it."""
    for weight in model.graph.initializers.values():
        if weight.dtype == SHORT and weight.const_value is not None:
            weight.const_value = ir.tensor(weight.const_value.numpy().astype(np.float32), name=weight.name)
            weight.dtype = FLOAT
    for node in list(model.graph):
        for value in node.outputs:
            if value.dtype == SHORT:
                _round(model.graph, node, value)
    return model


def _round(graph: ir.Graph, node: ir.Node, value: ir.Value) -> None:
    """Round a value to bfloat16 and back for its users; one that a cast made is rounded already."""
    users, casts, last = tuple(value.uses()), [], value
    if node.op_type != "Cast":
        value.dtype = FLOAT
    for dtype in (FLOAT,) if node.op_type == "Cast" else (SHORT, FLOAT):
        cast = ir.node("Cast", [last], {"to": dtype})
        last = cast.outputs[0]
        last.name, last.dtype, last.shape = f"{value.name}.{dtype.name.lower()}", dtype, value.shape
        casts.append(cast)
    graph.insert_after(node, casts)
    for user, place in users:
        user.replace_input_with(place, last)
