"""Other forms of the step that NVIDIA's builder could make more of, and does not: `pytest -m sweep`.

The forms are made of the graph as it is exported, in fp16: softmax in half precision; queries, keys and
values, and both halves of a gated unit, as one product; and ONNX `Attention` of opset 23.
"""

from __future__ import annotations

import re
from collections import defaultdict

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from .voices import project_profiles, write

pytestmark = pytest.mark.sweep
ADA = 89


def connections(graph):
    """Return the node that makes each value, and those that take it."""
    makers = {output: node for node in graph.node for output in node.output}
    takers = defaultdict(list)
    for node in graph.node:
        for value in node.input:
            takers[value].append(node)
    return makers, takers


def replace(graph, old, new):
    """Put nodes in the place of the last of others."""
    last = list(graph.node).index(old[-1])
    for node in new:
        graph.node.insert(last + 1, node)
        last += 1
    for node in old:
        graph.node.remove(node)


def attentions(graph):
    """List the nodes of each block of attention: from the keys that are turned to the product with values."""
    makers, takers = connections(graph)
    for softmax in [node for node in graph.node if node.op_type == "Softmax"]:
        before, after = makers[softmax.input[0]], takers[softmax.output[0]]
        casts = [before, after[0]] if before.op_type == "Cast" else []
        add = makers[before.input[0]] if casts else before
        if add.op_type == "Add":
            product, values = makers[add.input[0]], takers[after[0].output[0]][0] if casts else after[0]
            yield makers[product.input[1]], product, add, casts, softmax, values


def with_attention(model):
    for turned, product, add, casts, softmax, values in list(attentions(model.graph)):
        inputs = [product.input[0], turned.input[0], values.input[1], add.input[1]]
        one = helper.make_node("Attention", inputs, values.output, scale=1.0)
        replace(model.graph, [turned, product, add, *casts, softmax, values], [one])
    model.opset_import[0].version = 23
    return model


def with_half_softmax(model):
    for _, _, add, (before, after), softmax, _ in list(attentions(model.graph)):
        one = helper.make_node("Softmax", add.output, after.output, axis=-1)
        replace(model.graph, [before, softmax, after], [one])
    return model


def with_one_product(model):
    weights = {initializer.name: initializer for initializer in model.graph.initializer}
    products = defaultdict(list)
    for node in model.graph.node:
        if node.op_type == "MatMul" and node.input[1] in weights:
            products[node.input[0]].append(node)
    for x, nodes in [(x, nodes) for x, nodes in products.items() if len(nodes) > 1]:
        arrays = [numpy_helper.to_array(weights[node.input[1]]) for node in nodes]
        widths = np.array([array.shape[1] for array in arrays])
        constants = {f"{x}.weight": np.concatenate(arrays, axis=1), f"{x}.widths": widths}
        model.graph.initializer.extend(numpy_helper.from_array(a, name) for name, a in constants.items())
        product = helper.make_node("MatMul", [x, f"{x}.weight"], [f"{x}.product"])
        parts = [node.output[0] for node in nodes]
        split = helper.make_node("Split", [f"{x}.product", f"{x}.widths"], parts, axis=2)
        place = list(model.graph.node).index(nodes[0])
        for node in nodes:
            model.graph.node.remove(node)
        model.graph.node.insert(place, product)
        model.graph.node.insert(place + 1, split)
    return model


@pytest.fixture
def build_form(library, exported, tmp_path):
    def build(form, precision):
        graph, model = exported("spectral", "step")
        file = write(model, precision, tmp_path / "step.onnx")
        onnx.save(form(onnx.load(file)), file)
        return library.build(file, project_profiles(graph)[-1:], (ADA,))

    return build


@pytest.mark.parametrize("form", [with_attention, with_half_softmax, with_one_product])
def test_it_becomes_no_fewer_kernels_and_takes_no_less_memory(build_form, form):
    plain, other = build_form(lambda model: model, "fp16"), build_form(form, "fp16")
    assert other.errors == ()
    kernels, others = (len(re.findall(rb"function=\{ name=", built.plan)) for built in (plain, other))
    assert (others, other.fused_attentions) == (kernels, plain.fused_attentions)
    assert other.activations == pytest.approx(plain.activations, rel=0.05)


def test_attention_of_opset_23_is_refused_in_fp32(build_form):
    assert "was not supported by a dedicated kernel" in " ".join(build_form(with_attention, "fp32").errors)
