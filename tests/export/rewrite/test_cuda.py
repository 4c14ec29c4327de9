"""The form for ONNX Runtime on CUDA: its operators, and that it agrees with the graph that it is made of."""

from collections import Counter

import numpy as np
import onnx_ir as ir
import pytest

from soundstorm_export.rewrite.cuda import to_cuda
from soundstorm_export.rewrite.half import HALVES, to_half
from soundstorm_export.rewrite.simplify import simplify
from soundstorm_export.verify.cuda_kernels import without_cuda_kernel
from tests.export.conftest import DEPTH, Run, step_feeds


@pytest.fixture
def half(traced: ir.Model) -> ir.Model:
    return to_half(simplify(traced), HALVES["fp16"])


def test_attention_is_one_operator_of_halves_with_a_cuda_kernel(half: ir.Model) -> None:
    model = to_cuda(half)
    found = Counter(node.op_type for node in model.graph.all_nodes())
    assert (found["MultiHeadAttention"], found["RotaryEmbedding"]) == (DEPTH, 2 * DEPTH)
    assert found["Softmax"] == 1  # that of the sampling
    assert not found["If"]
    assert without_cuda_kernel(model) == []


@pytest.mark.parametrize("lengths", [(40,), (40, 13)])
def test_it_agrees_with_attention_in_several_operators(
    half: ir.Model, run: Run, lengths: tuple[int, ...]
) -> None:
    feeds = step_feeds(lengths)
    before = run(half, feeds)
    after = run(to_cuda(half), feeds)
    same = before["ids"] == after["ids"]
    assert same.mean() > 0.97
    np.testing.assert_allclose(before["confidence"][same], after["confidence"][same], atol=2e-3)


def test_padding_is_not_attended_to(half: ir.Model, run: Run) -> None:
    model, feeds = to_cuda(half), step_feeds((40, 13))
    before = run(model, feeds)
    other = feeds["codes"].copy()
    other[1, 13:] = 5
    after = run(model, {**feeds, "codes": other})
    np.testing.assert_array_equal(before["ids"][1, :13], after["ids"][1, :13])
