"""Which function of which network each graph of a voice is, and what numbers may be fed to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from soundstorm_edge.checkpoint import load_voice
from soundstorm_edge.codec.soundstream import SoundStream
from soundstorm_edge.codec.spectral_codec import SpectralCodec
from soundstorm_edge.codec.streaming_decoder import StreamingDecoder
from soundstorm_edge.nn.torch_engine import TorchEngine
from soundstorm_edge.text_to_semantic.parallel import ParallelTextToSemantic
from soundstorm_runtime.engines.base import Engine
from soundstorm_runtime.engines.example_feeds import FeedLimits
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


def feed_limits(parts: Parts) -> FeedLimits:
    """Return the ranges of the values that the graphs of a voice take."""
    text = parts.text
    text_ids = 0
    if isinstance(text, ParallelTextToSemantic):
        text_ids = len(text.config.symbols)
    elif text is not None:
        text_ids = text.config.text_tokens
    return FeedLimits(
        levels=parts.soundstorm.levels,
        codebook_size=parts.soundstorm.codebook_size,
        vocabulary=parts.vocabulary,
        text_ids=text_ids,
        temperature=parts.decode.temperature,
    )


def torch_engines(checkpoint: Path, graphs: Mapping[str, Graph], *, threads: int) -> dict[str, Engine]:
    """PyTorch on a checkpoint, an engine for each graph: `soundstorm bench --against torch` finds this."""
    torch.set_num_threads(threads)
    pairs = networks(Parts.of(load_voice(checkpoint)), graphs)
    return {name: TorchEngine(network.graph, network.function) for name, network in pairs.items()}
