"""8 bits for TensorRT: what is quantised, how, and how closely it agrees."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from soundstorm_export.errors import ExportError
from soundstorm_export.rewrite.activation_ranges import calibrate
from soundstorm_export.rewrite.constants import constant
from soundstorm_export.rewrite.half import HALVES, to_half
from soundstorm_export.rewrite.qdq import EIGHTS, quantised_inputs, to_qdq
from soundstorm_export.rewrite.simplify import simplify
from soundstorm_export.verify.operators import check_operators
from soundstorm_runtime.bundle.reader import Bundle, read_bundle
from tests.export.conftest import DEPTH, Run, step_feeds

FAR = 6.0  # as large as the numbers of these tests become


def convert(traced: ir.Model, precision: str) -> ir.Model:
    plain = simplify(traced)
    largest = {str(value.name): FAR for value in quantised_inputs(plain)}
    return to_half(to_qdq(plain, EIGHTS[precision], largest), HALVES["fp16"])


@pytest.fixture(params=EIGHTS)
def eight(request: pytest.FixtureRequest, traced: ir.Model) -> ir.Model:
    return convert(traced, request.param)


def test_products_with_weights_take_8_bits_and_the_rest_is_fp16(eight: ir.Model) -> None:
    products = [node for node in eight.graph if node.op_type == "MatMul"]
    inputs = [[value and value.producer() for value in node.inputs] for node in products]
    in_8_bits = [all(node and node.op_type == "DequantizeLinear" for node in pair) for pair in inputs]
    assert sum(in_8_bits) == 11 * DEPTH  # two feed-forwards of two, attention's four, the convolution's three
    assert not quantised_inputs(eight)
    eights = [node for node in eight.graph if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    for node in eights:
        assert node.inputs[1] is not None
        assert node.inputs[1].is_initializer()  # TensorRT takes no scale that is computed
        assert node.inputs[1].dtype == HALVES["fp16"]
    assert all(
        node.outputs[0].dtype == HALVES["fp16"] for node, yes in zip(products, in_8_bits, strict=True) if yes
    )


def test_what_three_products_share_is_quantised_once(eight: ir.Model) -> None:
    quantised = [node.inputs[0] for node in eight.graph if node.op_type == "QuantizeLinear"]
    assert len(quantised) == len(set(quantised))


@pytest.mark.parametrize(("precision", "largest"), [("int8-qdq", 127), ("fp8-qdq", 448)])
def test_weights_are_symmetric_and_use_all_numbers(precision: str, largest: int, traced: ir.Model) -> None:
    for node in convert(traced, precision).graph:
        if node.op_type == "DequantizeLinear" and (weight := constant(node.inputs[0])) is not None:
            scale = constant(node.inputs[1])
            assert scale is not None
            assert scale.shape == (weight.shape[1:] if precision == "int8-qdq" else ())  # a column, or all
            reached = np.abs(weight.astype(np.float32)).max(axis=0 if precision == "int8-qdq" else None)
            assert (reached == largest).all()
            assert node.attributes["axis"].as_int() == 1


@pytest.mark.parametrize("precision", EIGHTS)
def test_it_is_valid_near_and_for_tensorrt(precision: str, traced: ir.Model, run: Run) -> None:
    feeds = step_feeds((40, 13))
    before = run(simplify(traced), feeds)
    model = convert(traced, precision)
    check_operators("step", model)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    after = run(model, feeds)
    same = before["ids"] == after["ids"]
    assert same.mean() > 0.85
    np.testing.assert_allclose(before["confidence"][same], after["confidence"][same], atol=0.05)
    assert np.any(before["confidence"] != after["confidence"])


def test_a_weight_of_nothing_has_a_scale_all_the_same(traced: ir.Model) -> None:
    """TensorRT takes positive scales alone."""
    plain = simplify(traced)
    largest = {str(value.name): 0.0 for value in quantised_inputs(plain)}
    model = to_half(to_qdq(plain, EIGHTS["int8-qdq"], largest), HALVES["fp16"])
    for node in model.graph:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            scale = constant(node.inputs[1])
            assert scale is not None
            assert (scale > 0).all()


def test_scales_are_those_of_the_voices_own_speech(full_bundle: Bundle) -> None:
    largest = calibrate(full_bundle)
    assert min(largest.values()) > 0
    step = ir.load(full_bundle.graph_file("step", "int8-qdq"))
    for node in step.graph:
        if node.op_type == "QuantizeLinear":
            name = str(node.inputs[1].name).removesuffix(".half").removesuffix(".scale")  # type: ignore[union-attr]
            scale = constant(node.inputs[1])
            assert scale is not None
            assert scale.item() == pytest.approx(largest[name] / 127, rel=1e-3)


def test_a_voice_that_reads_no_text_is_told(full_bundle: Bundle) -> None:
    bundle = read_bundle(full_bundle.path)
    object.__setattr__(bundle.manifest, "text", None)
    with pytest.raises(ExportError, match="has no text stage to speak with; export with --precision fp16"):
        calibrate(bundle)
