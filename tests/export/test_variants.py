"""Which graphs each precision converts."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from soundstorm_edge.checkpoint import load_voice
from soundstorm_export.tracing.networks import networks
from soundstorm_export.variants import write_variant
from soundstorm_export.verify.parity import BOUNDS
from soundstorm_export.voice_parts import Parts
from soundstorm_runtime.bundle.reader import read_bundle

GOLDEN = Path(__file__).parents[1] / "golden"


def test_bf16_converts_the_decoder_of_soundstream(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN / "soundstream", tmp_path / "voice")
    bundle = read_bundle(tmp_path / "voice")
    parts = Parts.of(load_voice(GOLDEN / "soundstream.pt"))
    pairs = networks(parts, bundle.manifest.expected_graphs())
    with torch.inference_mode():
        variant = write_variant("bf16", bundle, pairs, parts, lambda line: None)
    assert variant.graphs.keys() == pairs.keys() >= {"decoder", "decoder_stream"}
    assert 0 < variant.parity["decoder"].largest_error <= BOUNDS["bf16"].error
