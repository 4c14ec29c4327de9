"""Bundles and checkpoints of version 0.1.0 load, and speak as they did when they were made.

`spectral` and `soundstream` are untrained voices of both codecs and both text stages. Beside each lie the
semantic tokens, codes and audio that version 0.1.0 made of them with one thread. They are never made again:
bundles on users' devices are not exported again either.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from soundstorm_edge.checkpoint import load_voice
from soundstorm_runtime import Voice

HERE = Path(__file__).parent
TEXT = "Hello there. How are you today?"


@pytest.mark.parametrize("name", ["spectral", "soundstream"])
def test_an_old_bundle_speaks_as_before(name: str) -> None:
    expected = np.load(HERE / f"{name}.npz")
    voice = Voice.load(HERE / name, provider="cpu", precision="fp32", threads=1)
    np.testing.assert_allclose(voice.speak(TEXT, seed=5), expected["speech"], atol=1e-4)
    np.testing.assert_allclose(
        voice.speak_tokens(expected["tokens"], seed=7), expected["of_tokens"], atol=1e-4
    )


@pytest.mark.parametrize("name", ["spectral", "soundstream"])
def test_an_old_checkpoint_decodes_the_same_codes(name: str) -> None:
    expected = np.load(HERE / f"{name}.npz")
    voice = load_voice(HERE / f"{name}.pt")
    tokens = torch.from_numpy(expected["tokens"])[None]
    codes = voice.soundstorm.generate(cond_semantic_token_ids=tokens, options=voice.config.decode, seed=7)
    np.testing.assert_array_equal(codes[0].numpy(), expected["codes"])
