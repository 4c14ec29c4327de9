"""What the tests with NVIDIA's real builder share: the library, or the reason to skip, and exported
graphs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from soundstorm_export.tracing.networks import Network
from soundstorm_runtime.bundle.manifest import Precision
from soundstorm_runtime.engines.graphs import Graph

from .builder import Built, Rtx, absent, rtx
from .voices import block_causal_voice, project_profiles, soundstream_voice, spectral_voice, traced, write

Build = Callable[..., Built]


@pytest.fixture(scope="session")
def library() -> Rtx:
    """NVIDIA's builder and parser; the test is skipped, with the reason, where they are not at hand."""
    if reason := absent():
        pytest.skip(reason)
    return rtx()


@pytest.fixture(scope="session")
def exported() -> Callable[[str, str], tuple[Graph, bytes]]:
    """Export a graph of a voice in fp32, each once: `exported("spectral", "step")`."""
    makers = {
        "spectral": spectral_voice, "soundstream": soundstream_voice, "block-causal": block_causal_voice,
    }  # fmt: skip
    voices: dict[str, tuple[object, dict[str, Network]]] = {}
    models: dict[tuple[str, str], bytes] = {}

    def export(voice: str, name: str) -> tuple[Graph, bytes]:
        if voice not in voices:
            voices[voice] = makers[voice]()
        parts, networks = voices[voice]
        if (voice, name) not in models:
            models[voice, name] = traced(networks[name], parts)
        return networks[name].graph, models[voice, name]

    return export


@pytest.fixture
def build(library: Rtx, exported: Callable[[str, str], tuple[Graph, bytes]], tmp_path: Path) -> Build:
    """Build a graph of a voice in a precision with the project's profiles: `build("spectral", "step",
    "fp16")`."""

    def run(
        voice: str, name: str, precision: Precision, capabilities: tuple[int, ...] = (86, 89, 120)
    ) -> Built:
        graph, model = exported(voice, name)
        file = write(model, precision, tmp_path / f"{name}.onnx")
        return library.build(file, project_profiles(graph), capabilities)

    return run
