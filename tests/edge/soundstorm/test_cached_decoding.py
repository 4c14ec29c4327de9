"""Decoding with the cache of finished blocks, against decoding that computes them in every step."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from soundstorm_edge.nn.conformer import ConformerConfig
from soundstorm_edge.nn.torch_engine import TorchEngine
from soundstorm_edge.soundstorm.guided_step import GuidedStep
from soundstorm_edge.soundstorm.model import SoundStorm, SoundStormConfig
from soundstorm_runtime.decoding.maskgit import DecodeOptions, decode
from soundstorm_runtime.decoding.prefix_cache import PrefixCache
from soundstorm_runtime.engines.graphs import CacheShape, prefix_graph, step_graph
from soundstorm_runtime.errors import OptionError

LEVELS, CODES, VOCABULARY = 3, 16, 12
SHAPE = CacheShape(layers=2, width=16, before=2, channels=32)


@pytest.fixture(scope="module")
def model() -> SoundStorm:
    torch.manual_seed(0)
    conformer = ConformerConfig(
        dim=16, depth=2, heads=2, dim_head=8, conv_kernel_size=5, num_residual_streams=1, block_causal=True
    )
    found = SoundStorm.from_config(SoundStormConfig(LEVELS, CODES, VOCABULARY, conformer)).eval()
    found.net.heads.classifier.data *= 10  # as decided as a trained network
    return found


@pytest.fixture(scope="module")
def prefix(model: SoundStorm) -> TorchEngine:
    return TorchEngine(prefix_graph(LEVELS, SHAPE), model.prefix)


def uncached(model: SoundStorm, tokens: np.ndarray, ends: list[int]) -> TorchEngine:
    """A step that computes all blocks, which end after so many frames."""
    assert model.condition is not None
    place = torch.arange(tokens.shape[1])
    blocks = sum((place >= end).long() for end in ends).expand(len(tokens), -1)  # type: ignore[union-attr]
    with torch.no_grad():
        condition = model.condition.embed(torch.from_numpy(tokens))
    step = GuidedStep(model.net, None, None, condition, None, 1.0, {"blocks": blocks})
    return TorchEngine(step_graph(LEVELS), step)


@pytest.mark.parametrize(
    "options",
    [
        DecodeOptions((5, 2, 1), temperature=0.7),
        DecodeOptions((4, 2, 2), noise=2.0, can_mask_prev_unmasked=True, annealed=True),
        DecodeOptions((4, 2, 0)),
    ],
    ids=["sampled", "revised", "a level left out"],
)
@pytest.mark.parametrize("ends", [[0], [5], [5, 9], [4, 5, 12]], ids=str)
def test_the_codes_are_the_same(
    model: SoundStorm, prefix: TorchEngine, options: DecodeOptions, ends: list[int]
) -> None:
    random, known = np.random.default_rng(1), ends[-1]
    given = random.integers(CODES, size=(known, LEVELS))
    tokens = random.integers(VOCABULARY, size=(2, 30))
    tokens[:, :known] = tokens[0, :known]
    common = {
        "semantic_tokens": tokens, "lengths": np.array([30, 21]), "levels": LEVELS, "codebook_size": CODES,
        "options": options, "prompt": given[None].repeat(2, axis=0),
    }  # fmt: skip
    shown = given.copy()
    shown[:, options.left_out(1)] = CODES
    cache = PrefixCache.empty(prefix)
    for start, end in zip([0, *ends], ends, strict=False):
        if end:
            cache = cache.extended(prefix, shown[start:end], tokens[0, start:end])
    step = TorchEngine(step_graph(LEVELS, SHAPE), model.step)
    for seed in range(3):
        expected = decode(uncached(model, tokens, ends), rng=np.random.default_rng(seed), **common)
        found = decode(step, rng=np.random.default_rng(seed), cache=cache, **common)
        np.testing.assert_array_equal(found, expected)


def test_generate_gives_the_codes_of_a_device(model: SoundStorm, prefix: TorchEngine) -> None:
    options, random = DecodeOptions((4, 1, 1)), np.random.default_rng(2)
    tokens, given = random.integers(VOCABULARY, size=(1, 20)), random.integers(CODES, size=(6, LEVELS))
    expected = model.generate(
        cond_semantic_token_ids=torch.from_numpy(tokens),
        prompt_acoustic_token_ids=torch.from_numpy(given[None]),
        options=options,
        seed=7,
    )
    found = decode(
        TorchEngine(step_graph(LEVELS, SHAPE), model.step), tokens, np.array([20]), LEVELS, CODES, options,
        np.random.default_rng(7), given[None],
        cache=PrefixCache.empty(prefix).extended(prefix, given, tokens[0, :6]),
    )  # fmt: skip
    np.testing.assert_array_equal(found, np.asarray(expected))


def test_a_cache_of_another_prompt_is_refused(model: SoundStorm, prefix: TorchEngine) -> None:
    tokens, given = np.zeros((1, 9), np.int64), np.zeros((4, LEVELS), np.int64)
    cache = PrefixCache.empty(prefix).extended(prefix, given[:3], tokens[0, :3])
    with pytest.raises(OptionError, match=r"the cache is of a prompt \[3, 3\], but the prompt is \[4, 3\]"):
        decode(
            TorchEngine(step_graph(LEVELS, SHAPE), model.step), tokens, np.array([9]), LEVELS, CODES,
            DecodeOptions((1, 1, 1)), np.random.default_rng(0), given[None], cache=cache,
        )  # fmt: skip
