"""The fp16 form: half precision inside, float32 at both ends and where sums and exponentials need it."""

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from soundstorm_export.errors import ExportError
from soundstorm_export.fp16 import FLOAT, HALF, to_fp16
from soundstorm_export.operators import check_operators
from soundstorm_export.simplify import simplify
from tests.export.conftest import Run, step_feeds


@pytest.fixture
def fp16(traced: ir.Model) -> ir.Model:
    return to_fp16(simplify(traced))


def test_only_islands_are_whole(fp16: ir.Model) -> None:
    whole = {node.op_type for node in fp16.graph if node.outputs[0].dtype == FLOAT}
    assert {"LayerNormalization", "Softmax", "LogSoftmax", "CumSum", "Exp"} <= whole
    assert all(node.outputs[0].dtype == HALF for node in fp16.graph if node.op_type in ("Conv", "Sigmoid"))
    products = [node for node in fp16.graph if node.op_type == "MatMul"]
    assert [node.outputs[0].dtype for node in products[-2:]] == [HALF, FLOAT]  # the last one makes the logits
    assert {node.outputs[0].dtype for node in products[:-1]} == {HALF}


def test_no_cast_follows_another(fp16: ir.Model) -> None:
    casts = [node for node in fp16.graph if node.op_type == "Cast"]
    assert not [node for node in casts if (before := node.inputs[0].producer()) and before in casts]


def test_it_is_valid_near_and_for_tensorrt(traced: ir.Model, run: Run) -> None:
    feeds = step_feeds((40, 13))
    plain = simplify(traced)
    before = run(plain, feeds)
    half = to_fp16(plain)
    check_operators("step", half)
    onnx.checker.check_model(ir.to_proto(half), full_check=True)
    after = run(half, feeds)
    same = before["ids"] == after["ids"]
    assert same.mean() > 0.98
    np.testing.assert_allclose(before["confidence"][same], after["confidence"][same], atol=1e-3)
    assert np.any(before["confidence"] != after["confidence"])


def test_a_weight_out_of_range_is_named(traced: ir.Model) -> None:
    model = simplify(traced)
    name, value = next(
        (n, v) for n, v in model.graph.initializers.items() if n.endswith("code_embedding.weight")
    )
    assert value.const_value is not None
    value.const_value = ir.tensor(value.const_value.numpy() * 1e6, name=name)
    with pytest.raises(
        ExportError, match=r"the weight .*code_embedding.weight reaches .*, half precision 6.55e"
    ):
        to_fp16(model)


def test_what_masks_a_score_stays_as_low_as_can_be() -> None:
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
    half = ir.to_proto(to_fp16(model)).SerializeToString()
    session = onnxruntime.InferenceSession(half, providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, feeds)[0], [[0.5, 0, 0.5]] * 2)
