"""A machine with a GPU, as far as NVIDIA's Python packages would tell, and bundles with engines for it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from soundstorm_export.tensorrt.engine_builder import BuildOptions, build_engines
from soundstorm_runtime.bundle.reader import Bundle, read_bundle
from soundstorm_runtime.engines.graphs import Axis
from soundstorm_runtime.engines.tensorrt.library import PACKAGES, RTX
from tests.gpu.fake_cuda import FakeCuda
from tests.gpu.fake_tensorrt import fake_tensorrt
from tests.runtime.conftest import make_bundle  # noqa: F401 - a fixture

SMALL = BuildOptions(frames=Axis(1, 100, 300), batch=Axis(1, 1, 3))


@pytest.fixture
def plug_in(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Put a card and NVIDIA's packages into the machine; gives `tensorrt`, and `cuda` as its attribute."""

    def plug(
        version: str = "11.4.0.106",
        cuda_version: str = "13.5.0",
        *,
        module: str | None = None,
        refuses: dict[str, Any] | None = None,
        **card: Any,
    ) -> Any:
        cuda = FakeCuda(cuda_version, **card)
        new = cuda_version >= "13"
        monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", cuda if new else None)
        monkeypatch.setitem(sys.modules, "cuda.cudart", None if new else cuda)
        made = fake_tensorrt(version, cuda, refuses=refuses)
        made.cuda, made.__name__ = cuda, module or made.__name__
        for name in (*PACKAGES, *RTX):
            monkeypatch.setitem(sys.modules, name, made if name == made.__name__ else None)
        return made

    return plug


@pytest.fixture
def with_engines(make_bundle: Callable[..., Path], plug_in: Callable[..., Any]) -> Callable[..., Bundle]:  # noqa: F811
    """Make a bundle with engines for the plugged-in machine."""

    def build(
        kind: str = "parallel", precision: Any = "fp32", options: BuildOptions = SMALL, **machine: Any
    ) -> Bundle:
        plug_in(**machine)
        bundle = read_bundle(make_bundle(kind, variants=[] if precision == "fp32" else [precision]))
        build_engines(bundle, precision, options)
        return bundle

    return build
