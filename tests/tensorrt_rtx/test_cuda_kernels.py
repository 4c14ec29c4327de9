"""ONNX Runtime's CUDA provider: speaking does not leave the GPU, by its recorded tables of kernels; and on a
GPU, where there is one, fused attention agrees with the CPU."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from soundstorm_export.rewrite.cuda import to_cuda
from soundstorm_export.tracing.networks import feed_limits
from soundstorm_export.verify.cuda_kernels import without_cuda_kernel
from soundstorm_export.verify.parity import BOUNDS
from soundstorm_runtime.engines.comparison import compare
from soundstorm_runtime.engines.example_feeds import example_feeds
from soundstorm_runtime.engines.onnx.onnx_engine import OnnxEngine, available_devices

from .test_builds import GRAPHS
from .voices import block_causal_voice, spectral_voice, traced, write

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


@pytest.mark.gpu
@pytest.mark.parametrize("make", [spectral_voice, block_causal_voice])
def test_fused_attention_agrees_with_the_cpu(tmp_path, make):
    if "cuda" not in available_devices():
        pytest.skip("this ONNX Runtime has no CUDA")
    parts, networks = make()
    step = networks["step"]
    plain, fused = (tmp_path / name for name in ("plain.onnx", "fused.onnx"))
    ir.save(to_cuda(ir.load(write(traced(step, parts), "fp16", plain))), fused)
    on_cpu = OnnxEngine(step.graph, plain, provider="cpu")
    on_gpu = OnnxEngine(step.graph, fused, provider="cuda")
    rng = np.random.default_rng(0)
    for batch, frames, prefix in ((1, 64, 1), (3, 200, 150), (1, 1000, 64)):  # samples have several lengths
        case = {"batch": batch, "frames": frames, "prefix": prefix}
        feeds = example_feeds(step.graph, feed_limits(parts), case, rng)
        for _ in range(3):  # the first run, the captured one, a replayed one
            difference = compare(step.graph, on_cpu.run(feeds), on_gpu.run(feeds))
            assert difference.largest < BOUNDS["fp16"].error
            assert difference.agreement > BOUNDS["fp16"].agreement
