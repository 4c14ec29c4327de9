"""A run that begins with a trained voice."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from soundstorm_edge.checkpoint import VoiceModels, load_voice
from soundstorm_edge.errors import CheckpointError
from soundstorm_edge.recipe import Recipe
from soundstorm_edge.training import run
from soundstorm_edge.training.begin import begin
from soundstorm_edge.training.hearing import HearingRecipe
from soundstorm_edge.training.text import TextRecipe


def test_stages_go_on_from_a_voice(tiny_recipe: Recipe, tiny_checkpoint: Path, tmp_path: Path) -> None:
    voice = load_voice(tiny_checkpoint)
    folder = tmp_path / "run"
    begin(tiny_recipe, folder, voice)
    run.corpus(tiny_recipe, folder)
    run.units(tiny_recipe, folder)
    run.acoustic(tiny_recipe, folder)
    run.assemble(tiny_recipe, folder, tmp_path / "ckpt.pt", "fp32")
    more = load_voice(tmp_path / "ckpt.pt")
    for part in ("codec", "units", "text"):  # these were not trained
        for name, weight in getattr(voice, part).state_dict().items():
            assert torch.equal(getattr(more, part).state_dict()[name], weight), name
    moved = [
        (weight - more.soundstorm.state_dict()[name]).abs().max().item()
        for name, weight in voice.soundstorm.state_dict().items()
    ]
    assert 0 < max(moved) < 0.01  # two small steps away, not a network of its own
    with pytest.raises(CheckpointError, match=r"codec/state\.pt is there already; begin in another --run"):
        begin(tiny_recipe, folder, voice)


def test_a_codec_goes_on_with_new_discriminators(
    tiny_recipe: Recipe, tiny_voice: VoiceModels, tmp_path: Path
) -> None:
    recipe = replace(tiny_recipe, codec=replace(tiny_recipe.codec, adversarial=1.0))
    folder = tmp_path / "run"
    begin(recipe, folder, tiny_voice)
    run.corpus(recipe, folder)
    run.codec(recipe, folder)
    trained = run._trained_codec(recipe, folder)
    before, after = tiny_voice.codec.state_dict(), trained.state_dict()
    assert 0 < (after["head.weight"] - before["head.weight"]).abs().max() < 0.01


def test_units_that_heard_serve_both_stages(
    tiny_recipe: Recipe, tiny_voice: VoiceModels, tmp_path: Path
) -> None:
    begin(replace(tiny_recipe, hearing=HearingRecipe(tiny_voice.config.units)), tmp_path, tiny_voice)
    heard = run._trained_weights(tmp_path / "hearing", tiny_voice.config.units, "units.")
    assert torch.equal(heard["centroids"], tiny_voice.units.centroids)
    assert torch.equal(run._fitted_units(tiny_recipe, tmp_path).centroids, tiny_voice.units.centroids)


@pytest.mark.parametrize(
    ("part", "field", "message"),
    [
        ("codec", "latent_dim", r"codec\.model has latent_dim 8, but the recipe has 9"),
        ("units", "mels", r"units\.model has mels 40, but the recipe has 41"),
    ],
)
def test_other_networks_are_refused(
    tiny_recipe: Recipe, tiny_voice: VoiceModels, tmp_path: Path, part: str, field: str, message: str
) -> None:
    own = getattr(tiny_recipe, part)
    model = replace(own.model, **{field: getattr(own.model, field) + 1})
    with pytest.raises(CheckpointError, match=message):
        begin(replace(tiny_recipe, **{part: replace(own, model=model)}), tmp_path / "run", tiny_voice)
    assert not (tmp_path / "run").exists()


def test_another_kind_of_network_is_refused(
    tiny_recipe: Recipe, tiny_voice: VoiceModels, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=r"voice's text\.model has .*, but the recipe has"):
        begin(replace(tiny_recipe, text=TextRecipe()), tmp_path, tiny_voice)
