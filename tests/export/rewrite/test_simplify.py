"""Simplified graphs: cheaper in the ways that are claimed, and equal."""

from collections import Counter

import numpy as np
import onnx_ir as ir
import pytest

from soundstorm_export.rewrite.simplify import simplify
from soundstorm_export.tracing.networks import Network
from tests.export.conftest import DEPTH, Run, step_feeds


def operators(model: ir.Model) -> Counter[str]:
    return Counter(node.op_type for node in model.graph)


@pytest.mark.parametrize("lengths", [(40,), (40, 13)])
def test_simplified_is_equal(traced: ir.Model, run: Run, network: Network, lengths: tuple[int, ...]) -> None:
    feeds = step_feeds(lengths)
    before = run(traced, feeds)
    after = run(simplify(traced), feeds)
    np.testing.assert_array_equal(before["ids"], after["ids"])
    np.testing.assert_allclose(before["confidence"], after["confidence"], atol=1e-6)


def test_every_rule_finds_its_places(traced: ir.Model) -> None:
    before = operators(traced)
    model = simplify(traced)
    after = operators(model)
    assert after["MatMul"] == before["MatMul"] + 3 * DEPTH + 2  # q, k and v; value and gate; cumulative sums
    assert after["Where"] == before["Where"] - (DEPTH - 1)  # mixed values
    assert after["Split"] == 2 * DEPTH  # the halves that rotary positions turn: no gate is split off
    convolutions = [node for node in model.graph if node.op_type == "Conv"]
    assert [list(node.attributes["kernel_shape"].as_ints()) for node in convolutions] == [[1, 5]] * DEPTH
    halves = [node for node in model.graph if node.op_type == "Mul" and _constant(node.inputs[1]) == 0.5]
    assert halves == []


def test_weights_and_notes_that_nothing_uses_are_gone(traced: ir.Model) -> None:
    model = simplify(traced)
    assert all(value.uses() for value in model.graph.initializers.values())
    assert all(not node.metadata_props and not node.doc_string for node in model.graph)


def _constant(value: ir.Value | None) -> float | None:
    tensor = ir.convenience.get_const_tensor(value) if value is not None else None
    return tensor.numpy().item() if tensor is not None and tensor.size == 1 else None
