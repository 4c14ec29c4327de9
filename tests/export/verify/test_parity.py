"""The parity check: a wrong graph must not pass."""

import copy
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from soundstorm_edge.checkpoint import VoiceModels
from soundstorm_export.errors import ExportError
from soundstorm_export.tracing.networks import Network, feed_limits, networks
from soundstorm_export.verify.parity import BOUNDS, Bound, _compare, check_parity
from soundstorm_export.voice_parts import Parts
from soundstorm_runtime.bundle.reader import Bundle
from soundstorm_runtime.engines.example_feeds import example_feeds
from soundstorm_runtime.engines.graphs import check_feeds, step_graph


@pytest.fixture(scope="module")
def traced(tiny_voice: VoiceModels, full_bundle: Bundle) -> dict[str, tuple[Network, Path]]:
    pairs = networks(Parts.of(tiny_voice), full_bundle.manifest.expected_graphs())
    return {name: (network, full_bundle.graph_file(name)) for name, network in pairs.items()}


@pytest.mark.parametrize("name", ["step", "decoder", "text_encoder", "text_decoder"])
def test_another_weight_is_noticed(name: str, traced, tiny_voice: VoiceModels) -> None:  # type: ignore[no-untyped-def]
    network, path = traced[name]
    check_parity(network, path, Parts.of(tiny_voice))
    module = copy.deepcopy(network.module)
    function = getattr(module, network.function.__name__)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(1.1)
    with pytest.raises(ExportError, match=f"graph '{name}' (differs from PyTorch by|samples what PyTorch)"):
        check_parity(Network(network.graph, module, function), path, Parts.of(tiny_voice))


def test_a_fixed_axis_is_noticed(traced, tiny_voice: VoiceModels, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    network, path = traced["decoder"]
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 37
    onnx.save(model, tmp_path / "fixed.onnx")
    with pytest.raises(
        ExportError, match=r"'codes' of graph 'decoder' has the fixed lengths \[None, 37, 2\]"
    ):
        check_parity(network, tmp_path / "fixed.onnx", Parts.of(tiny_voice))


def test_another_name_is_noticed(traced, tiny_voice: VoiceModels, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    network, _ = traced["decoder"]
    _, path = traced["step"]
    with pytest.raises(ExportError, match=r"graph 'decoder' has the inputs \['codes', 'level'.*expected"):
        check_parity(network, path, Parts.of(tiny_voice))


def test_example_feeds_are_what_the_graphs_take(traced, tiny_voice: VoiceModels) -> None:  # type: ignore[no-untyped-def]
    limits = feed_limits(Parts.of(tiny_voice))
    lengths = {"batch": 3, "frames": 9, "phones": 5, "tokens": 7, "past": 4}
    for network, _ in traced.values():
        check_feeds(
            network.graph,
            example_feeds(network.graph, limits, lengths, np.random.default_rng(0)),
        )


def test_int8_is_held_to_its_own_bound(  # type: ignore[no-untyped-def]
    traced, tiny_voice: VoiceModels, full_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, _ = traced["step"]
    path = full_bundle.graph_file("step", "int8")
    monkeypatch.setitem(BOUNDS, "fp32", Bound(error=1e-5, agreement=1.0))  # a tiny network is hardly changed
    assert check_parity(network, path, Parts.of(tiny_voice), "int8").tolerance == BOUNDS["int8"].error
    with pytest.raises(ExportError, match=r"graph 'step' (differs from PyTorch by|samples what PyTorch)"):
        check_parity(network, path, Parts.of(tiny_voice))


def test_the_confidence_of_another_code_is_not_compared() -> None:
    found = {"ids": np.array([[1, 2]]), "confidence": np.array([[0.5, 0.1]], np.float32)}
    expected = {"ids": np.array([[1, 3]]), "confidence": np.array([[0.4, 0.9]], np.float32)}
    errors, equal = _compare(step_graph(2), {}, expected, found)
    np.testing.assert_allclose(np.concatenate(errors), [0.1, 0], atol=1e-6)
    np.testing.assert_array_equal(np.concatenate(equal), [True, False])
