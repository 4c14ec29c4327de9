"""Which precision runs where, and which one 'auto' chooses: the only place where this is decided.

Sources: ONNX Runtime's table of kernels (next to none of the CPU's take bfloat16, and a part of CUDA's);
TensorRT's guide to quantised types, which QuantizeLinear and DequantizeLinear spell out in a graph.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal, get_args

from ..errors import OptionError
from ..support.hardware import INT8_FEATURES
from .manifest_schema import Precision

Place = Literal[
    "cpu", "cuda", "tensorrt", "onnx-tensorrt", "rtx", "openvino", "coreml", "directml", "xnnpack"
]  # fmt: skip
PrecisionChoice = Literal["auto", Precision]

PLACES: Mapping[Precision, tuple[Place, ...]] = MappingProxyType(
    {
        "fp32": get_args(Place),
        "int8": ("cpu", "openvino"),  # with operators that ONNX Runtime alone has
        "fp16": get_args(Place),
        "bf16": ("tensorrt", "rtx"),
        "int8-qdq": ("tensorrt", "rtx", "cpu"),  # made for TensorRT; a CPU gains nothing, but can
        "fp8-qdq": ("tensorrt", "rtx", "cpu"),  # show how it sounds
    }
)
ON_GPU: tuple[Precision, ...] = ("fp16", "fp32")  # what 'auto' chooses from, faster first
IN_FP32: tuple[Place, ...] = ("openvino", "coreml", "directml", "xnnpack")  # what 'auto' chooses fp32 for


def runs_on(precision: Precision, place: Place) -> bool:
    """Return whether a precision can run at a place."""
    return place in PLACES[precision]


def precisions_on(place: Place, available: Sequence[Precision]) -> list[Precision]:
    """Return those of the `available` precisions that can run at a place."""
    return [precision for precision in available if runs_on(precision, place)]


def check_place(precision: Precision, place: Place, available: Sequence[Precision]) -> None:
    """Raise `OptionError` for a precision that cannot run at a place, naming those `available` that can."""
    if not runs_on(precision, place):
        raise OptionError(
            f"precision {precision!r} runs on {' and '.join(PLACES[precision])}, not on {place!r}; take "
            f"{' or '.join(precisions_on(place, available))}, or --provider {PLACES[precision][0]}"
        )


def choose_precision(
    asked: PrecisionChoice, place: Place, available: Sequence[Precision], features: Sequence[str]
) -> tuple[Precision, str]:
    """Return the precision to run in, and the reason.

    Args:
        asked: What the user asked for.
        place: Where the graphs run.
        available: Precisions that the bundle has.
        features: Those of the processor (`soundstorm_runtime.support.hardware`).

    Raises:
        OptionError: The bundle lacks the precision that was asked for, or it cannot run at the place; or none
            of the bundle's can.
    """
    if asked != "auto":
        if asked not in available:
            raise OptionError(
                f"precision {asked!r} was asked for, but the bundle has {', '.join(available)}; take one of "
                f"these, or export the voice with soundstorm-export --precision {asked}"
            )
        check_place(asked, place, available)
        return asked, "asked for"
    possible = precisions_on(place, available)
    if not possible:
        raise OptionError(
            f"the bundle has {', '.join(available)}, which does not run on {place!r}; take --provider "
            f"{PLACES[available[0]][0]}, or export the voice with fp32"
        )
    if "fp32" not in possible:
        return possible[0], "the bundle has no fp32"
    if place in IN_FP32:
        return "fp32", "no other has been measured there"
    if place != "cpu":
        best = fastest_on_gpu(available)
        return best, "a GPU is faster in it" if best != "fp32" else "the bundle has no fp16"
    if "int8" not in available:
        return "fp32", "the bundle has no int8"
    if fast := [feature for feature in INT8_FEATURES if feature in features]:
        return "int8", f"{fast[0]} makes it faster"
    return "fp32", "this processor has no instructions for int8"


def fastest_on_gpu(available: Sequence[Precision]) -> Precision:
    """Return the precision that 'auto' chooses on a GPU, of those that the bundle has, or should have."""
    return next((precision for precision in ON_GPU if precision in available), ON_GPU[0])
