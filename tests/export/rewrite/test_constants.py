"""Weights that float16 represents exactly take half of the space, and nothing else changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from soundstorm_export.rewrite.constants import load_graph, share_weights, store_as_halves

RNG = np.random.default_rng(0)
HALVES = RNG.standard_normal((64, 32)).astype(np.float16).astype(np.float32)
WEIGHTS = {
    "halves": HALVES,
    "floats": RNG.standard_normal((32, 64)).astype(np.float32),
    "small": np.ones(64, np.float32),
    "vast": np.full((64, 64), 1e6, np.float32),  # beyond the range of float16
}


def model() -> ir.Model:
    nodes = [
        helper.make_node("MatMul", ["x", "halves"], ["a"]),
        helper.make_node("MatMul", ["a", "floats"], ["b"]),
        helper.make_node("Add", ["b", "small"], ["c"]),
        helper.make_node("MatMul", ["c", "vast"], ["y"]),
    ]
    shapes = {"x": [None, 64], "y": [None, 64]}
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items())
    weights = [numpy_helper.from_array(array, name) for name, array in WEIGHTS.items()]
    graph = helper.make_graph(nodes, "graph", [x], [y], weights)
    return ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]))


def run(path: Path) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path))
    return session.run(None, {"x": np.arange(128, dtype=np.float32).reshape(2, 64)})[0]


def test_what_is_exact_is_stored_in_half_the_space(tmp_path: Path) -> None:
    ir.save(model(), tmp_path / "whole.onnx")
    smaller = model()
    store_as_halves(smaller)
    ir.save(smaller, tmp_path / "half.onnx", external_data="half.weights")
    onnx.checker.check_model(onnx.load(tmp_path / "half.onnx"), full_check=True)
    stored = {value.name: value.dtype for value in smaller.graph.initializers.values()}
    assert stored["halves.float16"] == ir.DataType.FLOAT16
    assert {stored[name] for name in ("floats", "small", "vast")} == {ir.DataType.FLOAT}
    np.testing.assert_array_equal(run(tmp_path / "half.onnx"), run(tmp_path / "whole.onnx"))


def test_a_graph_is_read_with_the_weights_it_had(tmp_path: Path) -> None:
    stored = model()
    store_as_halves(stored)
    ir.save(stored, tmp_path / "half.onnx", external_data="half.weights")
    read = load_graph(tmp_path / "half.onnx")
    found = {
        str(v.name): v.const_value for v in read.graph.initializers.values() if v.const_value is not None
    }
    assert found.keys() == WEIGHTS.keys()
    for name, array in WEIGHTS.items():
        np.testing.assert_array_equal(found[name].numpy(), array)
    assert [node.op_type for node in read.graph] == [node.op_type for node in model().graph]
    store_as_halves(read)
    share_weights(read, ir.load(tmp_path / "half.onnx"))
    ir.save(read, tmp_path / "again.onnx")
    np.testing.assert_array_equal(run(tmp_path / "again.onnx"), run(tmp_path / "half.onnx"))
    assert (tmp_path / "again.onnx").stat().st_size < HALVES.nbytes
