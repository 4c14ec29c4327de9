"""The one table of graphs: the inputs and outputs of each, and the limits of every axis.

The export takes its dynamic axes and example inputs from here, TensorRT its profiles, the manifest its list
of graphs, and the engines the checks of their inputs. No shape is written down elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import EngineError
from ..support.serde import check_positive

DTYPES = ("int64", "float32")


@dataclass(frozen=True)
class Axis:
    """Limits of the length of a symbolic axis: `min <= length <= max`; engines are tuned for `opt`."""

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
    """Inputs and outputs of one network.

    Attributes:
        name: Its name in the manifest.
        inputs: Its inputs, in order.
        outputs: Its outputs, in order.
        padding: The axis that may be longer than the input `lengths` says, in a graph that runs many times in
            one shape; an engine may pad it to meet fewer shapes.
    """

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    padding: str | None = None


@dataclass(frozen=True)
class CacheShape:
    """Sizes of what a block-causal network keeps of the frames before a block.

    Attributes:
        layers: Layers of the network.
        width: Width of the keys of all heads, and of the values.
        before: Frames that the convolutions depend on before a frame.
        channels: Channels of the convolutions.
    """

    layers: int
    width: int
    before: int
    channels: int

    def __post_init__(self) -> None:
        check_positive(self, "layers", "width", "before", "channels")

    def tensors(self, past: bool, frames: str) -> tuple[Tensor, ...]:
        """Return keys, values and last inputs of the convolutions, of a block or of the frames before."""
        name = "past_{}" if past else "{}"
        keys = ("batch", self.layers, frames, self.width)
        return (
            Tensor(name.format("keys"), "float32", keys),
            Tensor(name.format("values"), "float32", keys),
            Tensor(name.format("convolved"), "float32", ("batch", self.layers, self.before, self.channels)),
        )

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The cache of the frames before a block, as inputs of a graph."""
        return (*self.tensors(past=True, frames="prefix"), Tensor("past_lengths", "int64", ("batch",)))


AXES: dict[str, Axis] = {
    "batch": Axis(1, 1, 16),
    "frames": Axis(1, 500, 3000),  # codec frames; 3000 are one minute at 50 Hz
    "samples": Axis(1, 160_000, 30_000_000),
    "phones": Axis(1, 100, 1000),
    "tokens": Axis(1, 250, 3000),  # semantic tokens
    "past": Axis(0, 250, 3000),  # semantic tokens already in the key/value cache
    "past_and_one": Axis(1, 251, 3001),
    "prefix": Axis(1, 192, 1536),  # frames in the cache of a block-causal network
    "prompt_frames": Axis(10, 150, 1500),  # of a recording that becomes a prompt
    "prompt_tokens": Axis(10, 150, 1500),
}


def step_graph(levels: int, cache: CacheShape | None = None, latent: int | None = None) -> Graph:
    """One Conformer pass over the whole masked sequence, sampling the codes of one level.

    Args:
        levels: Levels of the codec.
        cache: Of the frames before: the sequence is one block that continues them.
        latent: Width of the codebooks' vectors, in a voice that decodes by expectation: the graph returns the
            mean of the level's vectors under their probabilities, and the vector of a code that is given.
    """
    frames = ("batch", "frames")
    expected = () if latent is None else (Tensor("expected", "float32", (*frames, latent)),)
    return Graph(
        "step",
        (
            Tensor("codes", "int64", (*frames, levels)),
            Tensor("level", "int64", (1,)),
            Tensor("semantic_tokens", "int64", frames),
            Tensor("lengths", "int64", ("batch",)),
            Tensor("uniform", "float32", frames),
            Tensor("temperature", "float32", (1,)),
            *(() if cache is None else cache.inputs),
        ),
        (Tensor("ids", "int64", frames), Tensor("confidence", "float32", frames), *expected),
        padding="frames",
    )


def quantizer_graph(levels: int, latent: int) -> Graph:
    """The codec's quantizer: latents to the nearest codes."""
    frames = ("batch", "frames")
    return Graph(
        "quantizer",
        (Tensor("latents", "float32", (*frames, latent)),),
        (Tensor("codes", "int64", (*frames, levels)),),
    )


def prefix_graph(levels: int, cache: CacheShape) -> Graph:
    """One Conformer pass over a finished block: what the steps of later blocks need of it."""
    frames = ("batch", "frames")
    return Graph(
        "prefix",
        (
            Tensor("codes", "int64", (*frames, levels)),
            Tensor("semantic_tokens", "int64", frames),
            Tensor("lengths", "int64", ("batch",)),
            *cache.inputs,
        ),
        cache.tensors(past=False, frames="frames"),
    )


def step_next_graph(levels: int, cache: CacheShape | None = None) -> Graph:
    """A whole step of decoding: as `step`, then the codes that the next step begins with.

    So the codes need not come to the host before the decode is done. All else that a step takes is known
    beforehand (`soundstorm_runtime.decoding.maskgit.Step`).
    """
    frames = ("batch", "frames")
    return Graph(
        "step_next",
        (
            Tensor("codes", "int64", (*frames, levels)),
            Tensor("start", "int64", (*frames, levels)),  # the codes that decoding began with
            Tensor("level", "int64", (1,)),
            Tensor("semantic_tokens", "int64", frames),
            Tensor("lengths", "int64", ("batch",)),
            Tensor("uniform", "float32", frames),
            Tensor("temperature", "float32", (1,)),
            Tensor("noise", "float32", frames),  # added to the logarithm of the confidence
            Tensor("noisy", "int64", (1,)),  # 1 where it is; 0 ranks by the confidence itself
            Tensor("revise", "int64", (1,)),  # 1 where codes that were kept may be masked again
            Tensor("stay", "int64", ("batch",)),  # how many codes of the level are masked afterwards
            *(() if cache is None else cache.inputs),
        ),
        (Tensor("next_codes", "int64", (*frames, levels)),),
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
    """The codec's decoder for codes that come in pieces: its state is an input and an output.

    The input `past_frames` is the number of frames before.

    Args:
        levels: Levels of the codec.
        state: Shape of each tensor of the state, without the batch; the state starts as zeros.
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


def spectral_decoder_graph(levels: int, width: int, *, source: bool = False) -> Graph:
    """The spectral codec's decoder: codes to the STFT, real parts then imaginary ones.

    The inverse transform is computed on the host: `soundstorm_runtime.audio.inverse_stft`.

    Args:
        levels: Levels of the codec.
        width: Numbers of a frame; several transforms follow one another, each with its own real and imaginary
            parts.
        source: Whether these are filters of pulses and noise: `soundstorm_runtime.audio.harmonic_source`.
    """
    frames = ("batch", "frames")
    return Graph(
        "decoder",
        (Tensor("codes", "int64", (*frames, levels)),),
        (Tensor("filters" if source else "spectrum", "float32", (*frames, width)),),
    )


def encoder_graph(hop: int, levels: int) -> Graph:
    """The codec's encoder: audio in frames of `hop` samples to codes."""
    frames = ("batch", "prompt_frames")
    return Graph(
        "encoder",
        (Tensor("audio", "float32", (*frames, hop)),),
        (Tensor("codes", "int64", (*frames, levels)),),
    )


def units_graph(samples: int) -> Graph:
    """The semantic tokenizer: audio, in pieces of the `samples` of one token, to semantic tokens."""
    tokens = ("batch", "prompt_tokens")
    return Graph(
        "units",
        (Tensor("audio", "float32", (*tokens, samples)),),
        (Tensor("semantic_tokens", "int64", tokens),),
    )


def parallel_text_graphs(dim: int) -> tuple[Graph, Graph]:
    """Phones to hidden states and durations; hidden states, repeated over time, to semantic tokens."""
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
    """An encoder for each sentence, and a decoder step with its key/value cache as inputs and outputs.

    The logits are of the semantic tokens and an end token after them, whose id also starts a sequence.
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
    """Raise `EngineError` unless `feeds` has the names, dtypes and shapes of the inputs of `graph`.

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
    """Return the length of each symbolic axis in inputs that have been checked."""
    return {
        axis: length
        for tensor in graph.inputs
        for axis, length in zip(tensor.axes, feeds[tensor.name].shape, strict=True)
        if isinstance(axis, str)
    }


def check_results(graph: Graph, feeds: Mapping[str, np.ndarray], results: Mapping[str, np.ndarray]) -> None:
    """Raise `EngineError` unless `results` are outputs of `graph` for `feeds`, which have been checked."""
    expected = [tensor.name for tensor in graph.outputs]
    if set(results) != set(expected):
        raise EngineError(f"graph '{graph.name}' gives {expected}, the engine gave {sorted(results)}")
    lengths = lengths_of(graph, feeds)
    for tensor in graph.outputs:
        where = f"output '{tensor.name}' of graph '{graph.name}'"
        _check_array(where, tensor, results[tensor.name], lengths)


def _check_array(where: str, tensor: Tensor, array: np.ndarray, lengths: dict[str, int]) -> None:
    """Check one array; `lengths` holds the lengths of the axes so far, and new ones are added to it."""
    if array.dtype != np.dtype(tensor.dtype):
        raise EngineError(f"{where} is {array.dtype}, expected {tensor.dtype}")
    if array.ndim != len(tensor.axes):
        raise EngineError(f"{where} has shape {list(array.shape)}, expected {list(tensor.axes)}")
    for axis, length in zip(tensor.axes, array.shape, strict=True):
        want = axis if isinstance(axis, int) else lengths.setdefault(axis, length)
        if length != want:
            reason = "" if axis == want else f" with {axis} = {want}"
            raise EngineError(f"{where} has shape {list(array.shape)}, expected {list(tensor.axes)}{reason}")
