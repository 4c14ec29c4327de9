"""The checkpoint: a whole voice in one file, which is read without executing code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from soundstorm_runtime.bundle.prompts import Prompt
from soundstorm_runtime.decoding.maskgit import DecodeOptions
from soundstorm_runtime.errors import BundleError
from soundstorm_runtime.support.files import reason
from soundstorm_runtime.support.serde import check_name, check_printable
from soundstorm_runtime.text.lexicon import Lexicon
from soundstorm_runtime.text.lexicon_file import lexicon_from_bytes

from .codec.interface import Codec
from .codec.soundstream import SoundStream, SoundStreamConfig
from .codec.spectral_codec import SpectralCodec, SpectralCodecConfig
from .errors import CheckpointError, ConfigError
from .soundstorm.model import SoundStorm, SoundStormConfig
from .support.config import from_dict, to_dict
from .support.tensor_files import check_content, read_tensors, save_tensors, unwrap_weights
from .text_to_semantic.autoregressive import TextToSemantic, TextToSemanticConfig
from .text_to_semantic.parallel import ParallelTextConfig, ParallelTextToSemantic
from .units.semantic_units import SemanticTokenizer, UnitsConfig, build_units

KIND = "voice"
PARTS = ("codec", "units", "soundstorm", "text")


@dataclass(frozen=True)
class VoiceConfig:
    """The configuration of a voice.

    Args:
        name: of the voice.
        codec, units, soundstorm, text: of its networks.
        decode: the recommended decoding options.
        speaker: whose prompt is the default, if any.
        notice: whose speech it was trained on, and under which licence.

    Raises:
        ConfigError: the networks do not fit each other.
    """

    name: str
    codec: SpectralCodecConfig | SoundStreamConfig
    units: UnitsConfig
    soundstorm: SoundStormConfig
    text: ParallelTextConfig | TextToSemanticConfig
    decode: DecodeOptions
    speaker: str | None = None
    notice: str = ""

    def __post_init__(self) -> None:
        codec, units, own = self.codec, self.units, self.soundstorm
        groups = codec.rq_groups if isinstance(codec, SoundStreamConfig) else 1
        if (codec.levels, codec.codebook_size) != (own.levels, own.codebook_size):
            raise ConfigError(
                f"codec has {codec.levels} levels of {codec.codebook_size} codes, soundstorm {own.levels} of "
                f"{own.codebook_size}; they must be equal"
            )
        if groups != own.groups:
            raise ConfigError(f"codec has {groups} groups, soundstorm {own.groups}; they must be equal")
        if not units.vocabulary == own.vocabulary == self.text.vocabulary:
            raise ConfigError(
                f"units has {units.vocabulary} semantic tokens, soundstorm {own.vocabulary}, text "
                f"{self.text.vocabulary}; they must be equal"
            )
        if codec.sample_rate % (codec.hop * units.rate):
            raise ConfigError(
                f"{units.rate} semantic tokens a second at {codec.sample_rate} Hz with hop {codec.hop}, "
                "expected a whole number of frames per token"
            )
        check_decode(self.decode, codec)
        for what in ("name", "notice"):
            check_printable(what, getattr(self, what))


@dataclass(frozen=True)
class VoiceModels:
    """The networks of a voice, ready to run, with the lexicon of its phones, and prompts by name."""

    config: VoiceConfig
    codec: Codec
    units: SemanticTokenizer
    soundstorm: SoundStorm
    text: ParallelTextToSemantic | TextToSemantic
    lexicon: Lexicon
    prompts: Mapping[str, Prompt] = field(default_factory=dict)

    def __post_init__(self) -> None:
        speaker = self.config.speaker
        if speaker is not None and speaker not in self.prompts:
            names = ", ".join(self.prompts) or "none"
            raise CheckpointError(f"speaker is {speaker!r}, expected the name of a prompt: {names}")


def check_decode(options: DecodeOptions, codec: SpectralCodecConfig | SoundStreamConfig) -> None:
    """Raise `ConfigError` or `OptionError` where codes of a codec cannot be decoded so."""
    options.check_levels(codec.levels)
    if options.expected and not isinstance(codec, SpectralCodecConfig):
        raise ConfigError("decode.expected is true, expected false with this codec; the kind spectral has it")


def build_codec(config: SpectralCodecConfig | SoundStreamConfig) -> Codec:
    """Return an untrained codec of the kind of the configuration, without discriminators."""
    if isinstance(config, SoundStreamConfig):
        return SoundStream(replace(config, discriminators=False))
    return SpectralCodec(config)


def build_text(config: ParallelTextConfig | TextToSemanticConfig) -> ParallelTextToSemantic | TextToSemantic:
    """Return an untrained text stage of the kind of the configuration."""
    return (
        ParallelTextToSemantic(config) if isinstance(config, ParallelTextConfig) else TextToSemantic(config)
    )


def build_voice(
    config: VoiceConfig, lexicon: Lexicon, prompts: Mapping[str, Prompt] | None = None
) -> VoiceModels:
    """Return an untrained voice, in evaluation mode."""
    return VoiceModels(
        config,
        build_codec(config.codec).eval(),
        build_units(config.units).eval(),
        SoundStorm.from_config(config.soundstorm).eval(),
        build_text(config.text).eval(),
        lexicon,
        prompts or {},
    )


def save_voice(path: str | Path, voice: VoiceModels, precision: Literal["fp16", "fp32"] = "fp16") -> None:
    """Write a voice to one file.

    Args:
        path: of the file.
        voice: to write.
        precision: of the weights in the file; computations are in single precision in any case.
    """
    dtype = torch.float16 if precision == "fp16" else torch.float32
    content = {part: _cast(getattr(voice, part).state_dict(), dtype) for part in PARTS}
    lexicon = torch.frombuffer(bytearray(voice.lexicon.to_bytes()), dtype=torch.uint8)
    prompts = {
        name: {"codes": _small(p.codes), "semantic_tokens": _small(p.semantic_tokens)}
        for name, p in voice.prompts.items()
    }
    whole = {"config": to_dict(voice.config), **content, "lexicon": lexicon, "prompts": prompts}
    save_tensors(Path(path), KIND, whole)


def load_voice(path: str | Path) -> VoiceModels:
    """Read a voice, on the CPU, in single precision and evaluation mode.

    Raises:
        CheckpointError: the file is missing, truncated, of another version or origin, or its configuration
            and weights do not fit each other.
    """
    path = Path(path)
    return voice_from_content(read_tensors(path, KIND), path)


def voice_from_content(content: Any, path: Path) -> VoiceModels:
    """Build a voice from what `read_tensors` read from `path`, which errors name, as `load_voice` does."""
    content = check_content(content, path, KIND, ("config", *PARTS, "lexicon"))
    try:
        config = from_dict(VoiceConfig, content["config"], "config")
        lexicon = _lexicon(content["lexicon"], config.text.symbols)
        _check_shapes(config, content)
        voice = build_voice(config, lexicon, _prompts(content.get("prompts", {})))
    except (ConfigError, BundleError, CheckpointError, RuntimeError) as error:
        # PyTorch raises RuntimeError for sizes beyond the memory.
        raise CheckpointError(f"{path} cannot be used ({error})") from error
    for part in PARTS:
        _load_weights(getattr(voice, part), content[part], f"{path}: the weights of {part!r}")
    return voice


def _check_shapes(config: VoiceConfig, content: Mapping[str, Any]) -> None:
    """Raise `CheckpointError` where weights do not have the shapes of the configuration.

    The networks for that are built without memory: a configuration may ask for any size.
    """
    with torch.device("meta"):
        networks = {
            "codec": build_codec(config.codec),
            "units": build_units(config.units),
            "soundstorm": SoundStorm.from_config(config.soundstorm),
            "text": build_text(config.text),
        }
    for part, network in networks.items():
        found, expected = unwrap_weights(content[part]), network.state_dict()
        if not isinstance(found, Mapping):
            continue  # which is reported where they are loaded
        for name in [*found, *expected]:
            if _shape(found.get(name)) != _shape(expected.get(name)):
                raise CheckpointError(
                    f"the weights of {part!r} do not fit its configuration ({name} has shape "
                    f"{_shape(found.get(name))}, expected {_shape(expected.get(name))})"
                )


def _shape(weight: object) -> list[int] | None:
    return list(weight.shape) if isinstance(weight, Tensor) else None


def _lexicon(content: object, symbols: tuple[str, ...]) -> Lexicon:
    if not isinstance(content, Tensor):
        raise CheckpointError(f"the lexicon is of type {type(content).__name__}, expected its bytes")
    lexicon = lexicon_from_bytes(content.numpy().tobytes(), "the lexicon")
    if unknown := sorted(set(lexicon.symbols) - set(symbols)):
        raise CheckpointError(f"the lexicon has the phone {unknown[0]!r}, which text.symbols lacks")
    return lexicon


def _prompts(content: object) -> dict[str, Prompt]:
    try:
        prompts = {
            str(name): Prompt(
                arrays["codes"].to(torch.int64).numpy(), arrays["semantic_tokens"].to(torch.int64).numpy()
            )
            for name, arrays in dict(content).items()  # type: ignore[call-overload]
        }
        for name, prompt in prompts.items():
            check_name("a prompt", name)  # it becomes that of a file
            if prompt.codes.ndim != 2 or prompt.semantic_tokens.ndim != 1 or not prompt.codes.size:
                raise ValueError(f"prompt {name!r} has codes of shape {list(prompt.codes.shape)}")
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise CheckpointError(
            f"the prompts are not codes and tokens by name ({reason(error)}); the file was edited"
        ) from error
    return prompts


def _load_weights(model: nn.Module, weights: object, where: str) -> None:
    weights = unwrap_weights(weights)
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise CheckpointError(f"{where} are not tensors by name; the file was edited")
    if bad := [name for name, tensor in weights.items() if not torch.isfinite(tensor).all()]:
        raise CheckpointError(
            f"{where} are not finite in {bad[0]!r}; the file is damaged, or training diverged"
        )
    try:
        model.load_state_dict(_cast(weights, torch.float32))
    except RuntimeError as error:
        raise CheckpointError(f"{where} do not fit its configuration ({reason(error)[:200]})") from error


def _cast(weights: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    limit = torch.finfo(dtype).max
    return {
        name: t.to(dtype) if t.is_floating_point() and t.abs().max() < limit else t
        for name, t in weights.items()
    }


def _small(ids: np.ndarray) -> Tensor:
    return torch.from_numpy(ids).to(torch.int32)
