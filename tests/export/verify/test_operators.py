"""TensorRT's table: what it does not take is named."""

from __future__ import annotations

import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from soundstorm_export.errors import ExportError
from soundstorm_export.verify.operators import (
    LATER,
    check_operators,
    implementations,
    later_operators,
    tensorrt_operators,
)


def model(
    *nodes: tuple[str, list[str], list[str], dict[str, object]], dtype: int = TensorProto.FLOAT
) -> ir.Model:
    """A graph from x and an axis i to y, with the constants one (a list) and zero."""
    int64 = TensorProto.INT64
    inputs = [helper.make_tensor_value_info("x", dtype, [2]), helper.make_tensor_value_info("i", int64, [1])]
    constants = [helper.make_tensor("one", int64, [1], [0]), helper.make_tensor("zero", int64, [], [0])]
    made = [
        helper.make_node(op.split("::")[-1], takes, gives, domain=op.rpartition("::")[0], **attributes)
        for op, takes, gives, attributes in nodes
    ]
    outputs = [helper.make_tensor_value_info("y", dtype, None)]
    graph = helper.make_graph(made, "g", inputs, outputs, constants)
    return ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]))


def test_foreign_operators_are_named() -> None:
    with pytest.raises(
        ExportError, match=r"graph 'step' has .* does not take: Bernoulli, com\.microsoft::FusedGelu"
    ):
        check_operators(
            "step", model(("Bernoulli", ["x"], ["z"], {}), ("com.microsoft::FusedGelu", ["z"], ["y"], {}))
        )


def test_a_newer_opset_is_refused() -> None:
    newer = model(("Relu", ["x"], ["y"], {}))
    check_operators("step", newer)
    newer.graph.opset_imports[""] = 21
    with pytest.raises(ExportError, match="graph 'step' has opset 21, TensorRT takes up to 20"):
        check_operators("step", newer)


def test_a_type_that_an_operator_does_not_take_is_named() -> None:
    with pytest.raises(ExportError, match="as TensorRT does not take them: Relu of DOUBLE"):
        check_operators("step", model(("Relu", ["x"], ["y"], {}), dtype=TensorProto.DOUBLE))
    with pytest.raises(ExportError, match="CumSum of INT64"):
        check_operators("step", model(("CumSum", ["x", "zero"], ["y"], {}), dtype=TensorProto.INT64))


@pytest.mark.parametrize(
    ("operator", "bad", "good", "restriction"),
    [
        ("CumSum", ["x", "i"], ["x", "zero"], "`axis` must be an initializer"),
        ("ReduceSum", ["x", "i"], ["x", "one"], "`axes` must be an initializer"),
        ("Squeeze", ["x", "i"], ["x"], "`axes` must be an initializer"),
        ("Unsqueeze", ["x", "i"], ["x", "one"], "`axes` must be a constant tensor"),
        ("Slice", ["x", "i", "i", "i"], ["x", "i", "i", "one"], "`axes` must be an initializer"),
    ],
)
def test_restrictions_of_inputs_hold(
    operator: str, bad: list[str], good: list[str], restriction: str
) -> None:
    check_operators("step", model((operator, good, ["y"], {})))
    with pytest.raises(ExportError, match=rf"{operator} \({restriction}"):
        check_operators("step", model((operator, bad, ["y"], {})))


def test_restrictions_of_attributes_and_outputs_hold() -> None:
    scatter = ("ScatterND", ["x", "i", "x"], ["y"])
    check_operators("step", model((*scatter, {"reduction": "none"})))
    with pytest.raises(ExportError, match=r"ScatterND .`reduction` is not supported"):
        check_operators("step", model((*scatter, {"reduction": "add"})))
    norm = ("LayerNormalization", ["x", "x"])
    check_operators("step", model((*norm, ["y", "mean"], {})))
    with pytest.raises(ExportError, match=r"LayerNormalization .Only the first output `Y` is supported"):
        check_operators("step", model((*norm, ["z", "mean"], {}), ("Add", ["z", "mean"], ["y"], {})))


def test_the_table_is_whole() -> None:
    table = tensorrt_operators()
    assert len(table) == 150
    assert table["MatMul"].types == {"FP32", "FP16", "BF16"}
    assert table["ConstantOfShape"].types >= {"INT64", "BOOL"}
    assert table["CumSum"].restriction == "`axis` must be an initializer"


WINDOWS = {"BlackmanWindow", "HammingWindow", "HannWindow"}  # without types in the table of 10.6
IN_10_15 = {*WINDOWS, "Attention", "RMSNormalization", "RotaryEmbedding", "STFT", "TensorScatter"}
ADDED = {"10.6": {*WINDOWS, "STFT"}, "10.15": IN_10_15, "11.2": {*IN_10_15, "DFT", "Swish"}}


def test_later_versions_take_what_earlier_ones_take() -> None:
    """So that what the oldest table has is taken by every version between those that are recorded."""
    table = dict(tensorrt_operators())
    assert tuple(ADDED) == LATER
    for version in LATER:
        later = later_operators(version)
        assert later.keys() - tensorrt_operators().keys() == ADDED[version]
        changed = table.keys() - tensorrt_operators().keys() | later.keys()
        assert changed == later.keys()  # no operator went away
        for name in later.keys() & table.keys():
            assert later[name].types >= table[name].types
        table |= later


def test_ways_in_which_operators_are_implemented_are_those_of_operators_that_are_known() -> None:
    known = {*tensorrt_operators(), *later_operators(LATER[-1])}
    assert implementations().keys() <= known
    assert implementations()["CumSum"] == "loop over the axis; layer Cumulative"
