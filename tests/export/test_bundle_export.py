"""Exporting a whole voice: every kind of codec and text stage, proven and written whole."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from soundstorm_edge.checkpoint import VoiceModels, build_voice
from soundstorm_edge.engine import TorchEngine
from soundstorm_edge.soundstream import SoundStreamConfig
from soundstorm_edge.text_to_semantic import TextToSemanticConfig
from soundstorm_export import bundle as bundle_module
from soundstorm_export.bundle import export_bundle
from soundstorm_export.errors import ExportError
from soundstorm_runtime import Voice
from soundstorm_runtime.bundle import Bundle, read_bundle
from soundstorm_runtime.decode import decode
from soundstorm_runtime.onnx_engine import OnnxEngine


@pytest.fixture(scope="module")
def other_voice(tiny_voice: VoiceModels) -> VoiceModels:
    """The other kind of everything: convolutional codec, autoregressive text stage."""
    torch.manual_seed(1)
    codec = SoundStreamConfig(
        channels=4, strides=(4, 8, 10), channel_multipliers=(1, 2, 2), dim=8, levels=2, codebook_size=16
    )
    text = TextToSemanticConfig(
        symbols=tiny_voice.lexicon.symbols, vocabulary=12,
        dim=16, source_depth=1, target_depth=1, heads=2, dim_head=8,
    )  # fmt: skip
    return build_voice(dataclasses.replace(tiny_voice.config, codec=codec, text=text), tiny_voice.lexicon)


@pytest.fixture(scope="module")
def other_bundle(other_voice: VoiceModels, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return export_bundle(other_voice, tmp_path_factory.mktemp("other") / "voice")


def test_graphs_are_proven(tiny_bundle: Path, other_bundle: Bundle) -> None:
    for bundle in (read_bundle(tiny_bundle), other_bundle):
        assert len(bundle.manifest.parity) == 4
        for facts in bundle.manifest.parity.values():
            assert facts.largest_error < 1e-4
            assert facts.agreement > 0.995
            assert {case.get("batch") for case in facts.cases} == {1, 3}
    assert "text_step" in other_bundle.manifest.graphs
    assert other_bundle.manifest.audio.codec == "soundstream"


@pytest.mark.parametrize("which", ["tiny", "other"])
def test_the_bundle_speaks(which: str, tiny_bundle: Path, other_bundle: Bundle) -> None:
    voice = Voice.load(tiny_bundle if which == "tiny" else other_bundle.path, provider="cpu", threads=1)
    audio = voice.speak("Good morning.", seed=3)
    assert audio.dtype == np.float32
    assert np.isfinite(audio).all()
    assert 0 < len(audio) < 20 * voice.sample_rate
    np.testing.assert_array_equal(audio, voice.speak("Good morning.", seed=3))


def test_device_and_training_decode_the_same_codes(tiny_voice: VoiceModels, tiny_bundle: Path) -> None:
    """The same loop and random numbers around PyTorch and ONNX Runtime."""
    bundle = read_bundle(tiny_bundle)
    graph = bundle.manifest.expected_graphs()["step"]
    tokens = np.random.default_rng(0).integers(12, size=(2, 80))
    codes = [
        decode(engine, tokens, np.array([80, 51]), 2, 16, bundle.manifest.decode, np.random.default_rng(5))
        for engine in (
            TorchEngine(graph, tiny_voice.soundstorm.step),
            OnnxEngine(graph, bundle.graph_file("step"), provider="cpu"),
        )
    ]
    assert (codes[0] == codes[1]).mean() > 0.99


def test_the_same_voice_gives_the_same_bytes(
    tiny_voice: VoiceModels, tiny_bundle: Path, tmp_path: Path
) -> None:
    again = export_bundle(tiny_voice, tmp_path / "voice")
    for name in again.manifest.files:
        assert (again.path / name).read_bytes() == (tiny_bundle / name).read_bytes(), name


def fail(*_: object) -> None:
    raise ExportError("stopped on purpose")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_failed_export_leaves_the_old_bundle_and_nothing_else(
    tiny_voice: VoiceModels, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "voice"
    tiny_bundle.rename(folder)
    try:
        before = contents(folder)
        monkeypatch.setattr(bundle_module, "check_parity", fail)
        with pytest.raises(ExportError, match="on purpose"):
            export_bundle(tiny_voice, folder)
        assert contents(folder) == before
        assert list(tmp_path.iterdir()) == [folder]
    finally:
        folder.rename(tiny_bundle)


def test_a_folder_that_is_no_bundle_is_refused(tiny_voice: VoiceModels, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ExportError, match="exists and is no bundle; give another folder, or remove it"):
        export_bundle(tiny_voice, tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
