"""Which function of which network each graph of a voice is, and what numbers may be fed to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from soundstorm_edge.checkpoint import VoiceConfig, VoiceModels
from soundstorm_edge.parallel_text import ParallelTextToSemantic
from soundstorm_edge.spectral_codec import SpectralCodec
from soundstorm_runtime.graphs import Graph


@dataclass(frozen=True)
class Network:
    """A graph, the module that holds its weights, and the function of it that is traced."""

    graph: Graph
    module: nn.Module
    function: Callable[..., Tensor | tuple[Tensor, ...]]


def networks(voice: VoiceModels, graphs: Mapping[str, Graph]) -> dict[str, Network]:
    """Pair every graph of the voice with its network, by the graph's name."""
    codec, text = voice.codec, voice.text
    decode = codec.spectrum if isinstance(codec, SpectralCodec) else codec.decode_from_codebook_indices
    functions: dict[str, tuple[nn.Module, Callable[..., Tensor | tuple[Tensor, ...]]]] = {
        "step": (voice.soundstorm, voice.soundstorm.step),
        "decoder": (codec, decode),
        "text_encoder": (text, text.encode),
    }
    if isinstance(text, ParallelTextToSemantic):
        functions["text_decoder"] = (text, text.decode)
    else:
        functions["text_step"] = (text, text.step)
    return {name: Network(graph, *functions[name]) for name, graph in graphs.items()}


def example_feeds(
    graph: Graph, config: VoiceConfig, lengths: Mapping[str, int], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Draw inputs that the graph could meet, with the given lengths of its symbolic axes.

    The first sample of a batch fills its axis; the others may be shorter.
    """
    below = {  # exclusive limits of the integers
        "codes": config.soundstorm.codebook_size + (graph.name == "step"),  # the mask token too
        "level": config.soundstorm.levels,
        "semantic_tokens": config.text.vocabulary,
        "phones": len(config.text.symbols),
        "token": config.text.vocabulary + 1,
    }
    longest = next(lengths[s] for s in ("frames", "tokens", "phones") if s in lengths)
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
            array = np.ones(shape)
        elif tensor.dtype == "int64":
            array = rng.integers(below[tensor.name], size=shape)
        else:
            array = rng.standard_normal(shape)
        feeds[tensor.name] = array.astype(tensor.dtype)
    return feeds
