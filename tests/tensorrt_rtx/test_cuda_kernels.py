"""ONNX Runtime's CUDA provider, by its recorded table of kernels: speaking does not leave the GPU."""

from __future__ import annotations

import onnx
import onnx_ir as ir
import pytest

from soundstorm_export.rewrite.cuda import to_cuda
from soundstorm_export.verify.cuda_kernels import without_cuda_kernel

from .test_builds import GRAPHS
from .voices import write

NAMES = sorted({(voice, name) for voice, name, _ in GRAPHS})


@pytest.mark.parametrize(("voice", "name"), NAMES)
def test_every_operator_of_every_graph_has_a_cuda_kernel(exported, tmp_path, voice, name):
    _, model = exported(voice, name)
    for precision in ("fp32", "fp16"):
        file = write(model, precision, tmp_path / "graph.onnx")
        assert without_cuda_kernel(ir.load(file)) == []
        if precision == "fp16" and name == "step":
            fused = to_cuda(ir.load(file))
            assert "MultiHeadAttention" in {node.op_type for node in fused.graph}
            assert without_cuda_kernel(fused) == []


@pytest.mark.parametrize(
    ("operator", "opset", "missing"),
    [
        ("Equal", 18, []),
        ("Equal", 20, ["Equal-19"]),  # registered from 13 on, which is not what opset 19 defines
        ("Cast", 20, []),
        ("Bernoulli", 20, ["Bernoulli-15"]),
    ],
)
def test_a_kernel_without_an_end_serves_its_own_version_alone(operator, opset, missing):
    inputs = {"Equal": ["x", "x"]}.get(operator, ["x"])
    attributes = {"to": onnx.TensorProto.INT64} if operator == "Cast" else {}
    node = onnx.helper.make_node(operator, inputs, ["y"], **attributes)
    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2])
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    graph = onnx.helper.make_graph([node], "g", [x], [y])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    assert without_cuda_kernel(ir.from_proto(model)) == missing
