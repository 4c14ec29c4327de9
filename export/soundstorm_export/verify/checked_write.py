"""Write a graph, and prove it: by ONNX, by inference of all shapes, and by running it beside PyTorch."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx_ir as ir

from soundstorm_runtime.bundle.manifest import ParityReport, Precision

from ..errors import ExportError
from ..rewrite.cpu import DOMAIN
from ..tracing.networks import Network
from ..voice_parts import Parts
from .parity import check_parity


def write_proven(
    model: ir.Model,
    network: Network,
    parts: Parts,
    path: Path,
    precision: Precision,
    weights: str | None = None,
) -> ParityReport:
    """Write a model, and check it.

    weights: the file beside it that its weights go to; None keeps them where they are. Raises `ExportError`.
    """
    ir.save(model, path, external_data=weights)
    # ONNX knows neither the operators of ONNX Runtime nor the shapes that they give.
    try:
        onnx.checker.check_model(onnx.load(path), full_check=DOMAIN not in model.graph.opset_imports)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ExportError(f"graph '{network.graph.name}' in {precision} is not valid ({reason})") from error
    return check_parity(network, path, parts, precision)
