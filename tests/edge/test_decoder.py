"""The decoder learns from what SoundStorm makes, and the codes stay."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from soundstorm_edge.checkpoint import VoiceModels, load_voice
from soundstorm_edge.corpus import Corpus, make_corpus
from soundstorm_edge.errors import CheckpointError, CorpusError, RecipeError
from soundstorm_edge.recipe import Recipe
from soundstorm_edge.soundstream import SoundStream
from soundstorm_edge.training import run
from soundstorm_edge.training.begin import begin
from soundstorm_edge.training.decoder import DecoderRecipe, DecoderStage, make_again
from soundstorm_edge.training.optimization import Optimization
from soundstorm_runtime.decode import DecodeOptions

BRIEF = Optimization(steps=3, batch=4, warmup=1, learning_rate=1e-3)
RECIPE = DecoderRecipe(utterances=3, frames=30, optimization=BRIEF)

Made = Callable[[DecodeOptions], dict[int, np.ndarray]]


@pytest.fixture
def corpus(tiny_recipe: Recipe, tmp_path: Path) -> Corpus:
    return make_corpus(tiny_recipe.corpus, tmp_path / "corpus")


@pytest.fixture
def codes(corpus: Corpus) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [rng.integers(16, size=(50, 2)) for _ in corpus.utterances]


@pytest.fixture
def made(corpus: Corpus, codes: list[np.ndarray], tiny_voice: VoiceModels, tmp_path: Path) -> Made:
    tokens = [np.arange(50) % 12, np.arange(50) % 5]

    def make(options: DecodeOptions) -> dict[int, np.ndarray]:
        of_corpus = [[kind] * len(codes) for kind in tokens]
        folder = tmp_path / f"made {options.steps}"
        voice = tiny_voice
        return make_again(folder, corpus, voice.codec, voice.soundstorm, codes, of_corpus, 1, options, 3)

    return make


def test_the_decoder_alone_learns(tiny_recipe: Recipe, tiny_checkpoint: Path, tmp_path: Path) -> None:
    voice, folder = load_voice(tiny_checkpoint), tmp_path / "run"
    recipe = replace(tiny_recipe, decoder=RECIPE)
    begin(recipe, folder, voice)
    run.corpus(recipe, folder)
    run.units(recipe, folder)
    run.decoder(recipe, folder)
    run.assemble(recipe, folder, tmp_path / "ckpt.pt", "fp32")
    before, after = voice.codec.state_dict(), load_voice(tmp_path / "ckpt.pt").codec.state_dict()
    changed = {name.partition(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"decoder", "head"}
    run.acoustic(recipe, folder)
    for again in (run.decoder, lambda *where: run.assemble(*where, tmp_path / "ckpt.pt", "fp32")):
        with pytest.raises(CheckpointError, match="learned from another soundstorm than the run has by now"):
            again(recipe, folder)


def test_speech_is_made_again_after_a_prompt(
    made: Made, codes: list[np.ndarray], corpus: Corpus, tiny_voice: VoiceModels
) -> None:
    options = tiny_voice.config.decode
    found = made(options)
    assert len(found) == 3
    assert not corpus.utterances.held_out[list(found)].any()
    numbers = list(found)
    before, number = numbers[1], numbers[0]  # the first follows the first of the others
    expected = tiny_voice.soundstorm.generate(
        cond_semantic_token_ids=torch.arange(50).remainder(12).repeat(2)[None],
        prompt_acoustic_token_ids=torch.from_numpy(codes[before])[None],
        options=options,
        seed=number,
    )
    assert np.array_equal(found[number], expected[0][50:])


def test_levels_that_are_left_out_stay_so(
    made: Made, codes: list[np.ndarray], corpus: Corpus, tiny_voice: VoiceModels
) -> None:
    found = made(DecodeOptions(steps=(1, 0)))
    stage = DecoderStage(
        replace(RECIPE, made=1.0), tiny_voice.config.codec, tiny_voice.codec, corpus, codes, found
    )
    crop, audio = stage.sample(0, np.random.default_rng(0))
    assert (crop[:, 1] == -1).all()
    assert (crop[:, 0] >= 0).all()
    assert (crop.shape, audio.shape) == ((30, 2), (9600,))


def test_a_crop_has_the_codes_of_its_speech(
    codes: list[np.ndarray], corpus: Corpus, tiny_voice: VoiceModels
) -> None:
    recipe = replace(RECIPE, made=0.0)
    stage = DecoderStage(recipe, tiny_voice.config.codec, tiny_voice.codec, corpus, codes, {})
    number = stage.numbers[2]
    crop, audio = stage.sample(2, np.random.default_rng(1))
    whole = corpus.audio(corpus.utterances[number])
    (start,) = (s for s in range(21) if np.array_equal(crop, codes[number][s : s + 30]))
    assert np.array_equal(audio, whole[start * 320 : (start + 30) * 320])


def test_what_cannot_be_is_told(
    tiny_recipe: Recipe, codes: list[np.ndarray], corpus: Corpus, tiny_voice: VoiceModels, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=r"more has no \[decoder\]; go on without this stage"):
        run.decoder(tiny_recipe, tmp_path)
    with pytest.raises(ValueError, match=r"made is 1\.5, expected a share from 0 to 1"):
        DecoderRecipe(made=1.5)
    with pytest.raises(ValueError, match="frames 6, expected 1 or more and more than 6"):
        DecoderRecipe(frames=6)
    with pytest.raises(CorpusError, match="lasts 60 frames; shorten the crops"):
        DecoderStage(replace(RECIPE, frames=60), tiny_voice.config.codec, tiny_voice.codec, corpus, codes, {})


def test_every_codec_tells_its_decoder() -> None:
    codec = SoundStream(
        channels=4, channel_mults=(1, 1, 2, 2), codebook_dim=8, rq_num_quantizers=2, codebook_size=16
    )
    decoding = {p for part in codec.decoding_parts() for p in part.parameters()}
    codec(torch.randn(1, 3200), return_recons_only=True).sum().backward()
    latent = {name for name, p in codec.named_parameters() if p.grad is not None and p not in decoding}
    assert latent
    assert all(name.startswith(("encoder", "quantizer")) for name in latent)
