"""Which function of which network each graph of a voice is, and what numbers may be fed to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from soundstorm_edge.checkpoint import load_voice
from soundstorm_edge.codec.soundstream import SoundStream
from soundstorm_edge.codec.spectral_codec import SpectralCodec
from soundstorm_edge.codec.streaming_decoder import StreamingDecoder
from soundstorm_edge.nn.torch_engine import TorchEngine
from soundstorm_edge.text_to_semantic.parallel import ParallelTextToSemantic
from soundstorm_runtime.engines.base import Engine
from soundstorm_runtime.engines.graphs import Graph

from ..voice_parts import Parts


@dataclass(frozen=True)
class Network:
    """A graph, the module that holds its weights, and the function of it that is traced."""

    graph: Graph
    module: nn.Module
    function: Callable[..., Tensor | tuple[Tensor, ...]]


def networks(parts: Parts, graphs: Mapping[str, Graph]) -> dict[str, Network]:
    """Pair every graph of the voice with its network, by the graph's name."""
    codec, text = parts.codec, parts.text
    decode = codec.spectrum if isinstance(codec, SpectralCodec) else codec.decode_from_codebook_indices
    functions: dict[str, tuple[nn.Module, Callable[..., Tensor | tuple[Tensor, ...]]]] = {
        "step": (parts.soundstorm, parts.soundstorm.step),
        "decoder": (codec, decode),
    }
    if isinstance(text, ParallelTextToSemantic):
        functions |= {"text_encoder": (text, text.encode), "text_decoder": (text, text.decode)}
    elif text is not None:
        functions |= {"text_encoder": (text, text.encode), "text_step": (text, text.step)}
    if "decoder_stream" in graphs and isinstance(codec, SoundStream):
        functions["decoder_stream"] = (codec, StreamingDecoder(codec).decode)
    return {name: Network(graph, *functions[name]) for name, graph in graphs.items()}


def example_feeds(
    graph: Graph, parts: Parts, lengths: Mapping[str, int], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Draw inputs that the graph could meet, with the given lengths of its symbolic axes.

    The first sample of a batch fills its axis; the others may be shorter. The codes of a step are masked
    as in decoding: those of its level in part, the finer ones wholly; the temperature is the voice's own.
    """
    below = {  # exclusive limits of the integers
        "codes": parts.soundstorm.codebook_size,
        "level": parts.soundstorm.levels,
        "semantic_tokens": parts.vocabulary,
        "phones": _text_tokens(parts),
        "token": parts.vocabulary + 1,
        "past_frames": 2,
    }
    longest = next((lengths[s] for s in ("frames", "tokens", "phones") if s in lengths), 0)
    feeds = {}
    for tensor in graph.inputs:
        shape = [lengths[axis] if isinstance(axis, str) else axis for axis in tensor.axes]
        array: np.ndarray
        if tensor.name == "lengths":
            longest = lengths["phones"] if graph.name == "text_step" else longest
            array = rng.integers(1, longest + 1, size=shape)
            array[0] = longest
        elif tensor.name == "phone_index":
            array = np.sort(rng.integers(lengths["phones"], size=shape), axis=-1)
        elif tensor.name in ("uniform", "progress"):
            array = rng.random(shape)
        elif tensor.name == "temperature":
            array = np.full(shape, parts.decode.temperature)
        elif tensor.dtype == "int64":
            array = rng.integers(below[tensor.name], size=shape)
        else:
            array = rng.standard_normal(shape)
        feeds[tensor.name] = array.astype(tensor.dtype)
    if graph.name == "step":
        codes, level = feeds["codes"], int(feeds["level"][0])
        codes[..., level][rng.random(codes.shape[:2]) < 0.9] = parts.soundstorm.codebook_size
        codes[..., level + 1 :] = parts.soundstorm.codebook_size
    return feeds


def _text_tokens(parts: Parts) -> int:
    if isinstance(parts.text, ParallelTextToSemantic):
        return len(parts.text.config.symbols)
    return parts.text.config.text_tokens if parts.text else 0


def torch_engines(checkpoint: Path, graphs: Mapping[str, Graph], *, threads: int) -> dict[str, Engine]:
    """PyTorch on a checkpoint, an engine for each graph: `soundstorm bench --against torch` finds this."""
    torch.set_num_threads(threads)
    pairs = networks(Parts.of(load_voice(checkpoint)), graphs)
    return {name: TorchEngine(network.graph, network.function) for name, network in pairs.items()}
