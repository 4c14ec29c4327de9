"""Three small voices, their graphs in every precision as a bundle has them, and their profiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import onnx
import onnx_ir as ir
import torch

from soundstorm_edge.checkpoint import VoiceConfig, build_voice
from soundstorm_edge.codec.soundstream import SoundStream
from soundstorm_edge.codec.soundstream_config import SoundStreamConfig
from soundstorm_edge.codec.spectral_codec import SpectralCodecConfig
from soundstorm_edge.codec.streaming_decoder import StreamingDecoder
from soundstorm_edge.nn.conformer import ConformerConfig
from soundstorm_edge.soundstorm.model import SoundStormConfig
from soundstorm_edge.soundstorm.next_step import step_next
from soundstorm_edge.text_to_semantic.autoregressive_config import TextToSemanticConfig
from soundstorm_edge.text_to_semantic.parallel import ParallelTextConfig
from soundstorm_edge.training.pipeline import shipped_lexicon
from soundstorm_edge.units.semantic_units import SpectralUnitsConfig
from soundstorm_export.rewrite.constants import store_as_halves
from soundstorm_export.rewrite.half import HALVES, to_half
from soundstorm_export.rewrite.qdq import EIGHTS, quantised_inputs, to_qdq
from soundstorm_export.rewrite.simplify import simplify
from soundstorm_export.schemas import audio_schema, cache_shape
from soundstorm_export.tensorrt.engine_builder import BuildOptions, profiles
from soundstorm_export.tracing.networks import Network, networks, prompt_encoder_networks
from soundstorm_export.tracing.trace import trace
from soundstorm_export.voice_parts import Parts
from soundstorm_runtime.bundle.manifest import (
    AudioSchema,
    AutoregressiveTextSchema,
    ParallelTextSchema,
    Precision,
    SemanticSchema,
    TextSchema,
    voice_graphs,
)
from soundstorm_runtime.decoding.maskgit import DecodeOptions
from soundstorm_runtime.engines.graphs import AXES, Axis, Graph, step_next_graph

from .builder import Span

DEPTH, HEADS, DIM = 1, 2, 128
LEVELS, CODES, VOCABULARY = 3, 256, 100
BATCH = Axis(1, 1, 4)  # what engines are built for unless another is asked for
LARGEST = 8.0  # of an activation, which nobody measured here

_CONFORMER = ConformerConfig(
    DIM, DEPTH, heads=HEADS, ff_mult=2, conv_kernel_size=5, num_residual_streams=1
)  # fmt: skip


def spectral_voice() -> tuple[Parts, dict[str, Network]]:
    """Make a voice with a spectral codec and a parallel text stage, as the shipped one has them."""
    codec = SpectralCodecConfig(
        window=1280, spectra=2, transforms=2, dim=64, encoder_blocks=1, decoder_blocks=2, latent_dim=32,
        levels=LEVELS, codebook_size=CODES,
    )  # fmt: skip
    symbols = shipped_lexicon().symbols
    text = ParallelTextConfig(symbols=symbols, vocabulary=VOCABULARY, encoder=_CONFORMER, decoder=_CONFORMER)
    parts = _voice("spectral", codec, text)
    audio = AudioSchema(
        "spectral", 16_000, parts.codec.hop, parts.codec.window, LEVELS, CODES, transforms=2
    )  # fmt: skip
    return parts, _networks(parts, audio, ParallelTextSchema("parallel", symbols, DIM))


def block_causal_voice() -> tuple[Parts, dict[str, Network]]:
    """Make a block-causal voice whose codec has a source, and which decodes by expectation.

    Its other graphs are those of the first voice.
    """
    codec = SpectralCodecConfig(
        window=1280, spectra=2, transforms=2, dim=16, encoder_blocks=1, decoder_blocks=1, latent_dim=8,
        levels=LEVELS, codebook_size=CODES, source=True,
    )  # fmt: skip
    symbols = shipped_lexicon().symbols
    text = ParallelTextConfig(symbols=symbols, vocabulary=VOCABULARY, encoder=_CONFORMER, decoder=_CONFORMER)
    parts = _voice("block-causal", codec, text, replace(_CONFORMER, block_causal=True), expected=True)
    audio, semantic = audio_schema(parts), SemanticSchema(VOCABULARY, parts.rate)
    return parts, networks(parts, voice_graphs(audio, semantic, None, cache_shape(parts)))


def soundstream_voice() -> tuple[Parts, dict[str, Network]]:
    """Make a voice with a SoundStream, which also decodes in pieces, and an autoregressive text stage."""
    codec = SoundStreamConfig(
        channels=8, codebook_dim=64, codebook_size=CODES, rq_num_quantizers=LEVELS, pad_mode="constant",
        strided_pad_mode="constant",
    )  # fmt: skip
    symbols = shipped_lexicon().symbols
    text = TextToSemanticConfig(
        dim=DIM, source_depth=1, target_depth=DEPTH, heads=HEADS, symbols=symbols,
        num_semantic_token_ids=VOCABULARY,
    )  # fmt: skip
    parts = _voice("soundstream", codec, text)
    assert isinstance(parts.codec, SoundStream)
    state = StreamingDecoder(parts.codec).state
    audio = AudioSchema("soundstream", 16_000, parts.codec.hop, 0, LEVELS, CODES, state=state)
    return parts, _networks(
        parts, audio, AutoregressiveTextSchema("autoregressive", symbols, DEPTH, HEADS, 64)
    )


def traced(network: Network, parts: Parts) -> bytes:
    """Export a graph in fp32."""
    return ir.to_proto(simplify(trace(network, parts))).SerializeToString()


def write(model: bytes, precision: Precision, file: Path) -> Path:
    """Write a graph in a precision; weights that float16 represents exactly are stored so, as in a bundle."""
    graph = ir.from_proto(onnx.ModelProto.FromString(model))
    if precision in EIGHTS:
        largest = {str(value.name): LARGEST for value in quantised_inputs(graph)}
        graph = to_half(to_qdq(graph, EIGHTS[precision], largest), HALVES["fp16"])
    elif precision != "fp32":
        graph = to_half(graph, HALVES[precision])
    store_as_halves(graph)
    ir.save(graph, file)
    return file


def project_profiles(graph: Graph) -> list[Mapping[str, Span]]:
    """Return the shapes that the project builds engines of a graph for, where no option is given."""
    axes = {**AXES, "batch": BATCH}
    return [_shapes(graph, profile) for profile in profiles(graph, axes, BuildOptions())]


def _shapes(graph: Graph, axes: Mapping[str, Axis]) -> dict[str, Span]:
    found: dict[str, Span] = {}
    for tensor in graph.inputs:
        if any(isinstance(axis, str) for axis in tensor.axes):
            spans = [axes[a] if isinstance(a, str) else Axis(a, a, a) for a in tensor.axes]
            ends: Sequence[Sequence[int]] = [
                [getattr(span, end) for span in spans] for end in ("min", "opt", "max")
            ]
            found[tensor.name] = (ends[0], ends[1], ends[2])
    return found


def _voice(
    name: str,
    codec: SpectralCodecConfig | SoundStreamConfig,
    text: ParallelTextConfig | TextToSemanticConfig,
    conformer: ConformerConfig = _CONFORMER,
    expected: bool = False,
) -> Parts:
    torch.manual_seed(0)
    soundstorm = SoundStormConfig(LEVELS, CODES, VOCABULARY, conformer, level_embedding=True)
    units = SpectralUnitsConfig(vocabulary=VOCABULARY)
    decode = DecodeOptions(steps=(2,) + (1,) * (LEVELS - 1), expected=expected)
    config = VoiceConfig(name, codec, units, soundstorm, text, decode)
    models = build_voice(config, shipped_lexicon())
    for network in (models.codec, models.units, models.soundstorm, models.text):
        for weight in network.parameters():  # exact in float16, as those of a checkpoint are
            weight.data = weight.data.half().float()
    return Parts.of(models)


def _networks(parts: Parts, audio: AudioSchema, text: TextSchema) -> dict[str, Network]:
    semantic = SemanticSchema(VOCABULARY, parts.rate)
    hearing = prompt_encoder_networks(parts, audio, semantic, lambda line: None)
    model = parts.soundstorm
    whole_step = Network(step_next_graph(LEVELS), model, partial(step_next, model))
    return {**networks(parts, voice_graphs(audio, semantic, text)), **hearing, "step_next": whole_step}
