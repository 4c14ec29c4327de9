"""What an ONNX file may not hold is refused before ONNX Runtime sees it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from soundstorm_runtime.engines.onnx import graph_limits
from soundstorm_runtime.engines.onnx.graph_limits import check_graph


def graph(nodes, constants=()):
    return helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
        list(constants),
    )


def model(nodes, constants=(), **options):
    made = helper.make_model(
        graph(nodes, constants),
        opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)],
        **options,
    )
    return made.SerializeToString()


def node(operator, inputs=("x",), **attributes):
    return helper.make_node(operator, list(inputs), ["y"], **attributes)


def constant(name, values):
    return numpy_helper.from_array(np.array(values), name)


def claims(tensor, *dims):
    """Give a tensor another shape than its data have."""
    del tensor.dims[:]
    tensor.dims.extend(dims)
    return tensor


def outside(location, **entries):
    tensor = TensorProto(name="w", dims=[2], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


BRANCH = graph([node("Abs")])
CONDITION = constant("c", True)
WEIGHTS = [node("Add", ["x", "w"])]


@pytest.fixture
def check(tmp_path):
    def run(content, **options):
        (tmp_path / "step.onnx").write_bytes(content)
        check_graph(tmp_path / "step.onnx", **options)

    return run


def test_what_a_voice_has_passes(check, tmp_path):
    check(model([node("Add", ["x", "w"])], [constant("w", np.ones(3, np.float32))]))
    check(model([node("Expand", ["x", "s"])], [constant("s", [1000, 1000])]))
    check(model([node("RotaryEmbedding", domain="com.microsoft")]))
    typed = helper.make_tensor("w", TensorProto.INT64, [2], [1, -1])
    check(model(WEIGHTS, [typed]))
    (tmp_path / "step.weights").write_bytes(bytes(20))
    for entries in ({"offset": 4, "length": 8}, {"offset": 12}, {}):
        check(model(WEIGHTS, [outside("step.weights", **entries)]), weights=tmp_path / "step.weights")
    branches = [node("If", ["c"], then_branch=BRANCH, else_branch=BRANCH)]
    check(model(branches, [CONDITION]), branches=True)


IF = node("If", ["c"], then_branch=BRANCH, else_branch=BRANCH)
REFUSED = {
    "a loop": (model([node("Loop", ["", ""], body=BRANCH)]), "operator Loop has a graph inside"),
    "a scan": (model([node("Scan", body=BRANCH, num_scan_inputs=1)]), "operator Scan has a graph inside"),
    "branches": (model([IF], [CONDITION]), "operator If has a graph inside"),
    "a function": (
        model([node("Abs")], functions=[helper.make_function("f", "f", [], [], [], [])]),
        "it has functions of its own",
    ),
    "another domain": (model([node("Run", domain="shell")]), "has the operator 'shell::Run'"),
    "an engine": (model([node("EPContext", domain="com.microsoft")]), "'com.microsoft::EPContext'"),
    "own randomness": (model([node("RandomNormal", (), shape=[1])]), "'RandomNormal', which draws random"),
    "an absent file": (
        model(WEIGHTS, [outside("/etc/passwd")]),
        "its data in '/etc/passwd', expected no other",
    ),
    "less data": (
        model(WEIGHTS, [claims(constant("w", np.ones(3, np.float32)), 4)]),
        r"tensor 'w' has 12 bytes for shape \[4\], expected 16",
    ),
    "hardly any data": (
        model(WEIGHTS, [claims(helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0]), 10**12)]),
        r"tensor 'w' has 4 bytes for shape \[1000000000000\]",
    ),
    "a negative shape": (
        model(WEIGHTS, [claims(constant("w", np.ones(1, np.float32)), -1)]),
        r"shape \[-1\], expected numbers",
    ),
    "texts": (
        model([node("Constant", (), value=numpy_helper.from_array(np.array(["a"], object)))]),
        "has type 8",
    ),
    "a huge result": (
        model([node("Expand", ["x", "s"])], [constant("s", [1 << 15, 1 << 15])]),
        "operator Expand asks for 1073741824 elements",
    ),
    "a huge constant": (
        model(
            [
                helper.make_node("Constant", [], ["s"], value=constant("", [1 << 40])),
                node("Expand", ["x", "s"]),
            ]
        ),
        "operator Expand asks for",
    ),
    "a huge range": (
        model([node("Range", ["a", "b", "a"])], [constant("a", 1), constant("b", 1 << 60)]),
        "operator Range asks for",
    ),
    "no file": (b"", "cannot mmap an empty file"),
    "no graph": (b"\x08\x0a", "it has 0 graphs"),
    "text": (b"hello world", "it is (damaged|truncated)"),
    "half": (model(WEIGHTS)[:-9], "it is truncated"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_voice_has_is_refused(check, name):
    content, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        check(content)


def test_the_branches_of_an_if_are_short_and_have_none_inside(check, monkeypatch):
    inner = graph([IF])
    with pytest.raises(ValueError, match="operator If has a graph inside"):
        check(model([node("If", ["c"], then_branch=inner, else_branch=inner)]), branches=True)
    monkeypatch.setattr(graph_limits, "MOST_NODES_OF_A_BRANCH", 0)
    with pytest.raises(ValueError, match="a branch has 1 nodes, expected at most 0"):
        check(model([IF]), branches=True)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (outside("other.weights"), "its data in 'other.weights', expected step.weights"),
        (outside("../x/step.weights"), "expected step.weights"),
        (outside("step.weights", offset=16), "has 8 bytes from 16 on in step.weights, expected 8 of 20"),
        (outside("step.weights", offset=-4), "from -4 on"),
        (outside("step.weights", length=12), "has 12 bytes from 0 on in step.weights, expected 8"),
        (outside("step.weights", length="many"), "invalid literal"),
    ],
)
def test_external_data_are_within_the_listed_file(check, tmp_path, tensor, message):
    (tmp_path / "step.weights").write_bytes(bytes(20))
    with pytest.raises(ValueError, match=message):
        check(model(WEIGHTS, [tensor]), weights=tmp_path / "step.weights")


def test_numbers_of_nodes_and_tensors_are_limited(check, monkeypatch):
    monkeypatch.setattr(graph_limits, "MOST_NODES", 1)
    with pytest.raises(ValueError, match="more than 1 nodes"):
        check(model([node("Abs"), node("Abs")]))
    monkeypatch.setattr(graph_limits, "MOST_TENSORS", 1)
    with pytest.raises(ValueError, match="more than 1 tensors"):
        check(model([node("Abs")], [constant("a", 1), constant("b", 2)]))


def test_sizes_of_types_are_those_of_onnx():
    sizes = graph_limits._BYTES
    for kind in (
        TensorProto.FLOAT,
        TensorProto.INT64,
        TensorProto.BOOL,
        TensorProto.FLOAT16,
        TensorProto.DOUBLE,
    ):
        assert sizes[kind] == onnx.helper.tensor_dtype_to_np_dtype(kind).itemsize
