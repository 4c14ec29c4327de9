"""The sections of a bundle's manifest that describe the voice, derived from its networks."""

from __future__ import annotations

from soundstorm_edge.codec.soundstream import SoundStream
from soundstorm_edge.codec.spectral_codec import ConvNeXtBlock, SpectralCodec
from soundstorm_edge.codec.streaming_decoder import StreamingDecoder
from soundstorm_edge.nn.conformer import Convolution
from soundstorm_edge.text_to_semantic.parallel import ParallelTextToSemantic
from soundstorm_edge.units.semantic_units import HubertUnits, PhoneticUnits, SpectralUnits
from soundstorm_runtime.bundle.manifest import (
    AudioSchema,
    AutoregressiveTextSchema,
    ParallelTextSchema,
    SemanticSchema,
    TextSchema,
)
from soundstorm_runtime.engines.graphs import CacheShape

from .voice_parts import Parts


def audio_schema(parts: Parts) -> AudioSchema:
    """Describe the codec: sizes, and what a stream needs to decode it in pieces."""
    codec, soundstorm = parts.codec, parts.soundstorm
    sizes = (soundstorm.levels, soundstorm.codebook_size, soundstorm.config.groups)
    if isinstance(codec, SpectralCodec):
        return AudioSchema(
            "spectral", codec.sample_rate, codec.hop, codec.window, *sizes, *receptive_field(codec),
            transforms=codec.config.transforms, source=codec.config.source,
            latent=codec.config.latent_dim if parts.decode.expected else None,
        )  # fmt: skip
    state: tuple[tuple[int, ...], ...] = ()
    if isinstance(codec, SoundStream) and codec.config.pad_mode != "circular":
        state = StreamingDecoder(codec).state
    return AudioSchema("soundstream", codec.sample_rate, codec.hop, 0, *sizes, state=state)


def receptive_field(codec: SpectralCodec) -> tuple[int, int]:
    """Return how many frames before and after a frame the decoder's spectrum of it depends on."""
    blocks = [block for block in codec.decoder if isinstance(block, ConvNeXtBlock)]
    return sum(block.padding[0] for block in blocks), sum(block.padding[1] for block in blocks)


def cache_shape(parts: Parts) -> CacheShape | None:
    """Describe what a block-causal SoundStorm keeps of finished blocks; None for another one."""
    conformer = parts.soundstorm.net.conformer
    config = conformer.config
    if not config.block_causal:
        return None
    convolution = next(module for module in conformer.modules() if isinstance(module, Convolution))
    channels = convolution.depthwise.in_channels
    return CacheShape(config.depth, config.heads * config.dim_head, convolution.before, channels)


def semantic_schema(parts: Parts) -> SemanticSchema:
    """Describe the semantic tokens: how many there are, how many a second, and which units they are."""
    units = parts.units
    kind = units.config.kind if isinstance(units, SpectralUnits | PhoneticUnits | HubertUnits) else "unknown"
    return SemanticSchema(parts.vocabulary, parts.rate, kind)


def text_schema(parts: Parts) -> TextSchema | None:
    """Describe the text stage; None for a voice without one."""
    if parts.text is None:
        return None
    if isinstance(parts.text, ParallelTextToSemantic):
        config = parts.text.config
        return ParallelTextSchema("parallel", config.symbols, config.encoder.dim)
    sizes, text = parts.text.config, parts.text.alphabets["text"]
    return AutoregressiveTextSchema(
        "autoregressive",
        sizes.symbols,
        sizes.target_depth,
        sizes.heads,
        sizes.dim_head,
        text_tokens=None if sizes.symbols else text.size,
        end=text.end if text.has_end else None,
    )
