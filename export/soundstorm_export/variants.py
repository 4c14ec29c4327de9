"""The other precisions of a voice: converted from fp32, and compared with PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import onnx_ir as ir

from soundstorm_runtime.bundle.manifest import ParityReport, Variant, VariantSchema
from soundstorm_runtime.bundle.reader import Bundle

from .rewrite.activation_ranges import calibrate
from .rewrite.constants import load_graph, share_weights, store_as_halves
from .rewrite.cpu import to_int8
from .rewrite.cuda import to_cuda
from .rewrite.half import HALVES, to_half
from .rewrite.qdq import EIGHTS, to_qdq
from .tracing.networks import Network
from .verify.checked_write import write_checked
from .verify.operators import check_operators
from .voice_parts import Parts

# The step runs dozens of times a sentence, the other graphs once: 8 bits would save little there. In int8,
# finished blocks are computed as the step would compute them.
EIGHT_BIT_GRAPHS = ("step", "step_next")
INT8_GRAPHS = ("step", "prefix")
SHARING = ("step", "step_next", "prefix")  # graphs with the same weights, which are in a file of their own
WEIGHTS = "step.weights"
# A spectrum adds up the rounding of all products and residual sums of its decoder. The shipped voice's has an
# error of 0.50 in bf16, 0.27 with residual sums in float32, and 0.20 with half of the products as well, where
# 0.25 is allowed: too little would be left to convert.
FLOAT_IN_BF16 = ("spectral", "decoder")  # codec and graph
ALWAYS_FLOAT = ("quantizer",)  # small, and distances of vectors decide


def write_variant(
    variant: Variant,
    bundle: Bundle,
    pairs: Mapping[str, Network],
    parts: Parts,
    report: Callable[[str], None],
) -> VariantSchema:
    """Write the graphs of one precision into a bundle that has fp32.

    Args:
        variant: the precision.
        bundle: where the graphs in fp32 are read from, and the converted ones are written to.
        pairs: the PyTorch networks of the graphs, by name.
        parts: the voice.
        report: called with a line of progress before each graph.

    Raises:
        ExportError: a graph cannot be converted, or differs too much from PyTorch.
    """
    files: dict[str, str] = {}
    parity: dict[str, ParityReport] = {}
    convert = _converter(variant, bundle, report)
    names = _converted_graphs(variant, pairs, bundle.manifest.audio.codec)
    sharing = [name for name in SHARING if name in names]
    sharing = sharing if len(sharing) > 1 else []
    (bundle.path / variant).mkdir()
    for name in names:
        report(f"exporting {name} in {variant}")
        model = convert(load_graph(bundle.graph_file(name)))
        if variant != "int8":  # which runs on CPUs alone
            check_operators(name, model)
        store_as_halves(model)
        files[name] = f"{variant}/{name}.onnx"
        file = bundle.path / files[name]
        if name in sharing and name != "step":
            share_weights(model, ir.load(file.with_name("step.onnx")))
        own = WEIGHTS if name in sharing and name == "step" else None
        parity[name] = write_checked(model, pairs[name], parts, file, variant, own)
    shared = {name: f"{variant}/{WEIGHTS}" for name in sharing}
    return VariantSchema(files, parity, by_row=True, weights=shared)


def write_cuda_graph(
    bundle: Bundle, fp16: VariantSchema, step: Network, parts: Parts, report: Callable[[str], None]
) -> VariantSchema:
    """Write the step in fp16 for ONNX Runtime on CUDA; it takes its weights from the file of the variant."""
    report("exporting step in fp16 for ONNX Runtime on CUDA")
    plain = bundle.path / fp16.graphs["step"]
    file = plain.with_name("step.cuda.onnx")
    model = to_cuda(load_graph(plain))
    store_as_halves(model)
    share_weights(model, ir.load(plain))
    parity = write_checked(model, step, parts, file, "fp16")
    return VariantSchema({"step": file.relative_to(bundle.path).as_posix()}, {"step": parity}, by_row=True)


def _converted_graphs(variant: Variant, names: Iterable[str], codec: str) -> tuple[str, ...]:
    """List the graphs that a precision converts; the others run in float32."""
    if variant not in HALVES:
        return tuple(
            name for name in names if name in (EIGHT_BIT_GRAPHS if variant in EIGHTS else INT8_GRAPHS)
        )
    return tuple(
        name
        for name in names
        if name not in ALWAYS_FLOAT and (variant != "bf16" or (codec, name) != FLOAT_IN_BF16)
    )


def _converter(
    variant: Variant, bundle: Bundle, report: Callable[[str], None]
) -> Callable[[ir.Model], ir.Model]:
    """Return the function that converts a simplified model in float32 to a precision."""
    if variant in HALVES:
        return lambda model: to_half(model, HALVES[variant])
    if variant in EIGHTS:
        report(f"measuring the ranges of activations for {variant}")
        largest = calibrate(bundle)
        return lambda model: to_half(to_qdq(model, EIGHTS[variant], largest), HALVES["fp16"])
    return to_int8
