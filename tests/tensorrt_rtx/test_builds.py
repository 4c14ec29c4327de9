"""Every graph through NVIDIA's real parser and builder, without a GPU: what they take, and what they make of
it.

Graphs are built in the precisions in which the export writes them (`soundstorm_export.variants`): prompt
encoders and, in bf16, the decoder stay in fp32.
"""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx_ir as ir
import pytest

from soundstorm_export.rewrite.constants import load_graph
from soundstorm_export.tensorrt.engine_builder import OLDEST, BuildOptions, build_advice

from .voices import DEPTH, project_profiles, write

TYPES = {"int64": "INT64", "float32": "FLOAT"}
HALVES = ("fp16", "bf16")
EIGHTS = {"int8-qdq": "int8", "fp8-qdq": "fp8_e4m3"}
AMPERE, ADA, BLACKWELL = 86, 89, 120

# MiB of activations that the step takes in the largest shapes of its profiles: 4 sentences of 3000 frames.
# Scores of attention would be 4 x 2 x 3000 x 3000 numbers, which is what fp32 stores, for lack of a fused
# kernel.
MOST_MEMORY = {"fp32": 640, "half": 80}

GRAPHS = [
    *[("spectral", "step", precision) for precision in ("fp32", *HALVES, *EIGHTS)],
    ("spectral", "step_next", "fp16"),
    *[("spectral", "decoder", precision) for precision in ("fp32", "fp16")],
    *[("spectral", name, p) for name in ("text_encoder", "text_decoder") for p in ("fp32", "fp16")],
    *[("spectral", name, "fp32") for name in ("encoder", "units")],
    *[
        ("soundstream", name, p)
        for name in ("decoder", "text_encoder", "text_step")
        for p in ("fp32", "fp16")
    ],
    ("soundstream", "decoder_stream", "fp32"),
    *[("block-causal", name, "fp16") for name in ("step", "prefix")],
    ("block-causal", "quantizer", "fp32"),
    *[("block-causal", "decoder", p) for p in ("fp32", "fp16")],  # of a harmonic source
]
REST = [  # `pytest -m sweep tests/tensorrt_rtx`: what takes long to export, or hardly differs from the above
    *[("spectral", name, "bf16") for name in ("step_next", "text_encoder", "text_decoder")],
    *[("soundstream", name, "bf16") for name in ("text_encoder", "text_step")],
    ("soundstream", "decoder_stream", "fp16"),
    ("soundstream", "encoder", "fp32"),
]
ATTENTION = ("step", "step_next", "prefix", "text_encoder", "text_decoder")  # one in each block


def targets(precision: str, voice: str = "spectral") -> tuple[int, ...]:
    """Name compute capabilities that take a precision by the builder's table: all of them for one voice."""
    major, minor = OLDEST.get(precision, (0, 0))
    taking = tuple(capability for capability in (AMPERE, ADA, BLACKWELL) if capability >= 10 * major + minor)
    return taking if voice == "spectral" else taking[:1]


def quantised_products(file: Path) -> set[str]:
    """Name the products in an ONNX file whose factors are both dequantised."""
    nodes = onnx.load(file).graph.node
    makers = {output: node.op_type for node in nodes for output in node.output}
    products = (node for node in nodes if node.op_type == "MatMul")
    return {n.name for n in products if {makers.get(name) for name in n.input} == {"DequantizeLinear"}}


@pytest.mark.parametrize(
    ("voice", "name", "precision"),
    [*GRAPHS, *(pytest.param(*graph, marks=pytest.mark.sweep) for graph in REST)],
)
def test_every_graph_is_parsed_and_built(build, exported, tmp_path, voice, name, precision):
    graph, _ = exported(voice, name)
    built = build(voice, name, precision, targets(precision, voice))
    assert built.errors == ()
    assert built.plan
    assert built.layers
    assert built.tensors == {tensor.name: TYPES[tensor.dtype] for tensor in graph.inputs + graph.outputs}
    if voice != "soundstream" and name in ATTENTION:
        fused = 0 if precision == "fp32" else DEPTH * len(project_profiles(graph))
        assert built.fused_attentions == fused
    if (voice, name) == ("spectral", "step"):
        most = MOST_MEMORY["fp32" if precision == "fp32" else "half"]
        assert built.activations < most << 20
        if precision == "fp16":  # queries, keys and values may stay apart in the graph: a CPU has them faster
            assert sum(len(products) == 3 for products in built.products) > 0
    if precision in EIGHTS:
        expected = quantised_products(tmp_path / f"{name}.onnx")
        types = {product: kind for products, kind in built.products.items() for product in products}
        assert expected
        assert {product: types.get(product) for product in expected} == dict.fromkeys(
            expected, EIGHTS[precision]
        )


def test_weights_stored_as_halves_change_no_engine(library, exported, tmp_path):
    graph, model = exported("spectral", "step")
    stored = write(model, "fp32", tmp_path / "stored.onnx")
    halves = [weight for weight in onnx.load(stored).graph.initializer if weight.name.endswith(".float16")]
    assert len(halves) > 10
    ir.save(load_graph(stored), tmp_path / "whole.onnx")
    profiles = project_profiles(graph)[-1:]
    built, whole = (library.build(file, profiles, (ADA,)) for file in (stored, tmp_path / "whole.onnx"))
    assert len(built.layers) == len(whole.layers)
    assert (built.activations, set(built.products.values())) == (
        whole.activations,
        set(whole.products.values()),
    )
    assert len(built.plan) == pytest.approx(len(whole.plan), rel=0.01)  # the weights are in float32 in both


def test_float8_is_refused_below_what_the_table_says(build):
    assert targets("fp8-qdq")[0] == ADA
    built = build("spectral", "step", "fp8-qdq", (AMPERE,))
    assert built.plan is None
    assert "the model contains HW-specific datatypes: fp8_e4m3" in built.errors[-1]


def test_the_reason_for_a_workspace_that_is_too_small_leads_to_the_option(library, exported, tmp_path):
    graph, model = exported("spectral", "step")
    file = write(model, "fp32", tmp_path / "step.onnx")
    built = library.build(file, project_profiles(graph)[:1], (AMPERE,), workspace=1 << 20)
    assert built.plan is None
    assert "--workspace 1 may be too small" in (
        build_advice(built.errors[-1], BuildOptions(workspace=1)) or ""
    )
    assert build_advice(built.errors[-1], BuildOptions()) is None


def test_what_the_parser_does_not_take_is_named(library, tmp_path):
    nodes = [onnx.helper.make_node("Bernoulli", ["x"], ["y"], "draw")]
    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2]) for name in "xy")
    model = onnx.helper.make_model(
        onnx.helper.make_graph(nodes, "g", [x], [y]), opset_imports=[onnx.helper.make_opsetid("", 20)]
    )
    onnx.save(model, tmp_path / "x.onnx")
    (error, *_) = library.takes(tmp_path / "x.onnx")
    assert "'draw' (Bernoulli)" in error
