"""Operators that GPU engines lack are replaced, and the values stay as they are."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from soundstorm_export.rewrite.simplify import simplify

FLOAT, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
helper = onnx.helper


def graph_of(
    *nodes: onnx.NodeProto, shape: list[int | str], **constants: np.ndarray
) -> tuple[ir.Model, ir.Model]:
    """Make a graph from x and width int64 `[1]` to y; return it as it is and simplified."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [
            helper.make_tensor_value_info("x", FLOAT, shape),
            helper.make_tensor_value_info("width", INT64, [1]),
        ],
        [helper.make_tensor_value_info("y", FLOAT, [None] * len(shape))],
        [onnx.numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return ir.from_proto(proto), simplify(ir.from_proto(proto))


def check_equal(before: ir.Model, after: ir.Model, shape: tuple[int, ...], width: int = 0) -> None:
    feeds = {
        "x": np.random.default_rng(0).standard_normal(shape, np.float32),
        "width": np.array([width]),
    }
    results = []
    for model in (before, after):
        session = onnxruntime.InferenceSession(
            ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"]
        )
        names = {value.name for value in session.get_inputs()}
        results.append(session.run(None, {name: feeds[name] for name in names})[0])
    np.testing.assert_allclose(results[0], results[1], rtol=1e-5, atol=1e-6)


def operators(model: ir.Model) -> Counter[str]:
    return Counter(node.op_type for node in model.graph)


@pytest.mark.parametrize("axis", [-1, -2, 1, 2])
def test_a_cumulative_sum_becomes_a_product(axis: int) -> None:
    node = helper.make_node("CumSum", ["x", "axis"], ["y"])
    before, after = graph_of(node, shape=["batch", 24, 7], axis=np.array(axis))
    assert operators(after) == {"MatMul": 1}
    check_equal(before, after, (2, 24, 7))


@pytest.mark.parametrize(
    ("shape", "attributes"),
    [(["batch", "frames"], {}), (["batch", 6], {"exclusive": 1}), (["batch", 6], {"reverse": 1})],
)
def test_other_cumulative_sums_are_left_alone(shape: list[int | str], attributes: dict[str, int]) -> None:
    node = helper.make_node("CumSum", ["x", "axis"], ["y"], **attributes)
    assert operators(graph_of(node, shape=shape, axis=np.array(-1))[1]) == {"CumSum": 1}


@pytest.mark.parametrize("pads", [[0, 1, 0, 0], [0, 0, 0, 2], [0, 3, 0, 1], [2, 0, 1, 0]])
def test_padding_by_zeros_becomes_a_concatenation(pads: list[int]) -> None:
    node = helper.make_node("Pad", ["x", "pads"], ["y"])
    before, after = graph_of(node, shape=["batch", "frames"], pads=np.array(pads))
    assert "Pad" not in operators(after)
    check_equal(before, after, (2, 5))


@pytest.mark.parametrize("width", [0, 3])
def test_padding_of_a_computed_width_becomes_a_concatenation(width: int) -> None:
    nodes = [
        helper.make_node("Concat", ["none", "none", "none", "width"], ["pads"], axis=0),
        helper.make_node("Pad", ["x", "pads"], ["y"]),
    ]
    before, after = graph_of(*nodes, shape=["batch", "frames"], none=np.array([0]))
    assert "Pad" not in operators(after)
    check_equal(before, after, (2, 5), width)


@pytest.mark.parametrize("mode", ["edge", "reflect"])
@pytest.mark.parametrize("pads", [[0, 1, 0, 0], [0, 0, 0, 2], [0, 4, 0, 3], [0, 0, 0, 0]])
def test_padding_by_its_own_values_becomes_a_concatenation(pads: list[int], mode: str) -> None:
    node = helper.make_node("Pad", ["x", "pads"], ["y"], mode=mode)
    before, after = graph_of(node, shape=["batch", "frames"], pads=np.array(pads))
    assert "Pad" not in operators(after)
    check_equal(before, after, (2, 5))


@pytest.mark.parametrize(
    ("pads", "mode", "value"), [([1, 1, 0, 0], "reflect", 0.0), ([0, 1, 0, 0], "constant", 1.0)]
)
def test_other_padding_is_left_alone(pads: list[int], mode: str, value: float) -> None:
    node = helper.make_node("Pad", ["x", "pads", "value"], ["y"], mode=mode)
    constants = {"pads": np.array(pads), "value": np.array(value, np.float32)}
    assert operators(graph_of(node, shape=["batch", "frames"], **constants)[1]) == {"Pad": 1}


@pytest.mark.parametrize(("dtype", "expected"), [("INT64", ["Max", "Min"]), ("FLOAT", ["Clip"])])
def test_integers_are_not_clipped(dtype: str, expected: list[str]) -> None:
    low, high, x = (ir.Value(name=n, type=ir.TensorType(ir.DataType[dtype])) for n in ("low", "high", "x"))
    node = ir.node("Clip", [x, low, high])
    node.outputs[0].name = "y"
    graph = ir.Graph([x, low, high], node.outputs, nodes=[node], opset_imports={"": 20})
    assert [node.op_type for node in simplify(ir.Model(graph, ir_version=10)).graph] == expected
