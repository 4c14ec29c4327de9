"""Checkpoints of other packages, and what their files do not say."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from soundstorm_edge.checkpoint import load_voice
from soundstorm_edge.config import from_plain
from soundstorm_edge.errors import CheckpointError, RecipeError
from soundstorm_edge.files import FORMAT, read_tensors
from soundstorm_edge.generation import decode_options
from soundstorm_edge.interop import from_audiolm_pytorch, from_soundstorm_pytorch
from soundstorm_edge.semantic_condition import SemanticCondition
from soundstorm_edge.soundstorm import SoundStorm
from soundstorm_edge.soundstream import SoundStream

from .errors import ExportError
from .parts import Parts

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SOUNDSTORM = "net.code_embeds.weight"  # a weight that every SoundStorm of soundstorm-pytorch has


@dataclass(frozen=True)
class Facts:
    """What `--config` says: a TOML file.

    name: of the voice. soundstorm, soundstream: facts that a file does not carry, by the names that
    `soundstorm_edge.interop` knows; `path` in the latter is the codec's file, where it is not inside
    SoundStorm's. decode: fields of `DecodeOptions` in the place of the model's own.
    """

    name: str = "voice"
    soundstorm: dict[str, Any] = field(default_factory=dict)
    soundstream: dict[str, Any] = field(default_factory=dict)
    decode: dict[str, Any] = field(default_factory=dict)


def read_parts(path: Path, config: Path | None) -> Parts:
    """Read a checkpoint of ours, or a SoundStorm of soundstorm-pytorch with its codec.

    Raises `CheckpointError` or `ExportError`, naming what is missing or in the way.
    """
    content = read_tensors(path, "voice")
    if isinstance(content, Mapping) and content.get("format") == FORMAT:
        if config is not None:
            raise ExportError(f"{path} is a checkpoint of soundstorm-edge and says all; leave --config out")
        return Parts.of(load_voice(path))
    state = content.get("model", content) if isinstance(content, Mapping) else {}
    if not isinstance(state, Mapping) or SOUNDSTORM not in state:
        raise CheckpointError(
            f"{path} was not written by soundstorm-edge, and is no SoundStorm of soundstorm-pytorch; "
            "expected a voice (the file of a SoundStream goes into --config as soundstream.path)"
        )
    return _foreign(state, _read_facts(config), path)


def _foreign(state: Mapping[str, Any], facts: Facts, path: Path) -> Parts:
    of_codec = {name: value for name, value in facts.soundstream.items() if name != "path"}
    inside = any(name.startswith("soundstream.") for name in state)
    model = from_soundstorm_pytorch(state, soundstream=of_codec if inside else None, **facts.soundstorm)
    codec = model.soundstream
    if codec is None:
        if "path" not in facts.soundstream:
            raise ExportError(
                f"{path} has no codec inside; name its file in --config: [soundstream] path = '...'"
            )
        codec = from_audiolm_pytorch(facts.soundstream["path"], **of_codec)
    if not isinstance(codec, SoundStream):
        raise ExportError(f"the codec is a {type(codec).__name__}, expected a SoundStream")
    try:
        decode = replace(decode_options(model, 1.0, 1.0, 1, None), **_options(facts.decode))
    except TypeError as error:
        raise ExportError(f"--config: decode: {error}") from error
    rate = codec.sample_rate // codec.hop
    return Parts(facts.name, codec.eval(), _alone(model), rate, decode)


def _alone(model: SoundStorm) -> SoundStorm:
    """Give SoundStorm without its companions; one that knows nothing of what is said gets one mute token."""
    alone = model.alone()
    if alone.condition is None:
        alone.condition = SemanticCondition(1, alone.net.dim)
        alone.condition.embedding.weight.data.zero_()
    return alone.eval()


def _options(table: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in table.items()}


def _read_facts(config: Path | None) -> Facts:
    if config is None:
        return Facts()
    try:
        table = tomllib.loads(config.read_text(encoding="utf-8"))
        return from_plain(Facts, table, str(config))
    except (OSError, UnicodeDecodeError) as error:
        raise ExportError(f"cannot read {config} ({error}); check the path") from error
    except tomllib.TOMLDecodeError as error:
        raise ExportError(f"{config} is not TOML: {error}") from error
    except RecipeError as error:
        raise ExportError(str(error)) from error
