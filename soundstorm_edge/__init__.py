"""Train a SoundStorm voice in PyTorch.

The names below are imported when they are first asked for, so that `import soundstorm_edge` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .conformer import Conformer
    from .conformer_wrapper import ConformerWrapper
    from .soundstorm import SoundStorm
    from .soundstream import AudioLMSoundStream, MusicLMSoundStream, SoundStream
    from .text_to_semantic import TextToSemantic
    from .training.soundstream import SoundStreamTrainer
    from .training.trainer import SoundStormTrainer

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
    "AudioLMSoundStream": "soundstream",
    "Conformer": "conformer",
    "ConformerWrapper": "conformer_wrapper",
    "MusicLMSoundStream": "soundstream",
    "SoundStorm": "soundstorm",
    "SoundStormTrainer": "training.trainer",
    "SoundStream": "soundstream",
    "SoundStreamTrainer": "training.soundstream",
    "TextToSemantic": "text_to_semantic",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
