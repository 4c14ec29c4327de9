"""The reference packages, imported so that the tests can compare with them.

audiolm-pytorch requires packages that no longer build, and others that these comparisons never call.
Modules that are absent are stood in for by empty ones, so that what is compared with is the reference's
own code. Import this module before any of the reference packages.
"""

from __future__ import annotations

import importlib.machinery
import sys
import types
from typing import Any

ABSENT = (
    "torchaudio.functional",
    "torchaudio.transforms",
    "fairseq",
    "encodec.utils",
    "torchvision.transforms",
    "wandb",
    "sentencepiece",
)


class _Absent(types.ModuleType):
    __path__: list[str] = []  # noqa: RUF012 - a package, to the import system

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def _stand_in(module: str) -> None:
    parent = None
    for part in module.split("."):
        name = f"{parent.__name__}.{part}" if parent else part
        try:
            found = importlib.import_module(name)
        except ImportError:
            found = _Absent(name)
            found.__spec__ = importlib.machinery.ModuleSpec(name, None)
            sys.modules[name] = found
            if parent is not None:
                setattr(parent, part, found)
        parent = found


# transformers looks for torchvision by itself: it must have looked before the stand-in is there.
from transformers import HubertModel, T5EncoderModel  # noqa: E402, F401

for absent in ABSENT:
    _stand_in(absent)
