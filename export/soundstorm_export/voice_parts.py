"""The networks and data that a bundle is made of, whichever checkpoints they come from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from soundstorm_edge.checkpoint import VoiceModels
from soundstorm_edge.codec.interface import Codec
from soundstorm_edge.soundstorm.attached_models import CodecShape, residual_quantizer
from soundstorm_edge.soundstorm.model import SoundStorm
from soundstorm_edge.text_to_semantic.autoregressive import TextToSemantic
from soundstorm_edge.text_to_semantic.parallel import ParallelTextToSemantic
from soundstorm_edge.units.semantic_units import SemanticTokenizer
from soundstorm_runtime.bundle.prompts import Prompt
from soundstorm_runtime.decoding.maskgit import DecodeOptions
from soundstorm_runtime.errors import OptionError
from soundstorm_runtime.text.lexicon import Lexicon

from .errors import ExportError


@dataclass(frozen=True)
class Parts:
    """The networks of a voice, in evaluation mode, and the data that a device needs beside them.

    Attributes:
        name: of the voice.
        codec: turns codes into audio, and audio into codes.
        soundstorm: predicts codes from semantic tokens.
        rate: semantic tokens a second.
        decode: options of the decode loop.
        text: turns text into semantic tokens; None for a voice that speaks semantic tokens alone.
        lexicon: spells text as the phones that `text` reads.
        tokenizer: JSON of the library tokenizers, for a `text` that reads the ids of a tokenizer instead.
        units: turns audio into semantic tokens.
        prompts: named voices.
        speaker: the prompt that speaks by default.

    Raises:
        ExportError: SoundStorm cannot be exported, or the parts do not fit each other.
    """

    name: str
    codec: Codec
    soundstorm: SoundStorm
    rate: int
    decode: DecodeOptions
    text: ParallelTextToSemantic | TextToSemantic | None = None
    lexicon: Lexicon | None = None
    tokenizer: str | None = None
    units: SemanticTokenizer | None = None
    prompts: Mapping[str, Prompt] = field(default_factory=dict)
    speaker: str | None = None
    notice: str = ""

    def __post_init__(self) -> None:
        if features := self.soundstorm.config.only_in_pytorch:
            raise ExportError(
                f"this SoundStorm has {', '.join(features)}, which the step graph cannot hold; "
                "decode with its generate() in PyTorch, or train it without"
            )
        codec, own = CodecShape(self.codec), self.soundstorm
        if (codec.levels, codec.codebook_size) != (own.levels, own.codebook_size):
            raise ExportError(
                f"the codec has {codec.levels} levels of {codec.codebook_size} codes, SoundStorm "
                f"{own.levels} of {own.codebook_size}; give the codec that SoundStorm was trained with"
            )

        if isinstance(self.text, TextToSemantic) and self.text.config.vocabulary != self.vocabulary:
            raise ExportError(
                f"the text stage predicts {self.text.config.vocabulary} semantic tokens, SoundStorm reads "
                f"{self.vocabulary}; give the text stage that it was trained with"
            )
        if self.decode.expected:
            try:
                residual_quantizer(self.codec)
            except OptionError as error:
                raise ExportError(str(error)) from error

    @property
    def vocabulary(self) -> int:
        """How many semantic tokens there are; `only_in_pytorch` has excluded a SoundStorm without any."""
        return self.soundstorm.config.vocabulary or 0

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that identify the weights of codec and units.

        Codes and semantic tokens, and so prompts, are exchangeable between voices with the same fingerprint.
        """
        digest = hashlib.sha256()
        for model in (self.codec, self.units):
            for name, tensor in sorted(model.state_dict().items()) if model is not None else ():
                digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    @classmethod
    def of(cls, voice: VoiceModels) -> Parts:
        """Return the parts of a voice of this package."""
        config = voice.config
        return cls(
            config.name,
            voice.codec,
            voice.soundstorm,
            config.units.rate,
            config.decode,
            voice.text,
            voice.lexicon,
            units=voice.units,
            prompts=voice.prompts,
            speaker=config.speaker,
            notice=config.notice,
        )
