"""A run that starts from a trained voice."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from soundstorm_edge.checkpoint import VoiceModels, load_voice
from soundstorm_edge.codec.spectrogram_discriminators import SpectrogramDiscriminatorConfig
from soundstorm_edge.data.corpus_config import CorpusConfig
from soundstorm_edge.errors import CheckpointError
from soundstorm_edge.soundstorm.masking import Masking
from soundstorm_edge.training.optimization import Optimization
from soundstorm_edge.training.pipeline import TrainingRun
from soundstorm_edge.training.recipe import Recipe, load_recipe
from soundstorm_edge.training.stages.acoustic_stage import AcousticRecipe
from soundstorm_edge.training.stages.codec_stage import CodecRecipe
from soundstorm_edge.training.stages.text_stage import TextRecipe
from soundstorm_edge.training.stages.unit_distillation import UnitDistillationRecipe
from soundstorm_edge.training.stages.units_stage import UnitsRecipe
from soundstorm_edge.training.warm_start import warm_start

WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight")
BRIEF = Optimization(steps=2, batch=2, warmup=1)


@pytest.fixture
def recipe(tiny_voice: VoiceModels) -> Recipe:
    """Of the tiny voice's networks."""
    config = tiny_voice.config
    return Recipe(
        name="more",
        corpus=CorpusConfig("ljspeech", "recordings", held_out_percent=40),
        codec=CodecRecipe(config.codec, optimization=BRIEF),
        units=UnitsRecipe(config.units),
        acoustic=AcousticRecipe(config.soundstorm.conformer, frames=20, optimization=BRIEF),
        text=TextRecipe(config.text, optimization=BRIEF),
        decode=config.decode,
    )


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    """Noise in LJSpeech's layout, some of it held out."""
    folder = tmp_path / "recordings"
    (folder / "wavs").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for word in WORDS:
        soundfile.write(folder / "wavs" / f"{word}.wav", rng.uniform(-0.5, 0.5, 16_000), 16_000)
    (folder / "metadata.csv").write_text("".join(f"{word}|{word}|{word}\n" for word in WORDS))
    return folder


def test_stages_go_on_from_a_voice(
    recipe: Recipe, tiny_checkpoint: Path, speech: Path, tmp_path: Path
) -> None:
    voice = load_voice(tiny_checkpoint)
    recipe = replace(recipe, corpus=replace(recipe.corpus, path=str(speech)))
    run = TrainingRun(recipe, tmp_path / "run")
    warm_start(run, voice)
    run.make_corpus()
    run.fit_units()
    run.train_acoustic()
    run.assemble(tmp_path / "ckpt.pt", "fp32")
    more = load_voice(tmp_path / "ckpt.pt")
    for part in ("codec", "units", "text"):  # these were not trained
        for name, weight in getattr(voice, part).state_dict().items():
            assert torch.equal(getattr(more, part).state_dict()[name], weight), name
    moved = [
        (weight - more.soundstorm.state_dict()[name]).abs().max().item()
        for name, weight in voice.soundstorm.state_dict().items()
    ]
    assert 0 < max(moved) < 0.01  # two small steps away, not a network of its own
    with pytest.raises(CheckpointError, match=r"codec/state\.pt exists already; choose another --run"):
        warm_start(run, voice)


def test_fine_tuning_is_for_one_speaker(
    recipe: Recipe, tiny_voice: VoiceModels, speech: Path, tmp_path: Path
) -> None:
    """The shares of samples are those of the shipped recipe, the sizes those of the tiny voice."""
    shares = replace(load_recipe("finetune").acoustic, degraded_prompts=0.0, masking=Masking())
    acoustic = replace(shares, conformer=recipe.acoustic.conformer, frames=20, optimization=BRIEF)
    run = TrainingRun(
        replace(recipe, acoustic=acoustic, corpus=replace(recipe.corpus, path=str(speech))), tmp_path
    )
    warm_start(run, tiny_voice)
    run.make_corpus()
    run.fit_units()
    run.train_acoustic()
    assert (tmp_path / "acoustic" / "log.jsonl").exists()


def test_a_codec_goes_on_with_new_discriminators(
    recipe: Recipe, tiny_voice: VoiceModels, speech: Path, tmp_path: Path
) -> None:
    small = SpectrogramDiscriminatorConfig(windows=(256,), channels=4)
    codec = replace(recipe.codec, frames=25, adversarial=1.0, spectrogram_discriminators=small)
    recipe = replace(recipe, codec=codec, corpus=replace(recipe.corpus, path=str(speech)))
    run = TrainingRun(recipe, tmp_path)
    warm_start(run, tiny_voice)
    run.make_corpus()
    run.train_codec()
    before, after = tiny_voice.codec.state_dict(), run.trained_codec().state_dict()
    assert 0 < (after["head.weight"] - before["head.weight"]).abs().max() < 0.01


def test_a_decoder_learns_alone_while_codes_stay(
    recipe: Recipe, tiny_voice: VoiceModels, speech: Path, tmp_path: Path
) -> None:
    codec = replace(recipe.codec, frames=25, fixed_codes=True)
    recipe = replace(recipe, codec=codec, corpus=replace(recipe.corpus, path=str(speech)))
    run = TrainingRun(recipe, tmp_path)
    warm_start(run, tiny_voice)
    run.make_corpus()
    run.train_codec()
    before, after = tiny_voice.codec.state_dict(), run.trained_codec().state_dict()
    assert all(weight.requires_grad for weight in tiny_voice.codec.parameters())
    moved = {name.partition(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"decoder", "head"}


def test_the_units_of_a_voice_start_both_stages(
    recipe: Recipe, tiny_voice: VoiceModels, tmp_path: Path
) -> None:
    distillation = UnitDistillationRecipe(tiny_voice.config.units)
    run = TrainingRun(replace(recipe, unit_distillation=distillation), tmp_path)
    warm_start(run, tiny_voice)
    assert torch.equal(run.trained_units().centroids, tiny_voice.units.centroids)
    assert torch.equal(run.fitted_units().centroids, tiny_voice.units.centroids)


def test_the_run_of_an_older_version_goes_on(recipe: Recipe, tiny_voice: VoiceModels, tmp_path: Path) -> None:
    """Then the stage, its key and its folder were called hearing."""
    distillation = UnitDistillationRecipe(tiny_voice.config.units)
    run = TrainingRun(replace(recipe, unit_distillation=distillation), tmp_path)
    (tmp_path / "hearing").mkdir()
    warm_start(run, tiny_voice)
    assert (tmp_path / "hearing" / "state.pt").is_file()
    assert not (tmp_path / "unit_distillation").exists()
    assert torch.equal(run.trained_units().centroids, tiny_voice.units.centroids)


@pytest.mark.parametrize(
    ("part", "field", "message"),
    [
        ("codec", "latent_dim", r"codec\.model has latent_dim 8, but the recipe has 9"),
        ("units", "mels", r"units\.model has mels 40, but the recipe has 41"),
    ],
)
def test_other_networks_are_refused(
    recipe: Recipe, tiny_voice: VoiceModels, tmp_path: Path, part: str, field: str, message: str
) -> None:
    own = getattr(recipe, part)
    model = replace(own.model, **{field: getattr(own.model, field) + 1})
    with pytest.raises(CheckpointError, match=message):
        warm_start(TrainingRun(replace(recipe, **{part: replace(own, model=model)}), tmp_path), tiny_voice)
    assert not any(tmp_path.iterdir())


def test_another_kind_of_network_is_refused(recipe: Recipe, tiny_voice: VoiceModels, tmp_path: Path) -> None:
    other = replace(recipe, text=TextRecipe())
    with pytest.raises(CheckpointError, match=r"voice's text\.model has .*, but the recipe has"):
        warm_start(TrainingRun(other, tmp_path), tiny_voice)
