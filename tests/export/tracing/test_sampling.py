"""Codes are drawn as the softmax says: ten thousand draws, by the exported graph."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import scipy.stats
import torch

from soundstorm_edge.soundstorm.model import SoundStorm
from soundstorm_export.rewrite.simplify import simplify
from soundstorm_export.tracing.networks import Network
from soundstorm_runtime.engines.graphs import step_graph
from soundstorm_runtime.engines.onnx.onnx_engine import OnnxEngine
from tests.export.conftest import CODES, LEVELS, step_feeds

FRAMES, BATCH, RUNS = 10, 16, 63
FEWEST = 5  # expected draws of a cell, for the statistic to follow its distribution


@pytest.fixture(scope="module")
def drawn(network: Network, _traced: bytes, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """Draw all frames of one sample over and over, at temperature 0.25; int64 `[draws, frames]`."""
    path = tmp_path_factory.mktemp("sampling") / "step.onnx"
    ir.save(simplify(ir.from_proto(onnx.ModelProto.FromString(_traced))), path)
    engine = OnnxEngine(step_graph(LEVELS), path, provider="cpu", threads=1)
    rng = np.random.default_rng(0)
    feeds = {name: np.repeat(array, BATCH, axis=0) if len(array) == 1 and array.ndim > 1 else array
             for name, array in step_feeds((FRAMES,)).items()}  # fmt: skip
    feeds |= {"lengths": np.full(BATCH, FRAMES), "temperature": np.full(1, 0.25, np.float32)}
    draws = [
        engine.run({**feeds, "uniform": rng.random((BATCH, FRAMES), dtype=np.float32)})["ids"]
        for _ in range(RUNS)
    ]
    return np.concatenate(draws)


def p_value(drawn: np.ndarray, probabilities: np.ndarray) -> float:
    """Pearson's chi-square over all frames; rare codes share a cell."""
    statistic, freedom = 0.0, 0
    for frame, shares in enumerate(probabilities):
        counts, expected = np.bincount(drawn[:, frame], minlength=CODES), shares * len(drawn)
        rare = expected < FEWEST
        counts = np.append(counts[~rare], counts[rare].sum())
        expected = np.append(expected[~rare], expected[rare].sum())
        kept = expected > 0
        statistic += float((np.square(counts - expected)[kept] / expected[kept]).sum())
        freedom += int(kept.sum()) - 1
    return float(scipy.stats.chi2.sf(statistic, freedom))


def probabilities(network: Network, temperature: float) -> np.ndarray:
    feeds = {name: torch.from_numpy(array) for name, array in step_feeds((FRAMES,)).items()}
    model = network.module
    assert isinstance(model, SoundStorm)
    with torch.no_grad():
        logits = model.logits(*(feeds[name] for name in ("codes", "level", "semantic_tokens", "lengths")))
    return (logits[0].double() / temperature).softmax(dim=-1).numpy()


def test_draws_follow_the_softmax(drawn: np.ndarray, network: Network) -> None:
    assert drawn.size >= 10_000
    assert p_value(drawn, probabilities(network, 0.25)) > 1e-3


def test_the_test_would_notice_another_temperature(drawn: np.ndarray, network: Network) -> None:
    assert p_value(drawn, probabilities(network, 0.3)) < 1e-9
