"""PyTorch as an engine of the runtime, so that training and device share one decode loop."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from soundstorm_runtime.engines.base import Engine
from soundstorm_runtime.engines.graphs import AXES, Axis, Graph

# An exported graph has bounds on its lengths; PyTorch accepts any.
UNLIMITED = {name: Axis(axis.min, axis.opt, sys.maxsize) for name, axis in AXES.items()}


class TorchEngine(Engine):
    """Runs a function as the graph of an engine.

    Args:
        graph: the names and shapes of inputs and outputs.
        function: takes the inputs of the graph in order, and returns its outputs in order.
        device: on which it runs.
    """

    def __init__(
        self,
        graph: Graph,
        function: Callable[..., Tensor | tuple[Tensor, ...]],
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(graph, UNLIMITED)
        self.function = function
        self.device = device

    def _run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        inputs = [
            torch.from_numpy(np.ascontiguousarray(feeds[t.name])).to(self.device) for t in self.graph.inputs
        ]
        with torch.inference_mode():
            outputs = self.function(*inputs)
        tensors = (outputs,) if isinstance(outputs, Tensor) else outputs
        return {t.name: o.cpu().numpy() for t, o in zip(self.graph.outputs, tensors, strict=True)}


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put the model in evaluation mode within the block."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
