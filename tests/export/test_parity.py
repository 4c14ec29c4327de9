"""The proof itself: it must catch what is wrong."""

import copy
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from soundstorm_edge.checkpoint import VoiceModels
from soundstorm_export.errors import ExportError
from soundstorm_export.networks import Network, example_feeds, networks
from soundstorm_export.operators import check_operators, tensorrt_operators
from soundstorm_export.parity import check_parity
from soundstorm_runtime.bundle import read_bundle
from soundstorm_runtime.graphs import check_feeds


@pytest.fixture(scope="module")
def traced(tiny_voice: VoiceModels, tiny_bundle: Path) -> dict[str, tuple[Network, Path]]:
    bundle = read_bundle(tiny_bundle)
    pairs = networks(tiny_voice, bundle.manifest.expected_graphs())
    return {name: (network, bundle.graph_file(name)) for name, network in pairs.items()}


@pytest.mark.parametrize("name", ["step", "decoder", "text_encoder", "text_decoder"])
def test_another_weight_is_noticed(name: str, traced, tiny_voice: VoiceModels) -> None:  # type: ignore[no-untyped-def]
    network, path = traced[name]
    check_parity(network, path, tiny_voice.config)
    module = copy.deepcopy(network.module)
    function = getattr(module, network.function.__name__)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(1.1)
    with pytest.raises(ExportError, match=f"graph '{name}' (differs from PyTorch by|samples what PyTorch)"):
        check_parity(Network(network.graph, module, function), path, tiny_voice.config)


def test_a_fixed_axis_is_noticed(traced, tiny_voice: VoiceModels, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    network, path = traced["decoder"]
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 37
    onnx.save(model, tmp_path / "fixed.onnx")
    with pytest.raises(
        ExportError, match=r"'codes' of graph 'decoder' has the fixed lengths \[None, 37, 2\]"
    ):
        check_parity(network, tmp_path / "fixed.onnx", tiny_voice.config)


def test_another_name_is_noticed(traced, tiny_voice: VoiceModels, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    network, _ = traced["decoder"]
    _, path = traced["step"]
    with pytest.raises(ExportError, match=r"graph 'decoder' has the inputs \['codes', 'level'.*expected"):
        check_parity(network, path, tiny_voice.config)


def test_example_feeds_are_what_the_graphs_take(traced, tiny_voice: VoiceModels) -> None:  # type: ignore[no-untyped-def]
    lengths = {"batch": 3, "frames": 9, "phones": 5, "tokens": 7, "past": 4}
    for network, _ in traced.values():
        check_feeds(
            network.graph, example_feeds(network.graph, tiny_voice.config, lengths, np.random.default_rng(0))
        )


def test_foreign_operators_are_named(tmp_path: Path) -> None:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    nodes = [
        helper.make_node("Bernoulli", ["x"], ["z"]),
        helper.make_node("FusedGelu", ["z"], ["y"], domain="com.microsoft"),
    ]
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", [value], [out])), tmp_path / "foreign.onnx")
    with pytest.raises(ExportError, match=r"does not take: Bernoulli, com\.microsoft::FusedGelu"):
        check_operators(tmp_path / "foreign.onnx")


def test_the_operator_list_is_whole() -> None:
    operators = tensorrt_operators()
    assert {"MatMul", "CumSum", "LayerNormalization", "Where"} <= operators
    assert len(operators) == 150
