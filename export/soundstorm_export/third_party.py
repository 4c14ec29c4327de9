"""Checkpoints of other packages, and what their files do not say."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import nn

from soundstorm_edge.checkpoint import load_voice
from soundstorm_edge.codec.soundstream import SoundStream
from soundstorm_edge.errors import CheckpointError, ConfigError
from soundstorm_edge.interop import from_audiolm_pytorch, from_soundstorm_pytorch, from_spear_tts_pytorch
from soundstorm_edge.soundstorm.model import SoundStorm
from soundstorm_edge.soundstorm.semantic_conditioning import SemanticCondition
from soundstorm_edge.support.config import from_dict
from soundstorm_edge.support.tensor_files import FORMAT, read_tensors
from soundstorm_edge.text_to_semantic.autoregressive import TextToSemantic
from soundstorm_edge.text_to_semantic.compat.clip_tokenizer import clip_tokenizer
from soundstorm_runtime.text.spelling import Tokens

from .errors import ExportError
from .voice_parts import Parts

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# A weight that every model of a package has; SoundStorm's file may hold the other two as well.
SIGNS = {
    "net.code_embeds.weight": "soundstorm",
    "encoder.0.conv.weight": "soundstream",
    "start_token.speech": "text",
}
INSIDE = {"soundstream": "soundstream.", "text": "text_to_semantic."}


@dataclass(frozen=True)
class ThirdPartyConfig:
    """What `--config` says: a TOML file.

    name: of the voice. soundstorm, soundstream, text: facts that a file does not carry, by the names that
    `soundstorm_edge.interop` knows. tokenizer: a file of the library tokenizers, beside the TOML file, that
    turns text into the ids of a text stage without CLIP's. decode: fields of `DecodeOptions` in the place
    of the model's own.
    """

    name: str = "voice"
    soundstorm: dict[str, Any] = field(default_factory=dict)
    soundstream: dict[str, Any] = field(default_factory=dict)
    text: dict[str, Any] = field(default_factory=dict)
    tokenizer: str | None = None
    decode: dict[str, Any] = field(default_factory=dict)


def read_parts(paths: Sequence[Path], config: Path | None) -> Parts:
    """Read a checkpoint of ours, or those of other packages that make a voice together.

    Raises `CheckpointError` or `ExportError`, naming what is missing or in the way.
    """
    files: dict[str, Path] = {}
    for path in paths:
        kind = _kind(path)
        if kind in files:
            raise ExportError(f"{files[kind]} and {path} both hold a {kind}, expected one; leave one out")
        files[kind] = path
    if "voice" not in files:
        return _foreign(files, read_facts(config), config)
    if config is not None or len(files) > 1:
        other = "--config" if config is not None else "the other files"
        raise ExportError(
            f"{files['voice']} is a checkpoint of soundstorm-edge and says all; leave {other} out"
        )
    return Parts.of(load_voice(files["voice"]))


def _kind(path: Path) -> str:
    content = read_tensors(path, "voice")
    if isinstance(content, Mapping):
        if content.get("format") == FORMAT:
            return "voice"
        state = content.get("model", content)
        for sign, kind in SIGNS.items():
            if isinstance(state, Mapping) and (sign in state or f"ema_model.{sign}" in state):
                return kind
    raise CheckpointError(
        f"{path} was not written by soundstorm-edge, and is no SoundStorm of soundstorm-pytorch, "
        "SoundStream of audiolm-pytorch or TextToSemantic of spear-tts-pytorch; give one of those"
    )


def _foreign(files: Mapping[str, Path], facts: ThirdPartyConfig, config: Path | None) -> Parts:
    if "soundstorm" not in files:
        raise ExportError(
            f"{', '.join(map(str, files.values()))}: no SoundStorm among them, and without one nothing "
            "speaks; give its file, too"
        )
    state = read_tensors(files["soundstorm"], "SoundStorm")
    state = state.get("model", state)
    for kind, prefix in INSIDE.items():
        if kind in files and any(name.startswith(prefix) for name in state):
            raise ExportError(f"{files['soundstorm']} has its {kind} inside; leave {files[kind]} out")
    codec: nn.Module | None = None
    rates: dict[str, int] = {}
    if "soundstream" in files:
        codec = own = from_audiolm_pytorch(files["soundstream"], **facts.soundstream)
        rates = {"codec_target_sample_hz": own.sample_rate, "codec_downsample_factor": own.hop}
    model = from_soundstorm_pytorch(
        state,
        soundstream=facts.soundstream,
        spear_tts_text_to_semantic=facts.text,
        **rates | facts.soundstorm,
    )
    text = model.text_to_semantic
    codec = model.soundstream if codec is None else codec
    if codec is None:
        raise ExportError(f"{files['soundstorm']} has no codec inside; give the file of its SoundStream, too")
    if not isinstance(codec, SoundStream):
        raise ExportError(f"the codec is a {type(codec).__name__}, expected a SoundStream")
    if "text" in files:
        text = from_spear_tts_pytorch(files["text"], **facts.text)
    try:
        decode = replace(model.decode_options(), **_options(facts.decode))
    except TypeError as error:
        raise ExportError(f"--config: decode: {error}") from error
    return Parts(
        facts.name,
        codec.eval(),
        _alone(model),
        codec.sample_rate // codec.hop,
        decode,
        text,
        tokenizer=None if text is None else _tokenizer(text, facts, config),
    )


def _alone(model: SoundStorm) -> SoundStorm:
    """Return SoundStorm without attached models; an unconditional one gets a single silent token."""
    alone = model.standalone()
    if alone.condition is None:
        alone.condition = SemanticCondition(1, alone.net.dim)
        alone.condition.embedding.weight.data.zero_()
    return alone.eval()


def _tokenizer(text: TextToSemantic, facts: ThirdPartyConfig, config: Path | None) -> str:
    """Give the tokenizer of a text stage as JSON of the library tokenizers."""
    if text.config.use_openai_tokenizer:
        return str(clip_tokenizer().to_str())
    if facts.tokenizer is None or config is None:
        raise ExportError(
            "the text stage reads ids, and nothing tells which tokenizer makes them; give "
            "use_openai_tokenizer = true in [text] of --config for CLIP's, or tokenizer = 'tokenizer.json' "
            "at its top for a file of the library tokenizers"
        )
    path = config.parent / facts.tokenizer
    if not path.is_file():
        raise ExportError(f"tokenizer is {facts.tokenizer!r}, but there is no file {path}; check the path")
    Tokens(path, text.config.text_tokens, None)  # it is what the device can read, or says what is wrong
    return path.read_text(encoding="utf-8")


def _options(table: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in table.items()}


def read_facts(config: Path | None) -> ThirdPartyConfig:
    """Read what `--config` says. Raises `ExportError` for a file that is none, naming its unknown keys."""
    if config is None:
        return ThirdPartyConfig()
    try:
        table = tomllib.loads(config.read_text(encoding="utf-8"))
        return from_dict(ThirdPartyConfig, table, str(config))
    except (OSError, UnicodeDecodeError) as error:
        raise ExportError(f"cannot read {config} ({error}); check the path") from error
    except tomllib.TOMLDecodeError as error:
        raise ExportError(f"{config} is not TOML: {error}") from error
    except ConfigError as error:
        raise ExportError(str(error)) from error
