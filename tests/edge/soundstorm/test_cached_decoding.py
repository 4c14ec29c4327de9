"""Decoding with the cache of finished blocks, against decoding that computes them in every step."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from soundstorm_edge.nn.conformer import ConformerConfig
from soundstorm_edge.nn.torch_engine import TorchEngine
from soundstorm_edge.soundstorm.guided_step import GuidedStep
from soundstorm_edge.soundstorm.model import SoundStorm, SoundStormConfig
from soundstorm_runtime.bundle.manifest import AudioSchema
from soundstorm_runtime.bundle.prompts import MixedPrompt, Prompt, mixed_prompt
from soundstorm_runtime.decoding.maskgit import DecodeOptions, decode
from soundstorm_runtime.decoding.prefix_cache import PrefixCache
from soundstorm_runtime.engines.graphs import CacheShape, prefix_graph, step_graph
from soundstorm_runtime.errors import OptionError
from soundstorm_runtime.synthesis.acoustic_stage import AcousticStage
from soundstorm_runtime.synthesis.context import last_tokens
from soundstorm_runtime.synthesis.sentence_reader import Part

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


@pytest.fixture(scope="module")
def acoustics(model: SoundStorm, prefix: TorchEngine) -> AcousticStage:
    codec = AudioSchema("soundstream", 800, 16, 0, LEVELS, CODES)
    manifest = SimpleNamespace(audio=codec, frames_per_token=2, decode=OPTIONS)
    step = TorchEngine(step_graph(LEVELS, SHAPE), model.step)
    engines = {"step": step, "prefix": prefix, "decoder": step}  # the decoder is not used
    return AcousticStage(manifest, engines)  # type: ignore[arg-type]


OPTIONS = DecodeOptions((4, 2, 1), temperature=0.7)


def random_prompt(seed: int, tokens: int) -> Prompt:
    random = np.random.default_rng(seed)
    codes = random.integers(CODES, size=(2 * tokens, LEVELS))
    return Prompt(codes, random.integers(VOCABULARY, size=tokens))


def test_voices_of_a_mixture_say_the_same(acoustics: AcousticStage) -> None:
    anna, ben = random_prompt(1, 8), random_prompt(2, 5)
    mixed = acoustics.aligned(mixed_prompt([(3.0, anna), (1.0, ben)]))  # type: ignore[arg-type]
    assert isinstance(mixed, MixedPrompt)
    (first, own), (second, other) = mixed.parts
    assert (first, second, own) == (0.75, 0.25, anna)
    np.testing.assert_array_equal(other.semantic_tokens, anna.semantic_tokens)
    said = Part(anna.semantic_tokens, np.random.default_rng(0))
    np.testing.assert_array_equal(other.codes, acoustics.codes([said], OPTIONS, ben)[0])
    again = acoustics.aligned(mixed_prompt([(1.0, anna), (1.0, ben)]))  # type: ignore[arg-type]
    assert again.parts[1][1] is other  # type: ignore[attr-defined]
    short = last_tokens(mixed, 3)
    assert [len(part.codes) for _, part in short.parts] == [6, 6]  # type: ignore[attr-defined]


def test_a_mixture_goes_from_one_voice_to_the_other(acoustics: AcousticStage) -> None:
    anna, ben = random_prompt(1, 8), random_prompt(2, 5)

    def cache(weight: float) -> PrefixCache:
        mixed = mixed_prompt([(1 - weight, anna), (weight, ben)])
        found = acoustics.context(acoustics.aligned(mixed), OPTIONS).cache  # type: ignore[arg-type]
        assert found is not None
        return found

    (_, first), (_, last) = acoustics.aligned(mixed_prompt([(1, anna), (1, ben)])).parts  # type: ignore
    ends = [acoustics.context(prompt, OPTIONS).cache for prompt in (first, last)]
    for name in ("keys", "values", "convolved"):
        one, other = (getattr(end, name) for end in ends)
        np.testing.assert_allclose(getattr(cache(1e-9), name), one, atol=1e-5)
        np.testing.assert_allclose(getattr(cache(1 - 1e-9), name), other, atol=1e-5)
        np.testing.assert_allclose(getattr(cache(0.5), name), (one + other) / 2, atol=1e-5)
    part = Part(np.arange(6), np.random.default_rng(5))
    mixed = acoustics.aligned(mixed_prompt([(1, anna), (1, ben)]))  # type: ignore[arg-type]
    assert acoustics.codes([part], OPTIONS, mixed)[0].shape == (12, LEVELS)
