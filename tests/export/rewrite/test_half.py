"""The forms of 16 bits: half precision inside, float32 at the ends and where range or sums need it."""

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from soundstorm_export.errors import ExportError
from soundstorm_export.rewrite.bf16_emulation import rounded
from soundstorm_export.rewrite.half import FLOAT, HALVES, to_half
from soundstorm_export.rewrite.products import is_cumulative_sum
from soundstorm_export.rewrite.simplify import simplify
from soundstorm_export.verify.operators import check_operators
from tests.export.conftest import Run, step_feeds

HALF, SHORT = HALVES["fp16"], HALVES["bf16"]


@pytest.fixture(params=HALVES)
def half(request: pytest.FixtureRequest, traced: ir.Model) -> ir.Model:
    return to_half(simplify(traced), HALVES[request.param])


def test_only_islands_are_whole(half: ir.Model) -> None:
    whole = {node.op_type for node in half.graph if node.outputs[0].dtype == FLOAT}
    assert {"LayerNormalization", "Softmax", "LogSoftmax", "Exp"} <= whole
    assert "Sigmoid" not in whole
    sums = [node for node in half.graph if is_cumulative_sum(node)]
    assert {value.dtype for node in sums for value in (*node.inputs, *node.outputs)} == {FLOAT}
    assert len(sums) == 2  # over the blocks of codes, and inside one
    products = [node.outputs[0].dtype for node in half.graph if node.op_type == "MatMul" and node not in sums]
    assert products[-2] != products[-1] == FLOAT  # the last one makes the logits
    assert set(products[:-1]) == {products[0]}


def test_what_onnx_does_not_define_stays_whole(traced: ir.Model) -> None:
    """Convolutions take bfloat16 since opset 22, and TensorRT 10.0 reads 20."""
    convolutions = [node for node in to_half(simplify(traced), SHORT).graph if node.op_type == "Conv"]
    assert {value.dtype for node in convolutions for value in (*node.inputs, *node.outputs)} == {FLOAT}


def test_convolutions_take_fp16(traced: ir.Model) -> None:
    half = to_half(simplify(traced), HALF)
    assert all(node.outputs[0].dtype == HALF for node in half.graph if node.op_type == "Conv")


def test_no_cast_follows_another(half: ir.Model) -> None:
    casts = [node for node in half.graph if node.op_type == "Cast"]
    assert not [node for node in casts if (before := node.inputs[0].producer()) and before in casts]


@pytest.mark.parametrize(("precision", "agreement", "error"), [("fp16", 0.98, 1e-3), ("bf16", 0.9, 1e-2)])
def test_it_is_valid_near_and_for_tensorrt(
    precision: str, agreement: float, error: float, traced: ir.Model, run: Run
) -> None:
    feeds = step_feeds((40, 13))
    plain = simplify(traced)
    before = run(plain, feeds)
    half = to_half(plain, HALVES[precision])
    check_operators("step", half)
    onnx.checker.check_model(ir.to_proto(half), full_check=True)
    after = run(rounded(half) if precision == "bf16" else half, feeds)
    same = before["ids"] == after["ids"]
    assert same.mean() > agreement
    np.testing.assert_allclose(before["confidence"][same], after["confidence"][same], atol=error)
    assert np.any(before["confidence"] != after["confidence"])


def test_the_rounded_form_gives_the_numbers_of_bf16() -> None:
    """Each is rounded as ml_dtypes does it, and none is bfloat16 for longer than from cast to cast."""
    floats, helper = onnx.TensorProto.FLOAT, onnx.helper
    weight = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "weight"], ["y"]),
            helper.make_node("Mul", ["y", "y"], ["square"]),
            helper.make_node("MatMul", ["square", "ones"], ["sum"]),
        ],
        "rounded",
        [helper.make_tensor_value_info("x", floats, [2, 5])],
        [helper.make_tensor_value_info("sum", floats, [2, 1])],
        [onnx.numpy_helper.from_array(weight, "weight"),
         onnx.numpy_helper.from_array(np.ones((3, 1), np.float32), "ones")],
    )  # fmt: skip
    model = ir.from_proto(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    )
    model = rounded(to_half(model, SHORT))
    short = [node for node in model.graph if node.outputs[0].dtype == SHORT]
    assert {node.op_type for node in short} == {"Cast"}

    def cut(array: np.ndarray) -> np.ndarray:
        return array.astype(ml_dtypes.bfloat16).astype(np.float32)

    x = np.random.default_rng(1).standard_normal((2, 5)).astype(np.float32)
    expected = cut(cut(cut(x) @ cut(weight)) ** 2).sum(axis=1, keepdims=True)
    session = onnxruntime.InferenceSession(
        ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    np.testing.assert_allclose(session.run(None, {"x": x})[0], expected, rtol=1e-6)


def test_a_weight_out_of_range_is_named(traced: ir.Model) -> None:
    model = simplify(traced)
    name, value = next(
        (n, v) for n, v in model.graph.initializers.items() if n.endswith("code_embedding.weight")
    )
    assert value.const_value is not None
    value.const_value = ir.tensor(value.const_value.numpy() * 1e6, name=name)
    with pytest.raises(ExportError, match=r"the weight .*code_embedding.weight reaches .*, FLOAT16 6.55e"):
        to_half(model, HALF)


def test_a_cumulative_sum_stays_whole_before_other_products_too() -> None:
    floats, helper = onnx.TensorProto.FLOAT, onnx.helper
    weights = {"triangle": np.triu(np.ones((4, 4), np.float32)), "weight": np.eye(4, dtype=np.float32)}
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "triangle"], ["sums"]),
            helper.make_node("MatMul", ["sums", "weight"], ["z"]),
            helper.make_node("MatMul", ["z", "weight"], ["y"]),
        ],
        "sums",
        [helper.make_tensor_value_info("x", floats, ["rows", 4])],
        [helper.make_tensor_value_info("y", floats, ["rows", 4])],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    products = [node for node in to_half(ir.from_proto(model), HALF).graph if node.op_type == "MatMul"]
    assert [node.outputs[0].dtype for node in products] == [FLOAT, HALF, FLOAT]


@pytest.mark.parametrize("precision", HALVES)
def test_what_masks_a_score_stays_as_low_as_can_be(precision: str) -> None:
    floats, helper = onnx.TensorProto.FLOAT, onnx.helper
    lowest = np.array([np.finfo(np.float32).min], np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "weight"], ["scores"]),
            helper.make_node("Where", ["mask", "scores", "lowest"], ["masked"]),
            helper.make_node("Softmax", ["masked"], ["weights"]),
            helper.make_node("MatMul", ["weights", "weight"], ["y"]),
        ],
        "masked",
        [
            helper.make_tensor_value_info("x", floats, [2, 3]),
            helper.make_tensor_value_info("mask", onnx.TensorProto.BOOL, [3]),
        ],
        [helper.make_tensor_value_info("y", floats, [2, 3])],
        [onnx.numpy_helper.from_array(lowest, "lowest"),
         onnx.numpy_helper.from_array(np.eye(3, dtype=np.float32), "weight")],
    )  # fmt: skip
    model = ir.from_proto(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    )
    feeds = {"x": np.zeros((2, 3), np.float32), "mask": np.array([True, False, True])}
    half = to_half(model, HALVES[precision])
    source = ir.to_proto(rounded(half) if precision == "bf16" else half).SerializeToString()
    session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, feeds)[0], [[0.5, 0, 0.5]] * 2)


def test_a_norm_of_zeros_divides_by_its_bound_in_fp16() -> None:
    """fp16 rounds 1e-12, the bound of `torch.nn.functional.normalize`, to 0: that would be 0 / 0."""
    floats, helper = onnx.TensorProto.FLOAT, onnx.helper
    nodes = [
        helper.make_node("MatMul", ["x", "weight"], ["z"]),
        helper.make_node("ReduceL2", ["z", "axis"], ["norm"], keepdims=1),
        helper.make_node("Clip", ["norm", "bound"], ["clipped"]),
        helper.make_node("Shape", ["z"], ["shape"]),
        helper.make_node("Expand", ["clipped", "shape"], ["expanded"]),
        helper.make_node("Div", ["z", "expanded"], ["unit"]),
        helper.make_node("MatMul", ["unit", "weight"], ["y"]),
    ]
    weights = {
        "weight": np.eye(3, dtype=np.float32),
        "axis": np.array([-1]),
        "bound": np.array(1e-12, np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "normalized",
        [helper.make_tensor_value_info("x", floats, ["rows", 3])],
        [helper.make_tensor_value_info("y", floats, ["rows", 3])],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
        value_info=[helper.make_tensor_value_info(n, floats, ["rows", 3]) for n in ("z", "expanded")],
    )
    model = ir.from_proto(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    )
    source = ir.to_proto(to_half(simplify(model), HALF)).SerializeToString()
    session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
    x = np.array([[0, 0, 0], [3, 0, 4]], np.float32)
    np.testing.assert_allclose(session.run(None, {"x": x})[0], [[0, 0, 0], [0.6, 0, 0.8]], atol=1e-3)
