"""A block-causal voice that decodes by expectation, from the export to the audio, as the shipped one does."""

from __future__ import annotations

from collections import Counter
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

from soundstorm_edge.checkpoint import VoiceModels
from soundstorm_edge.soundstorm.model import SoundStorm
from soundstorm_export.bundle_writer import export_bundle
from soundstorm_runtime.bundle.open_engines import open_engines
from soundstorm_runtime.bundle.prompts import Prompt
from soundstorm_runtime.bundle.reader import Bundle
from soundstorm_runtime.decoding.maskgit import DecodeOptions
from soundstorm_runtime.engines.graphs import CacheShape
from soundstorm_runtime.engines.timing import TimedEngine
from soundstorm_runtime.synthesis.calibration import Costs
from soundstorm_runtime.tools.diagnosis import diagnose
from soundstorm_runtime.voice import Voice

TEXT = "The clock strikes ten. It is late."


@pytest.fixture(scope="module")
def bundle(
    tiny_voice: VoiceModels, block_causal: SoundStorm, tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    random = np.random.default_rng(0)
    prompt = Prompt(random.integers(16, size=(40, 2)), random.integers(12, size=40))
    codec = deepcopy(tiny_voice.codec)
    for name, codebook in codec.state_dict().items():
        if name.endswith(".embed"):  # which training initialises
            torch.nn.init.normal_(codebook)
    voice = replace(
        tiny_voice,
        codec=codec,
        config=replace(
            tiny_voice.config,
            soundstorm=block_causal.config,
            decode=DecodeOptions((1, 1), temperature=0.01, expected=True),
        ),
        soundstorm=block_causal,
        prompts={"someone": prompt},
    )
    return export_bundle(voice, tmp_path_factory.mktemp("prefix") / "voice", precisions=("int8",))


def test_the_manifest_says_that_it_has_a_prefix(bundle: Bundle) -> None:
    manifest = bundle.manifest
    assert manifest.cache == CacheShape(layers=2, width=16, before=1, channels=32)
    assert "prefix" in manifest.graphs
    assert "prefix" in manifest.variants["int8"].graphs
    assert manifest.parity["prefix"].largest_error < 1e-3
    bundle.check()


def test_step_and_prefix_share_their_weights(bundle: Bundle) -> None:
    assert bundle.manifest.graphs["prefix"].weights == bundle.manifest.graphs["step"].weights
    own = (bundle.path / "prefix.onnx").stat().st_size
    assert own < (bundle.path / "step.weights").stat().st_size, "no second copy of them"


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_prompt_is_computed_once_for_the_voice(bundle: Bundle, precision: str) -> None:
    engines = open_engines(bundle, provider="cpu", precision=precision, threads=1)  # type: ignore[arg-type]
    timed = {name: TimedEngine(engine) for name, engine in engines.by_name.items()}
    voice = Voice(bundle, timed)
    first, again = (voice.speak(TEXT, voice="someone", seed=3) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert timed["prefix"].calls == 1, "for all sentences"
    voice.speak(TEXT, voice=another(bundle), seed=3)
    assert timed["prefix"].calls == 2


def test_a_seed_matters_only_where_a_temperature_is_given(bundle: Bundle) -> None:
    voice = Voice.load(bundle.path, provider="cpu", precision="fp32")
    tokens = np.random.default_rng(5).integers(12, size=40)
    first, second, warm, warmer = (
        voice.speak_tokens(tokens, voice="someone", seed=seed, temperature=temperature)
        for temperature in (None, 0.9)
        for seed in (0, 1)
    )
    np.testing.assert_array_equal(first, second)
    assert (warm != warmer).any()
    assert (warm != first).any()


def test_a_retake_differs_with_the_seed(bundle: Bundle) -> None:
    voice = Voice.load(bundle.path, provider="cpu", precision="fp32")
    speech = voice.speak_timed(TEXT, voice="someone")
    takes = [voice.retake(speech, "strikes ten", voice="someone", seed=seed).audio for seed in (1, 2)]
    assert takes[0].shape == takes[1].shape
    assert (takes[0] != takes[1]).any()


def another(bundle: Bundle) -> Prompt:
    random = np.random.default_rng(1)
    codes, tokens = random.integers(16, size=(30, 2)), random.integers(12, size=30)
    return Prompt(codes, tokens, bundle.manifest.fingerprint)


def test_a_stream_computes_a_finished_block_once(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = Counter[int]()
    engines = open_engines(bundle, provider="cpu", precision="fp32", threads=1)
    voice = Voice(bundle, engines.by_name)
    step, run = engines.by_name["step"], engines.by_name["step"].run

    def counted(feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        frames[int(feeds["past_lengths"][0])] += 1
        assert feeds["codes"].shape[1] <= 192 + 10 + 1, "the block and what is ahead of it, without a prompt"
        return run(feeds)

    voice.warm_up(Costs(sentence=0.0, token=0.0, step=0.0, step_frame=0.002, codec_frame=0.0))
    monkeypatch.setattr(step, "run", counted)
    text = 5 * "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    pieces = list(voice.stream(text, voice="someone", seed=1))
    assert sum(map(len, pieces)) > 3 * voice.sample_rate
    assert min(frames) == 40, "the prompt"
    assert len(frames) > 3, "then the blocks, too"
    assert max(frames) <= 40 + 200, "so many seconds at most"
    again = list(voice.stream(text, voice="someone", seed=1))
    np.testing.assert_array_equal(np.concatenate(pieces), np.concatenate(again))


def test_doctor_tries_the_graph(bundle: Bundle) -> None:
    found = diagnose(bundle.path, threads=1)
    assert found.bundle is not None
    check = {name: graph.problem for name, graph in found.bundle.graphs.items()}
    assert check["prefix"] is None
    assert check["step"] is None
