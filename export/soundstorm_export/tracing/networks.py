"""Which function of which PyTorch network each graph of a voice is traced from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from soundstorm_edge.checkpoint import load_voice
from soundstorm_edge.codec.interface import Codec
from soundstorm_edge.codec.soundstream import SoundStream
from soundstorm_edge.codec.spectral_codec import SpectralCodec
from soundstorm_edge.codec.streaming_decoder import StreamingDecoder
from soundstorm_edge.errors import CheckpointError
from soundstorm_edge.nn.torch_engine import TorchEngine
from soundstorm_edge.soundstorm.attached_models import residual_quantizer
from soundstorm_edge.soundstorm.model import SoundStorm
from soundstorm_edge.soundstorm.next_step import step_next
from soundstorm_edge.text_to_semantic.parallel import ParallelTextToSemantic
from soundstorm_runtime.bundle.manifest import AudioSchema, SemanticSchema, prompt_graphs
from soundstorm_runtime.engines.base import Engine
from soundstorm_runtime.engines.example_feeds import FeedLimits
from soundstorm_runtime.engines.graphs import Graph

from ..voice_parts import Parts


@dataclass(frozen=True)
class Network:
    """What a graph is traced from.

    Attributes:
        graph: names, dtypes and axes of inputs and outputs.
        module: holds the weights.
        function: computes the outputs; of `module` or around it.
    """

    graph: Graph
    module: nn.Module
    function: Callable[..., Tensor | tuple[Tensor, ...]]


def networks(parts: Parts, graphs: Mapping[str, Graph]) -> dict[str, Network]:
    """Pair the graphs that a voice speaks with and their networks, by the graph's name."""
    codec, text = parts.codec, parts.text
    decode = codec.spectrum if isinstance(codec, SpectralCodec) else codec.decode_from_codebook_indices
    functions: dict[str, tuple[nn.Module, Callable[..., Tensor | tuple[Tensor, ...]]]] = {
        "step": (parts.soundstorm, parts.soundstorm.step),
        "step_next": (parts.soundstorm, partial(step_next, parts.soundstorm)),
        "decoder": (codec, decode),
    }
    if "quantizer" in graphs:
        quantizer = residual_quantizer(codec)
        step = _ExpectingStep(parts.soundstorm, quantizer.residual.codebooks)
        functions |= {"step": (step, step.forward), "quantizer": (quantizer, quantizer.encode)}
    if "prefix" in graphs:
        functions["prefix"] = (parts.soundstorm, parts.soundstorm.prefix)
    if isinstance(text, ParallelTextToSemantic):
        functions |= {"text_encoder": (text, text.encode), "text_decoder": (text, text.decode)}
    elif text is not None:
        functions |= {"text_encoder": (text, text.encode), "text_step": (text, text.step)}
    if "decoder_stream" in graphs and isinstance(codec, SoundStream):
        functions["decoder_stream"] = (codec, StreamingDecoder(codec).decode)
    return {name: Network(graph, *functions[name]) for name, graph in graphs.items()}


class _ExpectingStep(nn.Module):
    """SoundStorm's step with the codebooks of the codec."""

    codebooks: Tensor

    def __init__(self, soundstorm: SoundStorm, codebooks: Tensor) -> None:
        super().__init__()
        self.soundstorm = soundstorm
        self.register_buffer("codebooks", codebooks)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.soundstorm.expecting_step(self.codebooks, *inputs)


def prompt_encoder_networks(
    parts: Parts, audio: AudioSchema, semantic: SemanticSchema, report: Callable[[str], None]
) -> dict[str, Network]:
    """Pair the graphs that encode recordings as prompts with their networks.

    Returns nothing for a voice without units or text stage, or with HuBERT units whose HuBERT is not on
    this machine, which `report` is told.
    """
    units = parts.units
    if units is None or parts.text is None:
        return {}
    try:
        units.features(torch.zeros(1, units.sample_rate))  # loads HuBERT
    except CheckpointError as error:
        report(f"the bundle will make no prompts of recordings: {error}")
        return {}
    codec, graphs = _traceable(parts.codec), prompt_graphs(audio, semantic)
    return {
        "encoder": Network(graphs["encoder"], codec, lambda frames: codec._encode(frames.flatten(1))),
        "units": Network(graphs["units"], units, lambda frames: units.tokenize(frames.flatten(1))),
    }


def _traceable(codec: Codec) -> Codec:
    """Copy a codec whose codebooks are initialised; the flag `initted`, a tensor, becomes a plain True.

    The encoder branches on it, which a trace cannot follow.
    """
    codec = deepcopy(codec)
    for module in codec.modules():
        if "initted" in module._buffers:
            del module._buffers["initted"]
            module.initted = True  # type: ignore[assignment]
    return codec


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
    """Open PyTorch on a checkpoint as an engine for each graph, for `soundstorm bench --against torch`."""
    torch.set_num_threads(threads)
    pairs = networks(Parts.of(load_voice(checkpoint)), graphs)
    return {name: TorchEngine(network.graph, network.function) for name, network in pairs.items()}
