"""Read checkpoints: one of this package, or those of third-party packages that make a voice together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from soundstorm_edge.checkpoint import voice_from_content
from soundstorm_edge.codec.soundstream import SoundStream
from soundstorm_edge.errors import CheckpointError, ConfigError
from soundstorm_edge.interop import from_audiolm_pytorch, from_soundstorm_pytorch, from_spear_tts_pytorch
from soundstorm_edge.soundstorm.model import SoundStorm
from soundstorm_edge.soundstorm.semantic_conditioning import SemanticCondition
from soundstorm_edge.support.config import from_dict
from soundstorm_edge.support.tensor_files import FORMAT, read_tensors
from soundstorm_edge.text_to_semantic.autoregressive import TextToSemantic
from soundstorm_edge.text_to_semantic.compat.clip_tokenizer import clip_tokenizer
from soundstorm_runtime.support.files import parse_toml, read_text
from soundstorm_runtime.support.serde import check_printable
from soundstorm_runtime.text.spelling import Tokens

from .errors import ExportError
from .voice_parts import Parts

Model = TypeVar("Model", bound=nn.Module)

# A weight that every model of a package has. A file with a SoundStorm may hold the other two as well.
MARKERS = {
    "net.code_embeds.weight": "soundstorm",
    "encoder.0.conv.weight": "soundstream",
    "start_token.speech": "text",
}
PREFIXES = {"soundstream": "soundstream.", "text": "text_to_semantic."}  # of their weights in such a file


@dataclass(frozen=True)
class ThirdPartyConfig:
    """The TOML file of `--config`: what checkpoints of third-party packages do not store.

    Attributes:
        name: of the voice.
        soundstorm: arguments of `from_soundstorm_pytorch` that its file does not store.
        soundstream: those of `from_audiolm_pytorch`.
        text: those of `from_spear_tts_pytorch`.
        tokenizer: a file of the library tokenizers, relative to the TOML file, that turns text into the ids
            of a text stage; not needed with CLIP's tokenizer.
        decode: fields of `DecodeOptions` that replace the model's own.
    """

    name: str = "voice"
    soundstorm: dict[str, Any] = field(default_factory=dict)
    soundstream: dict[str, Any] = field(default_factory=dict)
    text: dict[str, Any] = field(default_factory=dict)
    tokenizer: str | None = None
    decode: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_printable("name", self.name)


@dataclass(frozen=True)
class CheckpointFile:
    """A checkpoint that has been read, so that none is read twice."""

    path: Path
    content: Mapping[str, Any]

    @property
    def weights(self) -> Mapping[str, Any]:
        """The state dict of a third-party file, with or without what its trainer saved beside it."""
        model = self.content.get("model", self.content)
        return model if isinstance(model, Mapping) else {}

    @property
    def kind(self) -> str | None:
        """What the file holds: `voice` (of this package), a value of `MARKERS`, or None."""
        if self.content.get("format") == FORMAT:
            return "voice"
        for name, kind in MARKERS.items():
            if name in self.weights or f"ema_model.{name}" in self.weights:
                return kind
        return None

    def load(self, loader: Callable[..., Model], **options: Any) -> Model:
        """Call one of `soundstorm_edge.interop` with the content; its errors name the file."""
        try:
            return loader(self.content, **options)
        except CheckpointError as error:
            raise CheckpointError(f"{self.path}: {error}") from error


def read_parts(paths: Sequence[Path], config: Path | None) -> Parts:
    """Read a voice of this package, or the third-party checkpoints that make one together.

    Args:
        paths: one file of soundstorm-train; or a SoundStorm of soundstorm-pytorch and, where they are not
            inside it, its SoundStream (audiolm-pytorch) and TextToSemantic (spear-tts-pytorch), in any order.
        config: the TOML file of `ThirdPartyConfig`.

    Raises:
        CheckpointError: a file cannot be read or used.
        ExportError: a file is missing, superfluous or ambiguous.
    """
    files: dict[str, CheckpointFile] = {}
    for path in paths:
        file = _read_file(path)
        kind = str(file.kind)
        if kind in files:
            raise ExportError(f"{files[kind].path} and {path} both hold a {kind}; leave one out")
        files[kind] = file
    if "voice" not in files:
        return _third_party_parts(files, read_config(config), config)
    voice = files["voice"]
    if config is not None or len(files) > 1:
        other = "--config" if config is not None else "the other files"
        raise ExportError(f"{voice.path} is a whole voice of soundstorm-edge; leave {other} out")
    return Parts.of(voice_from_content(voice.content, voice.path))


def _read_file(path: Path) -> CheckpointFile:
    content = read_tensors(path, "voice")
    file = CheckpointFile(path, content if isinstance(content, Mapping) else {})
    if file.kind is None:
        raise CheckpointError(
            f"{path} was not written by soundstorm-edge, and is no SoundStorm of soundstorm-pytorch, "
            "SoundStream of audiolm-pytorch or TextToSemantic of spear-tts-pytorch; give one of those"
        )
    return file


def _third_party_parts(
    files: Mapping[str, CheckpointFile], settings: ThirdPartyConfig, config: Path | None
) -> Parts:
    if "soundstorm" not in files:
        names = ", ".join(str(file.path) for file in files.values())
        raise ExportError(f"{names}: no SoundStorm among them, which every voice needs; give its file, too")
    soundstorm = files["soundstorm"]
    for kind, prefix in PREFIXES.items():
        if kind in files and any(name.startswith(prefix) for name in soundstorm.weights):
            raise ExportError(f"{soundstorm.path} has its {kind} inside; leave {files[kind].path} out")
    codec: nn.Module | None = None
    rates: dict[str, int] = {}
    if "soundstream" in files:
        codec = own = files["soundstream"].load(from_audiolm_pytorch, **settings.soundstream)
        rates = {"codec_target_sample_hz": own.sample_rate, "codec_downsample_factor": own.hop}
    model = soundstorm.load(
        from_soundstorm_pytorch,
        soundstream=settings.soundstream,
        spear_tts_text_to_semantic=settings.text,
        **rates | settings.soundstorm,
    )
    text = model.text_to_semantic
    codec = model.soundstream if codec is None else codec
    if codec is None:
        raise ExportError(f"{soundstorm.path} has no codec inside; give the file of its SoundStream, too")
    if not isinstance(codec, SoundStream):
        raise ExportError(f"the codec is a {type(codec).__name__}, expected a SoundStream")
    if "text" in files:
        text = files["text"].load(from_spear_tts_pytorch, **settings.text)
    try:
        decode = replace(model.decode_options(), **_with_tuples(settings.decode))
    except TypeError as error:
        raise ExportError(f"--config: decode: {error}") from error
    return Parts(
        settings.name,
        codec.eval(),
        _without_companions(model),
        codec.sample_rate // codec.hop,
        decode,
        text,
        tokenizer=None if text is None else _tokenizer(text, settings, config),
    )


def _without_companions(model: SoundStorm) -> SoundStorm:
    """Return SoundStorm without codec and text stage; an unconditional one gets a single, zero token."""
    alone = model.standalone()
    if alone.condition is None:
        alone.condition = SemanticCondition(1, alone.net.dim)
        alone.condition.embedding.weight.data.zero_()
    return alone.eval()


def _tokenizer(text: TextToSemantic, settings: ThirdPartyConfig, config: Path | None) -> str:
    """Return the tokenizer of a text stage as JSON of the library tokenizers."""
    if text.config.use_openai_tokenizer:
        return str(clip_tokenizer().to_str())
    if settings.tokenizer is None or config is None:
        raise ExportError(
            "the text stage reads the ids of a tokenizer, and none is named; set use_openai_tokenizer = true "
            "in [text] of --config for CLIP's, or tokenizer = 'tokenizer.json' at its top for a file of the "
            "library tokenizers"
        )
    path = config.parent / settings.tokenizer
    if not path.is_file():
        raise ExportError(f"tokenizer is {settings.tokenizer!r}, but there is no file {path}; check the path")
    Tokens(path, text.config.text_tokens, None)  # raises what a device would raise
    return path.read_text(encoding="utf-8")


def _with_tuples(table: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in table.items()}


def read_config(config: Path | None) -> ThirdPartyConfig:
    """Read the TOML file of `--config`.

    Raises:
        ExportError: it cannot be read, is not TOML, or has an unknown key, which the message names.
    """
    if config is None:
        return ThirdPartyConfig()
    try:
        table = parse_toml(read_text(config))
        return from_dict(ThirdPartyConfig, table, str(config))
    except (OSError, UnicodeDecodeError) as error:
        raise ExportError(f"cannot read {config} ({error}); check the path") from error
    except ConfigError as error:
        raise ExportError(str(error)) from error
    except ValueError as error:
        raise ExportError(f"{config} is not TOML: {error}") from error
