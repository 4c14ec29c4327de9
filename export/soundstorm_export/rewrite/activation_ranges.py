"""Measure the ranges of activations that 8-bit products quantise, on the voice's own speech."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import cycle

import numpy as np
import onnx_ir as ir

from soundstorm_runtime.bundle.open_engines import open_engines
from soundstorm_runtime.bundle.reader import Bundle
from soundstorm_runtime.engines.base import Engine
from soundstorm_runtime.engines.graphs import Graph, Tensor
from soundstorm_runtime.engines.onnx.onnx_engine import OnnxEngine
from soundstorm_runtime.voice import Voice

from ..errors import ExportError
from .constants import load_graph
from .qdq import quantised_inputs

# Different from those that precisions are compared on (`verify.speech_comparison`).
SENTENCES = (
    "Please close the window before you leave the room.",
    "The children were playing behind the house all afternoon.",
    "It takes about twenty minutes to walk from here to the station.",
    "Why did you not tell me that the shop would be shut today?",
    "There was hardly any light left when they reached the top.",
    "My brother works for a large company in another part of the country.",
)


def calibrate(bundle: Bundle) -> dict[str, float]:
    """Speak `SENTENCES` in fp32, with the named voices in turn.

    Returns:
        The largest magnitude in any step of each input of a product that is to be quantised, by its name.

    Raises:
        ExportError: the voice has no text stage to speak with.
    """
    if bundle.manifest.text is None:
        raise ExportError(
            "8 bits for GPUs need the ranges of activations in speech, and this voice has no text stage to "
            "speak with; export with --precision fp16"
        )
    step = _measuring_step(bundle)
    voice = Voice(bundle, {**open_engines(bundle, provider="cpu", precision="fp32").by_name, "step": step})
    for text, speaker in zip(SENTENCES, cycle(bundle.manifest.prompts or [None])):
        voice.speak(text, voice=speaker)
    return step.largest


class _MeasuringStep(Engine):
    """The step with further outputs, the largest magnitudes of some values; keeps the maxima of all runs."""

    def __init__(self, graph: Graph, source: bytes, names: Sequence[str]) -> None:
        super().__init__(graph)
        measured = tuple(Tensor(f"{name}.largest", "float32", ()) for name in names)
        self._engine = OnnxEngine(replace(graph, outputs=(*graph.outputs, *measured)), source)
        self.largest = dict.fromkeys(names, 0.0)

    def _run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        results = self._engine.run(feeds)
        for name, largest in self.largest.items():
            self.largest[name] = max(largest, float(results.pop(f"{name}.largest")))
        return results


def _measuring_step(bundle: Bundle) -> _MeasuringStep:
    model = load_graph(bundle.graph_file("step"))
    names = []
    for value in quantised_inputs(model):
        magnitude = ir.node("Abs", [value])
        largest = ir.node("ReduceMax", magnitude.outputs, {"keepdims": 0})
        output = largest.outputs[0]
        output.name, output.dtype, output.shape = f"{value.name}.largest", ir.DataType.FLOAT, ir.Shape([])
        model.graph.extend([magnitude, largest])
        model.graph.outputs.append(output)
        names.append(str(value.name))
    source = ir.to_proto(model).SerializeToString()
    return _MeasuringStep(bundle.manifest.expected_graphs()["step"], source, names)
