"""Prompts made of recordings, with hand-made graphs: their files, names, errors, and when they are opened."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import soundfile

from soundstorm_runtime import Voice
from soundstorm_runtime.bundle.prompts import Prompt, read_prompt, write_prompt
from soundstorm_runtime.bundle.reader import read_bundle
from soundstorm_runtime.errors import AudioError, BundleError, OptionError
from soundstorm_runtime.synthesis.prompt_encoder import PromptEncoder

RATE = 800  # of the tiny voice: 25 tokens a second, two frames each
TEXT = "This is the first sentence. This is a second one."


@pytest.fixture
def bundle(make_bundle):
    return make_bundle(hears=True, variants=["int8"])


@pytest.fixture
def voice(bundle):
    return Voice.load(bundle, threads=1, provider="cpu")


def sound(seconds=2.0, rate=RATE):
    time = np.arange(round(seconds * rate)) / rate
    return 0.3 * np.sin(2 * np.pi * 50 * time) * (0.3 + 0.7 * np.abs(np.sin(9 * time)))


def test_a_file_and_its_samples_make_the_same_prompt(tmp_path, voice):
    soundfile.write(tmp_path / "anna.wav", sound(), RATE, "FLOAT")
    from_file, from_samples = voice.prompt(tmp_path / "anna.wav"), voice.prompt(sound(), RATE)
    np.testing.assert_array_equal(from_file.codes, from_samples.codes)
    np.testing.assert_array_equal(from_file.semantic_tokens, from_samples.semantic_tokens)
    assert from_file.codes.shape == (100, 3)
    assert from_file.semantic_tokens.shape == (50,)
    assert from_file.fingerprint == "0123456789abcdef"


def test_codes_and_tokens_are_those_of_the_graphs(bundle):
    audio = np.repeat(np.linspace(0.03, 0.4, 30), 32).astype(np.float32)  # so loud are thirty tokens
    made = PromptEncoder(read_bundle(bundle)).tokenize(audio[:-5])
    np.testing.assert_array_equal(made.semantic_tokens, (audio[::32] * 40).astype(int) % 10)
    np.testing.assert_array_equal(made.codes, np.repeat((audio[::16] * 40).astype(int) % 8, 3).reshape(-1, 3))


def test_the_same_seed_text_and_prompt_give_the_same_audio(tmp_path, bundle, voice):
    made = voice.prompt(sound(), RATE)
    for file in (tmp_path / "anna.npz", bundle / "prompts" / "anna.npz"):
        write_prompt(file, made)
    again = Voice.load(bundle, threads=1, provider="cpu")
    assert again.voices == ("anna",)
    expected = voice.speak(TEXT, voice=made, seed=3)
    for asked in ("anna", again.prompt(sound(), RATE), str(tmp_path / "anna.npz")):
        np.testing.assert_array_equal(again.speak(TEXT, voice=asked, seed=3), expected)
    assert not np.array_equal(voice.speak(TEXT, seed=3), expected)


def test_speak_many_takes_prompts(voice):
    made = voice.prompt(sound(), RATE)
    both = voice.speak_many([TEXT, TEXT], voice=[made, None], seed=1)
    np.testing.assert_allclose(both[0], voice.speak(TEXT, voice=made, seed=1), atol=1e-5)
    np.testing.assert_allclose(both[1], voice.speak(TEXT, seed=1), atol=1e-5)


def test_speech_opens_no_graph_of_prompts(bundle):
    """A damaged one is noticed when a prompt is made, and not before."""
    whole = (bundle / "encoder.onnx").read_bytes()
    (bundle / "encoder.onnx").write_bytes(whole[:-1] + b"x")
    voice = Voice.load(bundle, threads=1, provider="cpu")
    assert len(voice.speak(TEXT))
    assert voice._prompt_encoder._engines == {}
    with pytest.raises(BundleError, match=r"encoder\.onnx has SHA-256 \w+, expected"):
        voice.prompt(sound(), RATE)
    (bundle / "encoder.onnx").write_bytes(whole)
    voice.prompt(sound(), RATE)
    assert sorted(voice._prompt_encoder._engines) == ["encoder", "units"]


def test_a_bundle_without_the_graphs_says_so(make_bundle):
    folder = make_bundle()
    with pytest.raises(
        OptionError, match="'tiny' makes no prompts of recordings: it has no graphs for that; ex"
    ):
        Voice.load(folder, provider="cpu").prompt(sound(), RATE)
    bundle = read_bundle(folder)
    semantic = dataclasses.replace(bundle.manifest.semantic, units="hubert")
    hubert = dataclasses.replace(bundle, manifest=dataclasses.replace(bundle.manifest, semantic=semantic))
    with pytest.raises(OptionError, match=r"exported without HuBERT, .* the machine that it was trained on"):
        PromptEncoder(hubert).make(None)


def test_a_recording_that_makes_no_prompt_is_refused(tmp_path, voice):
    with pytest.raises(AudioError, match=r"has 0\.50 s of speech"):
        voice.prompt(sound(0.5), RATE)
    with pytest.raises(
        OptionError, match="sample_rate is 800 for a file, which states its own; leave it out"
    ):
        voice.prompt(tmp_path / "a.wav", RATE)


def test_a_prompt_of_another_voice_is_refused(tmp_path, bundle, voice):
    made = voice.prompt(sound(), RATE)
    for fingerprint, shown in (("fedcba", "fedcba"), ("", "unknown")):
        other = dataclasses.replace(made, fingerprint=fingerprint)
        with pytest.raises(
            BundleError, match=rf"the prompt was made for another codec .*\({shown}, expected 0123"
        ):
            voice.speak(TEXT, voice=other)
        write_prompt(tmp_path / "other.npz", other)
        with pytest.raises(BundleError, match=r"other\.npz was made for another codec and other units"):
            read_prompt(tmp_path / "other.npz", read_bundle(bundle).manifest)
    with pytest.raises(BundleError, match="the prompt has codes from 99 to 99, expected 0 to 7"):
        voice.speak(TEXT, voice=Prompt(made.codes * 0 + 99, made.semantic_tokens, made.fingerprint))
    np.savez(tmp_path / "odd.npz", codes=made.codes, semantic_tokens=made.semantic_tokens, fingerprint=[1])
    with pytest.raises(BundleError, match=r"its fingerprint is int64 \[1\], expected a text"):
        read_prompt(tmp_path / "odd.npz", read_bundle(bundle).manifest)


def test_a_bad_file_beside_the_bundles_own_does_not_silence_the_others(make_bundle):
    folder = make_bundle(hears=False, voices={"slt": 6})
    (folder / "prompts" / "otto.npz").write_bytes(b"no prompt")
    (folder / "prompts" / ".hidden.npz").write_bytes(b"not looked at")
    voice = Voice.load(folder, threads=1, provider="cpu")
    assert voice.voices == ("slt", "otto")
    assert len(voice.speak(TEXT, voice="slt"))
    with pytest.raises(BundleError, match=r"otto\.npz cannot be read as a prompt"):
        voice.speak(TEXT, voice="otto")


def test_a_killed_write_leaves_what_was_there(tmp_path, voice, monkeypatch):
    made = voice.prompt(sound(), RATE)
    write_prompt(tmp_path / "anna.npz", made)
    before = (tmp_path / "anna.npz").read_bytes()

    def fail(*_args, **_arrays):
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(OSError, match="disk full"):
        write_prompt(tmp_path / "anna.npz", made)
    assert (tmp_path / "anna.npz").read_bytes() == before
    assert [path.name for path in tmp_path.glob("*.npz*")] == ["anna.npz"]
    assert [path.name for path in tmp_path.glob(".*")] == []
