"""Exporting a whole voice: every kind of codec and text stage, checked, and written whole or not at all."""

import dataclasses
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch

from soundstorm_edge.checkpoint import VoiceModels, build_voice
from soundstorm_edge.codec.soundstream import SoundStreamConfig
from soundstorm_edge.nn.torch_engine import TorchEngine
from soundstorm_edge.text_to_semantic.autoregressive import TextToSemanticConfig
from soundstorm_export import bundle_writer as bundle_module
from soundstorm_export.bundle_writer import export_bundle, leave_out_fp32
from soundstorm_export.errors import ExportError
from soundstorm_export.tracing import trace
from soundstorm_export.tracing.networks import Network
from soundstorm_export.verify import checked_write
from soundstorm_export.verify.cuda_kernels import without_cuda_kernel
from soundstorm_export.verify.operators import check_operators, implementations
from soundstorm_export.verify.parity import BOUNDS, Bound
from soundstorm_export.verify.speech_comparison import SENTENCES
from soundstorm_runtime import Voice
from soundstorm_runtime.bundle.manifest import Precision
from soundstorm_runtime.bundle.precisions import precisions_on
from soundstorm_runtime.bundle.prompts import Prompt
from soundstorm_runtime.bundle.reader import Bundle, read_bundle
from soundstorm_runtime.decoding.maskgit import decode
from soundstorm_runtime.engines.onnx.onnx_engine import OnnxEngine
from soundstorm_runtime.errors import BundleError, OptionError
from tests import trace_cache


@pytest.fixture(scope="module")
def other_voice(tiny_voice: VoiceModels) -> VoiceModels:
    """The other kind of everything: convolutional codec, autoregressive text stage."""
    torch.manual_seed(1)
    codec = SoundStreamConfig(
        channels=4, strides=(4, 8, 10), channel_mults=(1, 2, 2), codebook_dim=8, codebook_size=16,
        rq_num_quantizers=2,
    )  # fmt: skip
    text = TextToSemanticConfig(
        symbols=tiny_voice.lexicon.symbols, num_semantic_token_ids=12,
        dim=16, source_depth=1, target_depth=1, heads=2, dim_head=8, autoset_text_eos_id=False,
    )  # fmt: skip
    config = dataclasses.replace(tiny_voice.config, codec=codec, text=text, speaker="anna")
    prompt = Prompt(np.arange(16).reshape(8, 2), np.arange(8))
    return build_voice(config, tiny_voice.lexicon, {"anna": prompt, "otto": prompt})


@pytest.fixture(scope="module")
def other_bundle(other_voice: VoiceModels, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return export_bundle(other_voice, tmp_path_factory.mktemp("other") / "voice")


def test_graphs_agree_with_pytorch(full_bundle: Bundle, other_bundle: Bundle) -> None:
    for bundle in (full_bundle, other_bundle):
        assert bundle.manifest.parity.keys() == bundle.manifest.graphs.keys() >= {"encoder", "units"}
        for facts in bundle.manifest.parity.values():
            assert facts.largest_error < 1e-4
            assert facts.agreement > 0.995
            assert {case.get("batch") for case in facts.cases} == {1, 3}
    assert "text_step" in other_bundle.manifest.graphs
    assert other_bundle.manifest.audio.codec == "soundstream"


def test_prompts_are_in_the_bundle(other_bundle: Bundle) -> None:
    assert other_bundle.manifest.speaker == "anna"
    prompts = other_bundle.prompts()
    assert list(prompts) == ["anna", "otto"]
    np.testing.assert_array_equal(prompts["otto"].codes, np.arange(16).reshape(8, 2))
    assert len(Voice.load(other_bundle.path, provider="cpu").speak("Hello.", voice="otto", seed=1))


def test_variants_agree_with_pytorch_and_fp32(full_bundle: Bundle) -> None:
    variants = full_bundle.manifest.variants
    assert {name: set(facts.graphs) for name, facts in variants.items()} == {
        "int8": {"step"},
        "fp16": {"step", "step_next", "decoder", "text_encoder", "text_decoder"},
        "bf16": {"step", "step_next", "text_encoder", "text_decoder"},
        "int8-qdq": {"step", "step_next"},
        "fp8-qdq": {"step", "step_next"},
    }
    exact = full_bundle.manifest.parity["step"].largest_error
    for name, facts in variants.items():
        for graph, parity in facts.parity.items():
            assert parity.mean_error <= parity.largest_error <= parity.tolerance == BOUNDS[name].error
            assert parity.agreement >= BOUNDS[name].agreement
            assert full_bundle.graph_file(graph, name).parent.name == name
        assert facts.parity["step"].largest_error > exact  # it is another precision, after all
        assert facts.speech is not None
        assert facts.speech.sentences == len(SENTENCES)
        assert facts.speech.word_error_rate is not None


def test_a_whole_step_is_there_for_gpus_alone_and_shares_the_weights(
    full_bundle: Bundle, tiny_bundle: Path, tmp_path: Path
) -> None:
    assert "step_next" not in read_bundle(tiny_bundle).manifest.graphs
    for precision in precisions_on("tensorrt", full_bundle.manifest.precisions):
        step, whole = (full_bundle.graph_file(name, precision) for name in ("step", "step_next"))
        assert step.parent == whole.parent
        weights = step.parent / "step.weights"
        assert weights.stat().st_size > 0
        large = [
            value.const_value
            for value in ir.load(whole).graph.initializers.values()
            if value.const_value is not None and value.const_value.nbytes > 1024
        ]
        assert large
        inside = [tensor.name for tensor in large if not isinstance(tensor, ir.ExternalTensor)]
        assert inside == []
        assert {tensor.location for tensor in large if isinstance(tensor, ir.ExternalTensor)} == {
            weights.name
        }
    shutil.copytree(full_bundle.path, tmp_path / "voice")
    weights = tmp_path / "voice" / "fp16" / "step.weights"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    with pytest.raises(BundleError, match=r"step\.weights has SHA-256"):
        read_bundle(tmp_path / "voice").graph_file("step_next", "fp16")


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_whole_step_decodes_the_codes_of_the_step(full_bundle: Bundle, precision: Precision) -> None:
    tokens = np.random.default_rng(0).integers(12, size=(2, 80))
    options = replace(full_bundle.manifest.decode, steps=(5, 2), noise=1.0, can_mask_prev_unmasked=True)
    graphs = full_bundle.manifest.expected_graphs() | full_bundle.manifest.whole_step()
    codes = [
        decode(
            OnnxEngine(graphs[name], full_bundle.graph_file(name, precision), threads=1),
            tokens, np.array([80, 51]), 2, 16, options, np.random.default_rng(5),
        )
        for name in ("step", "step_next")
    ]  # fmt: skip
    np.testing.assert_array_equal(*codes)


def test_the_form_for_cpus_agrees_and_shares_the_weights(full_bundle: Bundle, tmp_path: Path) -> None:
    cpu = full_bundle.manifest.cpu
    assert cpu is not None
    assert cpu.graphs == {"step": "step.cpu.onnx"}
    assert cpu.parity["step"].largest_error <= BOUNDS["fp32"].error
    assert full_bundle.graph_file("step", place="cpu").name == "step.cpu.onnx"
    assert full_bundle.graph_file("decoder", place="cpu").name == "decoder.onnx"
    for name in ("step.onnx", "step.cpu.onnx"):
        outside = [
            value.const_value.location
            for value in ir.load(full_bundle.path / name).graph.initializers.values()
            if isinstance(value.const_value, ir.ExternalTensor)
        ]
        assert set(outside) == {"step.weights"}
    shutil.copytree(full_bundle.path, tmp_path / "voice")
    weights = tmp_path / "voice" / "step.weights"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    with pytest.raises(BundleError, match=r"step\.weights has SHA-256"):
        read_bundle(tmp_path / "voice").graph_file("step", place="cpu")


def test_the_form_for_cuda_agrees_and_shares_the_weights(full_bundle: Bundle, tiny_bundle: Path) -> None:
    cuda = full_bundle.manifest.cuda
    assert cuda is not None
    assert cuda.graphs == {"step": "fp16/step.cuda.onnx"}
    assert cuda.parity["step"].largest_error <= BOUNDS["fp16"].error
    assert read_bundle(tiny_bundle).manifest.cuda is None
    file = full_bundle.graph_file("step", "fp16", place="cuda")
    assert file.name == "step.cuda.onnx"
    assert full_bundle.graph_file("step", "fp16", place="rtx").name == "step.onnx"
    assert full_bundle.graph_file("step", "fp32", place="cuda") == full_bundle.path / "step.onnx"
    assert full_bundle.graph_file("decoder", "fp16", place="cuda").name == "decoder.onnx"
    assert file.stat().st_size < (full_bundle.path / "fp16" / "step.weights").stat().st_size
    model = ir.load(file)
    assert {node.op_type for node in model.graph if node.domain} == {"MultiHeadAttention", "RotaryEmbedding"}
    assert without_cuda_kernel(model) == []


def test_all_but_int8_is_what_tensorrt_takes(full_bundle: Bundle) -> None:
    for precision in precisions_on("tensorrt", full_bundle.manifest.precisions):
        for name in full_bundle.manifest.graphs:
            check_operators(name, ir.load(full_bundle.graph_file(name, precision)))


def test_no_graph_has_an_operator_that_gpus_run_badly(full_bundle: Bundle, other_bundle: Bundle) -> None:
    slow = {name for name, way in implementations().items() if "loop" in way or "plugin" in way}
    assert {"CumSum", "DFT"} <= slow
    for bundle in (full_bundle, other_bundle):
        for name in bundle.manifest.graphs:
            model = ir.load(bundle.graph_file(name))
            assert {node.op_type for node in model.graph}.isdisjoint(("Pad", *slow)), name


def test_no_graph_holds_paths_of_source_files(full_bundle: Bundle) -> None:
    for name in full_bundle.manifest.files:
        assert b".py" not in (full_bundle.path / name).read_bytes(), name


@pytest.mark.parametrize("which", ["fp32", "int8", "fp16", "int8-qdq", "fp8-qdq", "other"])
def test_the_bundle_speaks(which: str, full_bundle: Bundle, other_bundle: Bundle) -> None:
    bundle = other_bundle if which == "other" else full_bundle
    precision = "fp32" if which == "other" else which
    voice = Voice.load(bundle.path, provider="cpu", threads=1, precision=precision)
    audio = voice.speak("Good morning.", seed=3)
    assert audio.dtype == np.float32
    assert np.isfinite(audio).all()
    assert 0 < len(audio) < 20 * voice.sample_rate
    np.testing.assert_array_equal(audio, voice.speak("Good morning.", seed=3))


@pytest.mark.parametrize("which", ["tiny", "other"])
def test_a_level_that_is_left_out_adds_nothing(
    which: str, tiny_voice: VoiceModels, other_voice: VoiceModels, full_bundle: Bundle, other_bundle: Bundle
) -> None:
    """The device decodes codes of -1 as PyTorch decodes the first levels alone; a stream is as long."""
    voice, bundle = (tiny_voice, full_bundle) if which == "tiny" else (other_voice, other_bundle)
    codes = np.random.default_rng(0).integers(16, size=(30, 2))
    codes[:, 1] = -1
    device = Voice.load(bundle.path, provider="cpu", threads=1, precision="fp32")
    with torch.inference_mode():
        expected = voice.codec.decode_from_codebook_indices(torch.from_numpy(codes[None, :, :1]))[0]
    whole = device._acoustics.audio(codes)
    np.testing.assert_allclose(whole, expected.numpy().clip(-1, 1), atol=1e-4)
    speech = [device.speak("Good morning.", steps=(2, 0)), *device.stream("Good morning.", steps=(2, 0))]
    assert all(np.isfinite(piece).all() for piece in speech)
    assert len(speech[0]) == sum(map(len, speech[1:]))


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


def traced_anew(network: Network, feeds: dict[str, np.ndarray]) -> ir.Model:
    """Trace two graphs, and take the others from the cache: tracing all would take a minute."""
    capture = trace_cache.fresh if network.graph.name in ("step", "units") else trace_cache.cached
    return capture(network, feeds)


def test_the_same_voice_gives_the_same_bytes(
    tiny_voice: VoiceModels, full_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace, "capture", traced_anew)
    monkeypatch.setattr(bundle_module, "compare_speech", lambda *_: None)  # it writes no graph
    checked: list[Path] = []
    monkeypatch.setattr(bundle_module, "read_bundle", lambda path: checked.append(path) or read_bundle(path))
    again = export_bundle(tiny_voice, tmp_path / "voice", precisions=full_bundle.manifest.precisions)
    assert len(checked) == 1  # whatever the number of precisions
    assert again.manifest.files == full_bundle.manifest.files
    for name in again.manifest.files:
        assert (again.path / name).read_bytes() == (full_bundle.path / name).read_bytes(), name


def test_a_variant_out_of_bounds_is_not_written(
    tiny_voice: VoiceModels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BOUNDS, "int8", Bound(1e-9, 0.5))
    with pytest.raises(
        ExportError,
        match=r"graph 'step' in int8 differs from PyTorch by \d\.\d+e-0\d, expected at most 1e-09; "
        "nothing was written; export with --precision fp32 alone",
    ):
        export_bundle(tiny_voice, tmp_path / "voice", precisions=("int8",))
    assert list(tmp_path.iterdir()) == []


def fail(*_: object) -> None:
    raise ExportError("stopped on purpose")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_fp32_may_be_left_out(tiny_voice: VoiceModels, full_bundle: Bundle, tmp_path: Path) -> None:
    bundle = Bundle(tmp_path / "voice", full_bundle.manifest)
    shutil.copytree(full_bundle.path, bundle.path)
    full = full_bundle.manifest
    graphs, parity = dict(full.graphs), dict(full.parity)
    del graphs["step_next"], parity["step_next"]  # which is for GPUs
    only = {"int8": full.variants["int8"]}
    int8 = replace(full, graphs=graphs, parity=parity, variants=only, cuda=None)
    manifest = leave_out_fp32(replace(bundle, manifest=int8))
    (bundle.path / "bundle.json").write_text(manifest.to_json())
    bundle = read_bundle(bundle.path)
    bundle.check()
    left_out = {"step.onnx", "step.cpu.onnx", "step.weights"}
    assert not left_out & set(contents(bundle.path))
    assert left_out <= set(contents(full_bundle.path))
    assert bundle.manifest.precisions == ("int8",)
    voices = [Voice.load(b.path, provider="cpu", precision="int8", threads=1) for b in (bundle, full_bundle)]
    np.testing.assert_array_equal(*(voice.speak("Good morning.", seed=3) for voice in voices))
    Voice.load(bundle.path, threads=1)  # there is one choice
    with pytest.raises(OptionError, match="precision 'fp32' was asked for, but the bundle has int8"):
        Voice.load(bundle.path, precision="fp32")
    with pytest.raises(
        BundleError, match=r"was exported without fp32 of graph 'step'; take .* int8, or export"
    ):
        bundle.graph_file("step")
    with pytest.raises(ExportError, match=r"without fp32 nothing is left.*add --precision int8"):
        export_bundle(tiny_voice, tmp_path / "nothing", keep_fp32=False)
    assert not (tmp_path / "nothing").exists()


def test_a_failed_export_leaves_the_old_bundle_and_nothing_else(
    tiny_voice: VoiceModels, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "voice"
    shutil.copytree(tiny_bundle, folder)
    before = contents(folder)
    monkeypatch.setattr(checked_write, "check_parity", fail)
    with pytest.raises(ExportError, match="on purpose"):
        export_bundle(tiny_voice, folder)
    assert contents(folder) == before
    assert list(tmp_path.iterdir()) == [folder]


def test_a_folder_that_is_no_bundle_is_refused(tiny_voice: VoiceModels, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ExportError, match="exists and is no bundle; give another folder, or remove it"):
        export_bundle(tiny_voice, tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
