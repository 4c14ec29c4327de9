"""Forms for CPUs: their operators, how closely they agree, and that padding changes nothing."""

from collections import Counter

import numpy as np
import onnx_ir as ir
import pytest

from soundstorm_export.rewrite.constants import constant
from soundstorm_export.rewrite.cpu import to_cpu, to_int8
from soundstorm_export.rewrite.simplify import simplify
from tests.export.conftest import DEPTH, Run, step_feeds


@pytest.fixture
def int8(traced: ir.Model) -> ir.Model:
    return to_int8(simplify(traced))


def test_attention_and_products_are_single_operators(int8: ir.Model) -> None:
    found = Counter(node.op_type for node in int8.graph.all_nodes())
    assert found["RotaryEmbedding"] == 2 * DEPTH
    assert found["MultiHeadAttention"] == DEPTH
    assert found["MatMulIntegerToFloat"] == 11 * DEPTH
    assert found["MatMul"] == DEPTH - 1 + 2 + 2  # narrow, looked up, cumulative sums
    assert found["Softmax"] == 1  # that of the sampling


@pytest.mark.parametrize("lengths", [(40,), (40, 13)])
def test_fused_attention_gives_the_same(traced: ir.Model, run: Run, lengths: tuple[int, ...]) -> None:
    feeds = step_feeds(lengths)
    plain = simplify(traced)
    before = run(plain, feeds)
    fused = to_cpu(plain)
    after = run(fused, feeds)
    np.testing.assert_array_equal(before["ids"], after["ids"])
    np.testing.assert_allclose(before["confidence"], after["confidence"], atol=1e-5)
    found = Counter(node.op_type for node in fused.graph.all_nodes())
    assert (found["MultiHeadAttention"], found["RotaryEmbedding"]) == (2 * DEPTH, 2 * DEPTH)
    assert found["Softmax"] == 1
    assert not found["MatMulIntegerToFloat"]


@pytest.mark.parametrize("lengths", [(40,), (40, 13)])
def test_int8_is_near(traced: ir.Model, run: Run, lengths: tuple[int, ...]) -> None:
    feeds = step_feeds(lengths)
    plain = simplify(traced)
    before = run(plain, feeds)
    after = run(to_int8(plain), feeds)
    same = before["ids"] == after["ids"]
    assert same.mean() > 0.9
    np.testing.assert_allclose(before["confidence"][same], after["confidence"][same], atol=0.01)
    assert np.any(before["confidence"] != after["confidence"])  # or else nothing was quantised


def test_padding_is_not_attended_to(int8: ir.Model, run: Run) -> None:
    """A short sample beside a long one: whatever lies in its padding, its codes are the same."""
    feeds = step_feeds((40, 13))
    before = run(int8, feeds)
    other = feeds["codes"].copy()
    other[1, 13:] = 5
    after = run(int8, {**feeds, "codes": other})
    np.testing.assert_array_equal(before["ids"][1, :13], after["ids"][1, :13])
    np.testing.assert_array_equal(before["confidence"][1, :13], after["confidence"][1, :13])


def test_int8_computes_a_sample_of_a_batch_as_it_does_alone(int8: ir.Model, run: Run) -> None:
    """To the last bit, padded or not: each row has a scale of its own."""
    feeds = step_feeds((40, 40, 31))
    together = run(int8, feeds)
    for row, length in enumerate(feeds["lengths"]):
        own = {name: a[row : row + 1] if len(a) == 3 else a for name, a in feeds.items()}
        own = {name: a[:, :length] if a.ndim > 1 else a for name, a in own.items()}
        alone = run(int8, own)
        np.testing.assert_array_equal(together["ids"][row, :length], alone["ids"][0])
        np.testing.assert_array_equal(together["confidence"][row, :length], alone["confidence"][0])


def test_weights_are_symmetric_with_a_scale_for_each_column(int8: ir.Model) -> None:
    node = next(node for node in int8.graph if node.op_type == "MatMulIntegerToFloat")
    weight, scale = constant(node.inputs[1]), constant(node.inputs[3])
    assert weight is not None
    assert scale is not None
    assert weight.dtype == np.int8
    assert scale.shape == weight.shape[1:]
    assert len(node.inputs) == 5  # no zero points of weights
    assert np.all(np.abs(weight).max(axis=0) == 127)
