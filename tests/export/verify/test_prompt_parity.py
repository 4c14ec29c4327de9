"""The graphs that make prompts of recordings: every codec and kind of units, beside PyTorch."""

from __future__ import annotations

import copy
import dataclasses
import shutil
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch
from transformers import HubertConfig, HubertModel

from soundstorm_edge.checkpoint import VoiceModels
from soundstorm_edge.codec.interface import Codec
from soundstorm_edge.codec.soundstream import SoundStream
from soundstorm_edge.data.sources.flite import speak
from soundstorm_edge.units.semantic_units import (
    HubertUnits,
    HubertUnitsConfig,
    PhoneticUnits,
    PhoneticUnitsConfig,
    SemanticTokenizer,
)
from soundstorm_export.bundle_writer import export_bundle
from soundstorm_export.errors import ExportError
from soundstorm_export.rewrite.simplify import simplify
from soundstorm_export.tracing.networks import prompt_encoder_networks
from soundstorm_export.tracing.trace import trace
from soundstorm_export.verify.operators import check_operators
from soundstorm_export.verify.parity import check_parity
from soundstorm_export.verify.prompt_parity import LEAST_EQUAL, compare_prompt_encoder
from soundstorm_export.voice_parts import Parts
from soundstorm_runtime import Voice
from soundstorm_runtime.bundle.manifest import AudioSchema, SemanticSchema
from soundstorm_runtime.bundle.reader import Bundle, read_bundle
from soundstorm_runtime.engines.onnx.onnx_engine import OnnxEngine
from soundstorm_runtime.errors import OptionError
from soundstorm_runtime.synthesis.prompt_encoder import PromptEncoder

SPECTRAL = AudioSchema("spectral", 16_000, 320, 1280, 2, 16)
STREAM = {
    "channels": 4, "strides": (4, 8, 10), "channel_mults": (1, 2, 2), "codebook_dim": 8, "codebook_size": 16,
    "rq_num_quantizers": 2, "discriminators": False,
}  # fmt: skip


def scattered(model: Codec | SemanticTokenizer) -> Codec | SemanticTokenizer:
    """Copy a model, and give untrained codebooks vectors of their own."""
    model = copy.deepcopy(model)
    for name, buffer in model.named_buffers():
        if name.endswith(("embed", "centroids")):
            torch.nn.init.normal_(buffer, std=0.3)
    return model.eval()


def hubert(folder: Path) -> HubertUnits:
    sizes = {
        "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
        "conv_dim": (8,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2,
    }  # fmt: skip
    HubertModel(HubertConfig(**sizes)).save_pretrained(folder)
    return HubertUnits(HubertUnitsConfig(str(folder), layer=1, width=16, vocabulary=12))


def traced_and_checked(parts: Parts, name: str, path: Path) -> ir.Model:
    """Trace one graph, compare it with PyTorch, and return it."""
    units = parts.units
    semantic = SemanticSchema(12, 50, units.config.kind)
    network = prompt_encoder_networks(parts, SPECTRAL, semantic, print)[name]
    model = simplify(trace(network, parts))
    ir.save(model, path)
    facts = check_parity(network, path, parts)
    assert facts.agreement > 0.995
    assert {case["batch"] for case in facts.cases} == {1, 3}
    return model


@pytest.mark.parametrize("kind", ["phonetic", pytest.param("hubert", marks=pytest.mark.sweep)])
def test_units_become_a_graph(kind: str, tiny_voice: VoiceModels, tmp_path: Path) -> None:
    torch.manual_seed(2)
    config = PhoneticUnitsConfig(vocabulary=12, mels=20, dim=16, depth=1, width=8)
    units = scattered(hubert(tmp_path / "hubert") if kind == "hubert" else PhoneticUnits(config))
    parts = dataclasses.replace(Parts.of(tiny_voice), units=units)
    model = traced_and_checked(parts, "units", tmp_path / "units.onnx")
    check_operators("units", model)


@pytest.mark.parametrize(
    "quantizer",
    [
        {},
        {"rq_groups": 2, "rq_num_quantizers": 1},
        pytest.param(
            {"use_finite_scalar_quantizer": True, "finite_scalar_quantizer_levels": (4, 4)},
            marks=pytest.mark.sweep,
        ),
        pytest.param({"use_lookup_free_quantizer": True}, marks=pytest.mark.sweep),
    ],
    ids=["residual", "groups", "finite", "lookup-free"],
)
def test_every_soundstream_becomes_a_graph(quantizer: dict, tiny_voice: VoiceModels, tmp_path: Path) -> None:
    torch.manual_seed(3)
    codec = scattered(SoundStream(**{**STREAM, **quantizer}))
    before = {name: tensor.clone() for name, tensor in codec.state_dict().items()}
    parts = dataclasses.replace(Parts.of(tiny_voice), codec=codec)
    traced_and_checked(parts, "encoder", tmp_path / "encoder.onnx")
    assert all(torch.equal(tensor, before[name]) for name, tensor in codec.state_dict().items())


def test_the_bundle_encodes_prompts(tiny_voice: VoiceModels, tiny_bundle: Path) -> None:
    manifest = read_bundle(tiny_bundle).manifest
    assert list(manifest.prompt_graphs()) == ["encoder", "units"]
    assert manifest.semantic.units == "spectral"
    assert manifest.fingerprint == Parts.of(tiny_voice).fingerprint
    assert len(manifest.fingerprint) == 16
    assert manifest.hearing.equal_codes >= LEAST_EQUAL
    assert manifest.hearing.seconds > 1
    assert -60 < manifest.hearing.level < 0
    assert "encoder" not in manifest.expected_graphs()


def test_no_graph_has_a_fourier_transform(tiny_bundle: Path) -> None:
    bundle = read_bundle(tiny_bundle)
    for name in bundle.manifest.prompt_graphs():
        model = ir.load(bundle.graph_file(name))
        assert "DFT" not in {node.op_type for node in model.graph}
        check_operators(name, model)


def test_variants_leave_the_prompt_encoder_alone(full_bundle: Bundle) -> None:
    for facts in full_bundle.manifest.variants.values():
        assert facts.graphs.keys().isdisjoint(("encoder", "units"))


@pytest.mark.flite
def test_other_speech_gives_the_tokens_of_pytorch(tiny_voice: VoiceModels, tmp_path: Path) -> None:
    torch.manual_seed(4)
    parts = Parts.of(tiny_voice)
    own = dataclasses.replace(parts, codec=scattered(parts.codec), units=scattered(parts.units))
    bundle = export_bundle(own, tmp_path / "voice")
    audio = speak("Nobody heard this sentence in any training.", "slt").audio
    padded = np.pad(audio, (0, -len(audio) % 320))
    prompt = PromptEncoder(bundle).tokenize(audio)
    codes = own.codec.tokenize(torch.from_numpy(padded)[None])[0].numpy()
    tokens = own.units.tokenize(torch.from_numpy(padded)[None])[0].numpy()
    assert len(np.unique(codes)) > 4
    assert (prompt.codes == codes).mean() > 0.99
    assert (prompt.semantic_tokens == tokens).mean() > 0.99
    voice = Voice.load(bundle.path, provider="cpu")
    made = voice.prompt(audio, 16_000)
    np.testing.assert_array_equal(
        voice.speak("Hello.", voice=made, seed=1), voice.speak("Hello.", voice=made, seed=1)
    )


def test_units_that_are_absent_are_reported_and_left_out(tiny_voice: VoiceModels, tmp_path: Path) -> None:
    absent = HubertUnits(HubertUnitsConfig("nowhere", layer=1, width=16, vocabulary=12))
    told: list[str] = []
    bundle = export_bundle(
        dataclasses.replace(Parts.of(tiny_voice), units=absent), tmp_path / "voice", told.append
    )
    assert any("will make no prompts of recordings: no HuBERT weights in 'nowhere'" in line for line in told)
    assert bundle.manifest.hearing is None
    with pytest.raises(
        OptionError, match="exported without HuBERT, which makes its semantic tokens; export it"
    ):
        Voice.load(bundle.path, provider="cpu").prompt(np.zeros(16_000), 16_000)


@pytest.mark.parametrize("seconds", [0.0, 0.05, 90.0])
def test_speech_of_any_length_is_compared(seconds: float, tiny_voice: VoiceModels, tiny_bundle: Path) -> None:
    """A text stage may speak a sentence for longer than a prompt may be, or for less."""
    audio = np.random.default_rng(0).standard_normal(int(seconds * 16_000), np.float32) * 0.1
    bundle = read_bundle(tiny_bundle)
    axis = bundle.manifest.axes["prompt_frames"]
    measured = compare_prompt_encoder(bundle, Parts.of(tiny_voice), [audio])
    frames = min(max(round(seconds * 50), axis.min), axis.max)
    assert measured.seconds == round(frames / 50, 1)
    assert measured.equal_codes >= LEAST_EQUAL


def test_a_graph_that_differs_is_refused(
    tiny_voice: VoiceModels, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "voice"
    shutil.copytree(tiny_bundle, folder)
    speech = [Voice.load(folder, provider="cpu").speak("Good morning.", seed=0)]
    monkeypatch.setattr(OnnxEngine, "_run", lambda self, feeds, run=OnnxEngine._run: _wrong(run(self, feeds)))
    with pytest.raises(ExportError, match=r"of the semantic tokens are equal, .*; nothing was written"):
        compare_prompt_encoder(read_bundle(folder), Parts.of(tiny_voice), speech)


def _wrong(results: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: 1 - array.clip(0, 1) if name == "codes" else array for name, array in results.items()}
