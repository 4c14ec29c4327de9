"""The other precisions of a voice: converted from fp32, and proven."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import onnx_ir as ir

from soundstorm_runtime.bundle.manifest import ParityReport, Variant, VariantSchema
from soundstorm_runtime.bundle.reader import Bundle

from .rewrite.activation_ranges import calibrate
from .rewrite.cpu import to_int8
from .rewrite.half import HALVES, to_half
from .rewrite.qdq import EIGHTS, to_qdq
from .tracing.networks import Network
from .verify.checked_write import write_proven
from .verify.operators import check_operators
from .voice_parts import Parts

# The step runs dozens of times for every sentence, the others once: they are not worth a change of sound.
EIGHT_BIT_GRAPHS = ("step",)
FLOAT_IN_BF16 = "decoder"  # phases of a spectrum are sums that seven bits tell too coarsely


def write_variant(
    variant: Variant,
    bundle: Bundle,
    pairs: Mapping[str, Network],
    parts: Parts,
    report: Callable[[str], None],
) -> VariantSchema:
    """Write the graphs of a precision into a bundle that has fp32. Raises `ExportError`."""
    files: dict[str, str] = {}
    parity: dict[str, ParityReport] = {}
    convert = _converter(variant, bundle, report)
    (bundle.path / variant).mkdir()
    for name in _converted(variant, pairs):
        report(f"exporting {name} in {variant}")
        model = convert(ir.external_data.load_to_model(ir.load(bundle.graph_file(name))))
        if variant != "int8":  # which is for CPUs
            check_operators(name, model)
        files[name] = f"{variant}/{name}.onnx"
        parity[name] = write_proven(model, pairs[name], parts, bundle.path / files[name], variant)
    return VariantSchema(files, parity)


def _converted(variant: Variant, names: Iterable[str]) -> tuple[str, ...]:
    """Name the graphs that a precision changes: the others are taken in float32."""
    if variant not in HALVES:
        return EIGHT_BIT_GRAPHS
    return tuple(name for name in names if variant != "bf16" or name != FLOAT_IN_BF16)


def _converter(
    variant: Variant, bundle: Bundle, report: Callable[[str], None]
) -> Callable[[ir.Model], ir.Model]:
    """Choose how a simplified model in float32 becomes one in another precision."""
    if variant in HALVES:
        return lambda model: to_half(model, HALVES[variant])
    if variant in EIGHTS:
        report(f"measuring what the voice says for {variant}")
        largest = calibrate(bundle)
        return lambda model: to_half(to_qdq(model, EIGHTS[variant], largest), HALVES["fp16"])
    return to_int8
