"""The one table of graphs: what each takes and gives, and how long every axis may be.

The export draws its dynamic axes and dummy inputs from here, TensorRT its profiles, the manifest its
graph list and the engines their checks of what they are fed. Nothing else spells out a shape.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import EngineError

DTYPES = ("int64", "float32")


@dataclass(frozen=True)
class Axis:
    """How long a symbolic axis may be: `min <= length <= max`; `opt` is what engines tune for."""

    min: int
    opt: int
    max: int


@dataclass(frozen=True)
class Tensor:
    """One input or output: its name, dtype, and axes (a symbol of `AXES`, or a fixed length)."""

    name: str
    dtype: str
    axes: tuple[str | int, ...]


@dataclass(frozen=True)
class Graph:
    """One network as the device sees it.

    padding: the axis that may be longer than the input `lengths` tells, of a graph that is run many times in
    one shape; an engine may fill it up to meet fewer shapes.
    """

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    padding: str | None = None


AXES: dict[str, Axis] = {
    "batch": Axis(1, 1, 16),
    "frames": Axis(1, 500, 3000),  # codec frames; 3000 are one minute at 50 Hz
    "samples": Axis(1, 160_000, 30_000_000),
    "phones": Axis(1, 100, 1000),
    "tokens": Axis(1, 250, 3000),  # semantic tokens
    "past": Axis(0, 250, 3000),  # semantic tokens already in the key/value cache
    "past_and_one": Axis(1, 251, 3001),
    "prompt_frames": Axis(10, 150, 1500),  # of a recording that becomes a prompt
    "prompt_tokens": Axis(10, 150, 1500),
}


def step_graph(levels: int) -> Graph:
    """One Conformer pass over the whole masked sequence, sampling the codes of one level."""
    frames = ("batch", "frames")
    return Graph(
        "step",
        (
            Tensor("codes", "int64", (*frames, levels)),
            Tensor("level", "int64", (1,)),
            Tensor("semantic_tokens", "int64", frames),
            Tensor("lengths", "int64", ("batch",)),
            Tensor("uniform", "float32", frames),
            Tensor("temperature", "float32", (1,)),
        ),
        (Tensor("ids", "int64", frames), Tensor("confidence", "float32", frames)),
        padding="frames",
    )


def decoder_graph(levels: int) -> Graph:
    """The codec's decoder: codes to audio, `samples = frames * hop`."""
    return Graph(
        "decoder",
        (Tensor("codes", "int64", ("batch", "frames", levels)),),
        (Tensor("audio", "float32", ("batch", "samples")),),
    )


def decoder_stream_graph(levels: int, state: Sequence[Sequence[int]]) -> Graph:
    """The codec's decoder for codes that come in pieces: what it remembers goes in and comes out.

    state: the shape of each tensor of it, without the batch; zeros begin. past_frames: how many came before.
    """
    memory = [Tensor(f"state_{place}", "float32", ("batch", *shape)) for place, shape in enumerate(state)]
    memory.insert(0, Tensor("past_frames", "int64", ("batch",)))
    return Graph(
        "decoder_stream",
        (Tensor("codes", "int64", ("batch", "frames", levels)), *memory),
        (
            Tensor("audio", "float32", ("batch", "samples")),
            *(Tensor(f"next_{tensor.name}", tensor.dtype, tensor.axes) for tensor in memory),
        ),
    )


def spectral_decoder_graph(levels: int, bins: int) -> Graph:
    """The spectral codec's decoder: codes to the STFT, real parts then imaginary ones.

    bins: of all transforms of a frame, each with its own real and imaginary parts, one after another. The
    inverse transform follows on the host: `soundstorm_runtime.audio.inverse_stft`.
    """
    frames = ("batch", "frames")
    return Graph(
        "decoder",
        (Tensor("codes", "int64", (*frames, levels)),),
        (Tensor("spectrum", "float32", (*frames, 2 * bins)),),
    )


def encoder_graph(hop: int, levels: int) -> Graph:
    """The codec's encoder: audio, cut into frames, to codes."""
    frames = ("batch", "prompt_frames")
    return Graph(
        "encoder",
        (Tensor("audio", "float32", (*frames, hop)),),
        (Tensor("codes", "int64", (*frames, levels)),),
    )


def units_graph(samples: int) -> Graph:
    """The semantic tokenizer: audio, cut into the `samples` of a token, to semantic tokens."""
    tokens = ("batch", "prompt_tokens")
    return Graph(
        "units",
        (Tensor("audio", "float32", (*tokens, samples)),),
        (Tensor("semantic_tokens", "int64", tokens),),
    )


def parallel_text_graphs(dim: int) -> tuple[Graph, Graph]:
    """Phones to hidden states and durations; hidden states spread over time to semantic tokens."""
    hidden = Tensor("hidden", "float32", ("batch", "phones", dim))
    tokens = ("batch", "tokens")
    return (
        Graph(
            "text_encoder",
            (Tensor("phones", "int64", ("batch", "phones")), Tensor("lengths", "int64", ("batch",))),
            (hidden, Tensor("durations", "float32", ("batch", "phones"))),
        ),
        Graph(
            "text_decoder",
            (
                hidden,
                Tensor("phone_index", "int64", tokens),  # which phone each token belongs to
                Tensor("progress", "float32", tokens),  # how far into it: 0 at its start, below 1
                Tensor("lengths", "int64", ("batch",)),  # tokens of each sample
            ),
            (Tensor("semantic_tokens", "int64", tokens),),
        ),
    )


def autoregressive_text_graphs(
    layers: int, heads: int, dim_head: int, vocabulary: int
) -> tuple[Graph, Graph]:
    """An encoder run once a sentence, and a decoder step with its key/value cache as explicit state.

    The vocabulary is the semantic one and an end token after it; that same id also begins a sequence.
    """

    def cache(name: str, length: str) -> Tensor:
        return Tensor(name, "float32", (layers, "batch", heads, length, dim_head))

    return (
        Graph(
            "text_encoder",
            (Tensor("phones", "int64", ("batch", "phones")), Tensor("lengths", "int64", ("batch",))),
            (cache("cross_keys", "phones"), cache("cross_values", "phones")),
        ),
        Graph(
            "text_step",
            (
                Tensor("token", "int64", ("batch",)),
                Tensor("lengths", "int64", ("batch",)),  # phones of each sample
                cache("cross_keys", "phones"),
                cache("cross_values", "phones"),
                cache("keys", "past"),
                cache("values", "past"),
            ),
            (
                Tensor("logits", "float32", ("batch", vocabulary + 1)),
                cache("next_keys", "past_and_one"),
                cache("next_values", "past_and_one"),
            ),
        ),
    )


def check_feeds(graph: Graph, feeds: Mapping[str, np.ndarray], axes: Mapping[str, Axis] = AXES) -> None:
    """Raise `EngineError` unless `feeds` has the names, dtypes and shapes that `graph` takes.

    A symbol must stand for one length in all inputs, and that length must lie within its axis.
    """
    expected = [tensor.name for tensor in graph.inputs]
    if set(feeds) != set(expected):
        raise EngineError(f"graph '{graph.name}' takes {expected}, got {sorted(feeds)}")
    lengths: dict[str, int] = {}
    for tensor in graph.inputs:
        where = f"input '{tensor.name}' of graph '{graph.name}'"
        _check_array(where, tensor, feeds[tensor.name], lengths)
    for symbol, length in lengths.items():
        limits = axes[symbol]
        if not limits.min <= length <= limits.max:
            raise EngineError(
                f"graph '{graph.name}' was given {length} {symbol}, expected {limits.min} to {limits.max}; "
                "split it into parts"
            )


def lengths_of(graph: Graph, feeds: Mapping[str, np.ndarray]) -> dict[str, int]:
    """Return what each symbolic axis stands for in feeds that have been checked."""
    return {
        axis: length
        for tensor in graph.inputs
        for axis, length in zip(tensor.axes, feeds[tensor.name].shape, strict=True)
        if isinstance(axis, str)
    }


def check_results(graph: Graph, feeds: Mapping[str, np.ndarray], results: Mapping[str, np.ndarray]) -> None:
    """Raise `EngineError` unless `results` has what `graph` gives for `feeds` (already checked)."""
    expected = [tensor.name for tensor in graph.outputs]
    if set(results) != set(expected):
        raise EngineError(f"graph '{graph.name}' gives {expected}, the engine gave {sorted(results)}")
    lengths = lengths_of(graph, feeds)
    for tensor in graph.outputs:
        where = f"output '{tensor.name}' of graph '{graph.name}'"
        _check_array(where, tensor, results[tensor.name], lengths)


def _check_array(where: str, tensor: Tensor, array: np.ndarray, lengths: dict[str, int]) -> None:
    """Check one array; `lengths` holds what the symbols stand for so far, and learns the new ones."""
    if array.dtype != np.dtype(tensor.dtype):
        raise EngineError(f"{where} is {array.dtype}, expected {tensor.dtype}")
    if array.ndim != len(tensor.axes):
        raise EngineError(f"{where} has shape {list(array.shape)}, expected {list(tensor.axes)}")
    for axis, length in zip(tensor.axes, array.shape, strict=True):
        want = axis if isinstance(axis, int) else lengths.setdefault(axis, length)
        if length != want:
            reason = "" if axis == want else f" with {axis} = {want}"
            raise EngineError(f"{where} has shape {list(array.shape)}, expected {list(tensor.axes)}{reason}")
