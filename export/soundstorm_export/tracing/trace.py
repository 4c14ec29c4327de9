"""Trace a network to an ONNX model with dynamic axes."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping

import numpy as np
import onnx_ir as ir
import onnxscript.optimizer
import torch
from onnx_ir.passes.common import ClearMetadataAndDocStringPass
from torch import Tensor, nn

from soundstorm_runtime.engines.example_feeds import example_feeds
from soundstorm_runtime.engines.graphs import AXES, Graph

from ..errors import ExportError
from ..voice_parts import Parts
from .networks import Network, feed_limits

OPSET = 20  # the newest that TensorRT 10.0 reads

# Lengths of the example inputs: different from one another and from every fixed size, so that the tracer
# cannot confuse them.
EXAMPLE_LENGTHS = {
    "batch": 2, "frames": 37, "phones": 19, "tokens": 43, "past": 11, "prefix": 29,
    "prompt_frames": 47, "prompt_tokens": 41,
}  # fmt: skip


def trace(network: Network, parts: Parts) -> ir.Model:
    """Trace a network of a voice, with example inputs drawn for it; the weights are inside the model.

    Raises:
        ExportError: PyTorch's exporter cannot trace it.
    """
    feeds = example_feeds(network.graph, feed_limits(parts), EXAMPLE_LENGTHS, np.random.default_rng(0))
    return trace_graph(network, feeds)


def trace_graph(network: Network, feeds: Mapping[str, np.ndarray]) -> ir.Model:
    """Trace a network with the given example inputs.

    The tracer's metadata, which contain the paths of source files, are removed, so that the same weights
    become the same bytes wherever they are exported.

    Raises:
        ExportError: PyTorch's exporter cannot trace it.
    """
    model = onnxscript.optimizer.optimize(capture(network, feeds))
    return ClearMetadataAndDocStringPass()(model).model


def capture(network: Network, feeds: Mapping[str, np.ndarray]) -> ir.Model:
    """Translate a network operator by operator; the model's weights have their names in PyTorch.

    Raises:
        ExportError: PyTorch's exporter cannot trace it.
    """
    graph = network.graph
    example = tuple(torch.from_numpy(feeds[tensor.name]) for tensor in graph.inputs)
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                _Function(network).eval(),
                example,
                dynamo=True,
                input_names=[tensor.name for tensor in graph.inputs],
                output_names=[tensor.name for tensor in graph.outputs],
                dynamic_shapes=(_dynamic_axes(graph),),
                opset_version=OPSET,
                optimize=False,
            )
    except (torch.onnx.OnnxExporterError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ExportError(f"graph '{graph.name}' cannot be exported: {reason}") from error
    if program is None:
        raise ExportError(f"graph '{graph.name}' was not exported")
    return program.model


def _dynamic_axes(graph: Graph) -> tuple[dict[int, torch.export.Dim], ...]:
    dims = {
        name: torch.export.Dim(name, min=axis.min, max=axis.max)
        for name, axis in AXES.items()
        if name in EXAMPLE_LENGTHS
    }
    return tuple(
        {place: dims[axis] for place, axis in enumerate(tensor.axes) if isinstance(axis, str)}
        for tensor in graph.inputs
    )


class _Function(nn.Module):
    """The traced function as a module, which the tracer requires."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.module = network.module
        self.function = network.function

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self.function(*inputs)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress what the tracer prints, warns of and logs, through many loggers."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
