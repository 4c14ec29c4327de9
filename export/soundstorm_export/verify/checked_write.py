"""Write a graph and check it: ONNX's own checker, inference of all shapes, and parity with PyTorch."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx_ir as ir

from soundstorm_runtime.bundle.manifest import ParityReport, Precision

from ..errors import ExportError
from ..rewrite.attention import DOMAIN
from ..tracing.networks import Network
from ..voice_parts import Parts
from .parity import check_parity


def write_checked(
    model: ir.Model,
    network: Network,
    parts: Parts,
    path: Path,
    precision: Precision,
    weights: str | None = None,
) -> ParityReport:
    """Write a graph to `path`, then check the file.

    Args:
        model: the graph.
        network: the PyTorch network that it was traced from.
        parts: the voice, which example inputs are drawn for.
        path: the ONNX file.
        precision: of the graph, which decides how closely it must agree.
        weights: name of a file beside `path` for the weights; None leaves them where they are.

    Raises:
        ExportError: the graph is not valid ONNX, or differs from PyTorch.
    """
    ir.save(model, path, external_data=weights)
    # ONNX infers no shapes through operators that only ONNX Runtime has.
    try:
        onnx.checker.check_model(onnx.load(path), full_check=DOMAIN not in model.graph.opset_imports)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ExportError(
            f"graph '{network.graph.name}' in {precision} is not valid ONNX ({reason}); nothing was written"
        ) from error
    return check_parity(network, path, parts, precision)
