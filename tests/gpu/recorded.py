"""Hold stand-ins of NVIDIA's packages to what was recorded of the real ones (`api.json`, `record.py`).

A member that the version does not have, an argument that it does not take, or a property that cannot be set
raises what Python raises for it. What a member does is the stand-in's business.
"""

from __future__ import annotations

import enum
import json
from pathlib import Path
from typing import Any

API = json.loads((Path(__file__).parent / "api.json").read_text(encoding="utf-8"))
TENSORRT, CUDA = tuple(API["tensorrt"]), tuple(API["cuda"])
(RTX,) = API["tensorrt_rtx"]  # the version of TensorRT for RTX
_VERSIONS = API["tensorrt"] | API["tensorrt_rtx"]


def check_arguments(
    name: str, overloads: list[list[str]], arguments: tuple[Any, ...], named: dict[str, Any]
) -> None:
    """Raise `TypeError` unless one of the overloads takes the arguments."""
    for parameters in overloads:
        names = [parameter.removesuffix("=") for parameter in parameters]
        free = names[len(arguments) :]
        needed = {p for p in parameters[len(arguments) :] if not p.endswith("=")}
        if len(arguments) <= len(names) and needed <= named.keys() <= set(free):
            return
    raise TypeError(f"{name} takes {overloads}, was given {arguments} and {named}")


def strict(version: str, cls: type) -> type:
    """Derive from a stand-in a class that has only what its namesake has in a version of TensorRT."""
    members = _VERSIONS[version]["classes"][cls.__name__]

    def get(self: Any, name: str) -> Any:
        if name.startswith("_"):
            return object.__getattribute__(self, name)
        if name not in members:
            raise AttributeError(f"TensorRT {version}: {cls.__name__} has no {name}")
        value = object.__getattribute__(self, name)
        if isinstance(members[name], str) or not callable(value):
            return value

        def call(*arguments: Any, **named: Any) -> Any:
            check_arguments(f"{cls.__name__}.{name}", members[name], arguments, named)
            return value(*arguments, **named)

        return call

    def put(self: Any, name: str, value: Any) -> None:
        if not name.startswith("_") and members.get(name) != "write":
            raise AttributeError(f"TensorRT {version}: {cls.__name__}.{name} cannot be set")
        cls.__setattr__(self, name, value)

    return type(cls.__name__, (cls,), {"__getattribute__": get, "__setattr__": put})


def enums(version: str) -> dict[str, type[enum.IntEnum]]:
    """Make the enumerations of a version; their values are their places, which nothing may rely on."""
    return {
        name: enum.IntEnum(name, [(m, i) for i, m in enumerate(members)])
        for name, members in _VERSIONS[version]["enums"].items()
    }
