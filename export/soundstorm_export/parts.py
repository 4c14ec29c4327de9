"""What a bundle is made of: a whole voice, or a codec and a SoundStorm that reads no text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from soundstorm_edge.checkpoint import VoiceModels
from soundstorm_edge.codec import Codec
from soundstorm_edge.companions import CodecFacts
from soundstorm_edge.parallel_text import ParallelTextToSemantic
from soundstorm_edge.soundstorm import SoundStorm
from soundstorm_edge.text_to_semantic import TextToSemantic
from soundstorm_runtime.decode import DecodeOptions
from soundstorm_runtime.lexicon import Lexicon
from soundstorm_runtime.prompts import Prompt

from .errors import ExportError


@dataclass(frozen=True)
class Parts:
    """The networks, in evaluation mode, and what the device has to know beside them.

    rate: semantic tokens a second. Without `text` and `lexicon` the device is given semantic tokens.
    """

    name: str
    codec: Codec
    soundstorm: SoundStorm
    rate: int
    decode: DecodeOptions
    text: ParallelTextToSemantic | TextToSemantic | None = None
    lexicon: Lexicon | None = None
    prompts: Mapping[str, Prompt] = field(default_factory=dict)
    speaker: str | None = None

    def __post_init__(self) -> None:
        if features := self.soundstorm.config.only_in_pytorch:
            raise ExportError(
                f"this SoundStorm has {', '.join(features)}, which the step graph cannot hold; "
                "decode with its generate() in PyTorch, or train it without"
            )
        codec, own = CodecFacts(self.codec), self.soundstorm
        if (codec.levels, codec.codebook_size) != (own.levels, own.codebook_size):
            raise ExportError(
                f"the codec has {codec.levels} levels of {codec.codebook_size} codes, SoundStorm "
                f"{own.levels} of {own.codebook_size}; give the codec that SoundStorm was trained with"
            )

    @property
    def vocabulary(self) -> int:
        """How many semantic tokens there are; only_in_pytorch rules out a SoundStorm without any."""
        return self.soundstorm.config.vocabulary or 0

    @classmethod
    def of(cls, voice: VoiceModels) -> Parts:
        """Take the parts of a voice."""
        config = voice.config
        return cls(
            config.name,
            voice.codec,
            voice.soundstorm,
            config.units.rate,
            config.decode,
            voice.text,
            voice.lexicon,
            voice.prompts,
            config.speaker,
        )
