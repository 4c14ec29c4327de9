"""Train a SoundStorm voice in PyTorch.

The names below are imported when they are first asked for, so that `import soundstorm_edge` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .codec.soundstream import AudioLMSoundStream, MusicLMSoundStream, SoundStream
    from .nn.conformer import Conformer
    from .soundstorm.conformer_wrapper import ConformerWrapper
    from .soundstorm.model import SoundStorm
    from .text_to_semantic.autoregressive import TextToSemantic
    from .training.compat.soundstorm_trainer import SoundStormTrainer
    from .training.compat.soundstream_trainer import SoundStreamTrainer

__all__ = [
    "AudioLMSoundStream",
    "Conformer",
    "ConformerWrapper",
    "MusicLMSoundStream",
    "SoundStorm",
    "SoundStormTrainer",
    "SoundStream",
    "SoundStreamTrainer",
    "TextToSemantic",
]

_MODULES = {
    "AudioLMSoundStream": "codec.soundstream",
    "Conformer": "nn.conformer",
    "ConformerWrapper": "soundstorm.conformer_wrapper",
    "MusicLMSoundStream": "codec.soundstream",
    "SoundStorm": "soundstorm.model",
    "SoundStormTrainer": "training.compat.soundstorm_trainer",
    "SoundStream": "codec.soundstream",
    "SoundStreamTrainer": "training.compat.soundstream_trainer",
    "TextToSemantic": "text_to_semantic.autoregressive",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
