"""The voice package in `voices/` is what the checkpoint beside it exports to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from soundstorm_edge.checkpoint import load_voice
from soundstorm_runtime import Voice
from soundstorm_runtime.bundle.open_engines import open_engines
from soundstorm_runtime.bundle.reader import read_bundle
from soundstorm_runtime.decoding.maskgit import decode

VOICES = Path(__file__).parents[2] / "voices"
NAME = "flite-multi"


@pytest.fixture(scope="module")
def checkpoint():
    return load_voice(VOICES / f"{NAME}.pt")


@pytest.fixture(scope="module")
def bundle():
    return read_bundle(VOICES / NAME / f"soundstorm_voice_{NAME.replace('-', '_')}" / "bundle")


def test_it_is_whole_and_has_int8(bundle):
    bundle.check()
    assert bundle.manifest.precisions == ("fp32", "int8")
    assert sum(record.size for record in bundle.manifest.files.values()) < 120e6


def test_it_has_the_prompts_and_the_lexicon_of_the_checkpoint(bundle, checkpoint):
    prompts = bundle.prompts()
    assert list(prompts) == list(checkpoint.prompts)
    for name, prompt in checkpoint.prompts.items():
        np.testing.assert_array_equal(prompts[name].codes, prompt.codes)
        np.testing.assert_array_equal(prompts[name].semantic_tokens, prompt.semantic_tokens)
    spelling = bundle.spelling()
    assert spelling is not None


def test_it_decodes_the_codes_of_the_checkpoint(bundle, checkpoint):
    tokens = np.random.default_rng(0).integers(bundle.manifest.semantic.vocabulary, size=(1, 60))
    options = bundle.manifest.decode
    expected = checkpoint.soundstorm.generate(
        cond_semantic_token_ids=torch.from_numpy(tokens), options=options, seed=7
    )
    step = open_engines(bundle, provider="cpu", precision="fp32", threads=1).by_name["step"]
    audio = bundle.manifest.audio
    codes = decode(
        step, tokens, np.array([60]), audio.levels, audio.codebook_size, options, np.random.default_rng(7)
    )
    np.testing.assert_array_equal(codes, expected.numpy())
    assert len(Voice.load(bundle.path, precision="int8", threads=1).speak("Yes.", seed=1)) > 4000
