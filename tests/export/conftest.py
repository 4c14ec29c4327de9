"""What the tests of the export share: a traced step, and a bundle with every precision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch

from soundstorm_edge.checkpoint import VoiceModels
from soundstorm_edge.nn.conformer import ConformerConfig
from soundstorm_edge.soundstorm.model import SoundStorm, SoundStormConfig
from soundstorm_export.bundle_writer import export_bundle
from soundstorm_export.tracing.networks import Network
from soundstorm_export.tracing.trace import trace_graph
from soundstorm_runtime.bundle.manifest import Precision
from soundstorm_runtime.bundle.reader import Bundle
from soundstorm_runtime.engines.graphs import step_graph
from soundstorm_runtime.engines.onnx.onnx_engine import OnnxEngine

LEVELS, CODES, TOKENS = 2, 64, 12
DEPTH = 2

Run = Callable[[ir.Model, dict[str, np.ndarray]], dict[str, np.ndarray]]


@pytest.fixture(scope="session")
def full_bundle(tiny_voice: VoiceModels, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The tiny voice in every precision."""
    folder = tmp_path_factory.mktemp("full") / "voice"
    return export_bundle(tiny_voice, folder, precisions=get_args(Precision))


@pytest.fixture(scope="session")
def block_causal(tiny_voice: VoiceModels) -> SoundStorm:
    """A block-causal network for the tiny voice, of two blocks, so that values are mixed."""
    torch.manual_seed(0)
    config = tiny_voice.config.soundstorm
    conformer = replace(config.conformer, depth=2, block_causal=True)
    model = SoundStorm.from_config(replace(config, conformer=conformer)).eval()
    model.net.heads.classifier.data *= 5  # as decided as a trained network
    return model


@pytest.fixture(scope="session")
def network() -> Network:
    """The step of a model of two blocks, so that values are mixed."""
    torch.manual_seed(0)
    conformer = ConformerConfig(
        dim=32, depth=DEPTH, heads=2, dim_head=16, conv_kernel_size=5, num_residual_streams=1
    )
    config = SoundStormConfig(levels=LEVELS, codebook_size=CODES, vocabulary=TOKENS, conformer=conformer)
    model = SoundStorm.from_config(config).eval()
    return Network(step_graph(LEVELS), model, model.step)


@pytest.fixture(scope="session")
def _traced(network: Network) -> bytes:
    model = trace_graph(network, step_feeds((37, 20)))
    return ir.to_proto(model).SerializeToString()


@pytest.fixture
def traced(_traced: bytes) -> ir.Model:
    """What the tracer made of it, to be changed at will."""
    return ir.from_proto(onnx.ModelProto.FromString(_traced))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a step graph through the runtime."""

    def run(model: ir.Model, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        ir.save(model, tmp_path / "step.onnx")
        return OnnxEngine(step_graph(LEVELS), tmp_path / "step.onnx", provider="cpu", threads=1).run(feeds)

    return run


def step_feeds(lengths: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Draw the inputs of a step that fills level 1; the longest sample comes first."""
    rng = np.random.default_rng(3)
    shape = (len(lengths), lengths[0])
    codes = rng.integers(CODES, size=(*shape, LEVELS))
    codes[..., 1] = CODES
    return {
        "codes": codes,
        "level": np.array([1]),
        "semantic_tokens": rng.integers(TOKENS, size=shape),
        "lengths": np.array(lengths),
        "uniform": rng.random(shape, dtype=np.float32),
        "temperature": np.ones(1, np.float32),
    }
