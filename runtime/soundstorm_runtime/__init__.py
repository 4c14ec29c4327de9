"""Speak with an exported SoundStorm voice, without PyTorch.

from soundstorm_runtime import Voice

voice = Voice.load("voice/")
audio = voice.speak("Hello there.", seed=0)  # float32 [samples] at voice.sample_rate
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .decoding.maskgit import DecodeOptions
    from .errors import SoundStormError
    from .synthesis.dialogue.turns import Turn
    from .synthesis.options import SynthesisOptions
    from .text.ssml import read_ssml
    from .voice import Voice

    __version__: str

__all__ = [
    "DecodeOptions",
    "SoundStormError",
    "SynthesisOptions",
    "Turn",
    "Voice",
    "__version__",
    "read_ssml",
]

_HOMES = {
    "Voice": "voice",
    "SynthesisOptions": "synthesis.options",
    "Turn": "synthesis.dialogue.turns",
    "DecodeOptions": "decoding.maskgit",
    "SoundStormError": "errors",
    "read_ssml": "text.ssml",
}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use, so that one part of the package does not import the others."""
    if name == "__version__":
        from .support.version import package_version

        return package_version()
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
