"""Recipes are read strictly."""

from dataclasses import replace
from pathlib import Path

import pytest

from soundstorm_edge.codec.soundstream import SoundStreamConfig
from soundstorm_edge.errors import ConfigError
from soundstorm_edge.training.recipe import load_recipe, shipped_recipes
from soundstorm_runtime.decoding.maskgit import DecodeOptions


@pytest.mark.parametrize("name", shipped_recipes())
def test_shipped_recipes_are_valid(name: str) -> None:
    assert load_recipe(name).name == name


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'name = "mine"\n[codec.model]\nkind = "soundstream"\nrq_num_quantizers = 2\nrq_groups = 2\n'
        "[decode]\nsteps = [2, 1, 1, 1]\n"
    )
    recipe = load_recipe(str(path))
    assert isinstance(recipe.codec.model, SoundStreamConfig)
    assert recipe.decode.steps == (2, 1, 1, 1)
    assert (recipe.soundstorm_config().levels, recipe.soundstorm_config().groups) == (4, 2)


def test_one_sample_rate_is_enough(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        "name = 'x'\nsample_rate = 24_000\n[codec.model]\nkind = 'spectral'\nhop = 480\nwindow = 1920\n"
        "levels = 8\n[units.model]\nkind = 'phonetic'\n[unit_distillation]\n"
    )
    recipe = load_recipe(str(path))
    assert recipe.unit_distillation is not None
    rates = [recipe.corpus, recipe.codec.model, recipe.units.model, recipe.unit_distillation.model]
    assert [part.sample_rate for part in rates] == [24_000] * 4
    assert recipe.decode.steps == (8, 3, 1, 1, 1, 1, 1, 1)


def test_the_sample_rate_reaches_a_soundstream(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        "name = 'x'\nsample_rate = 24_000\n[codec.model]\nkind = 'soundstream'\nstrides = [2, 4, 6, 10]\n"
        "rq_num_quantizers = 2\n"
    )
    recipe = load_recipe(str(path))
    assert recipe.codec.model.sample_rate == 24_000
    assert recipe.decode.steps == (8, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = 'x'\nnames = 2\n", r"unknown key 'names'; valid keys: name, corpus, codec, units"),
        ("name = 'x'\n[corpus]\nvoice = 'rms'\n", r"corpus has the unknown key 'voice'; valid keys: source"),
        ("name = 'x'\n[acoustic]\nframes = 'many'\n", r"acoustic\.frames is 'many', expected a whole number"),
        ("name = 'x'\n[corpus]\nsource = 'tape'\n", r"corpus\.source is 'tape', expected 'flite' or"),
        ("name = 'x'\n[codec.model]\nlevels = 2\n", r"codec\.model\.kind is None, expected 'spectral' or"),
        ("name = 'x'\n[acoustic.conformer]\ndim = 8\ndepth = 0\n", "depth is 0, expected 1 or more"),
        (
            "name = 'x'\n[acoustic.masking]\nlevel_weights = [1.0]\n",
            "level_weights has 1 numbers, .* 6 levels",
        ),
        ("name = 'x'\n[decode]\nsteps = [1]\n", "steps has 1 numbers .* but the voice has 6 levels"),
        (
            "name = 'x'\n[codec.model]\nkind = 'soundstream'\n[decode]\nexpected = true\n",
            "decode.expected is true, expected false with this codec; the kind spectral has it",
        ),
        (
            "name = 'x'\n[unit_distillation.model]\nby_phone = true\n",
            "unit_distillation.model.by_phone is true, expected false",
        ),
        ("name = 'x'\n[corpus]\nsample_rate = 8000\n", "different sample rates"),
        ("name = 'x'\n[units.model]\nkind = 'spectral'\nrate = 49\n", "49 units a second do not divide"),
        ("[corpus]\n", "lacks the key 'name'"),
        ("name = \n", "is not TOML"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_recipe(str(path))


def test_keys_of_older_recipes_are_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        "name = 'x'\n[acoustic]\nread = 0.25\n[hearing]\nframes = 99\n[hearing.model]\ndim = 8\n"
        "kind = 'phonetic'\n[units.model]\nkind = 'phonetic'\n"
    )
    recipe = load_recipe(str(path))
    assert recipe.acoustic.predicted_tokens == 0.25
    assert recipe.unit_distillation is not None
    assert (recipe.unit_distillation.frames, recipe.unit_distillation.model.dim) == (99, 8)
    path.write_text("name = 'x'\n[hearing]\nframes = 99\n[unit_distillation]\nframes = 98\n")
    with pytest.raises(ConfigError, match="has 'hearing' and 'unit_distillation', two names of one key"):
        load_recipe(str(path))


def test_a_recipe_is_based_on_another(tmp_path: Path) -> None:
    path, again = tmp_path / "mine.toml", tmp_path / "again.toml"
    path.write_text("base = 'kokoro-multi'\nname = 'mine'\n[codec.model]\nkind = 'spectral'\ndim = 64\n")
    again.write_text(
        "base = 'mine.toml'\nname = 'again'\nsample_rate = 16_000\n"
        "[codec.model]\nkind = 'soundstream'\nrq_num_quantizers = 8\n"
    )
    base, mine, other = load_recipe("kokoro-multi"), load_recipe(str(path)), load_recipe(str(again))
    assert (mine.name, mine.notice, mine.corpus) == ("mine", base.notice, base.corpus)
    assert mine.codec == replace(base.codec, model=replace(base.codec.model, dim=64))
    assert mine.acoustic == base.acoustic
    assert other.codec.model == SoundStreamConfig(rq_num_quantizers=8)  # of another kind
    assert other.codec.optimization == base.codec.optimization
    assert (other.corpus.sample_rate, other.units.model.sample_rate) == (16_000, 16_000)
    assert mine.decode == base.decode
    assert other.decode == DecodeOptions((8, 3, 1, 1, 1, 1, 1, 1)), "the base decodes another codec"
    assert other.acoustic.masking.level_weights == ()


@pytest.mark.parametrize("name", ["ljspeech", "libritts"])
def test_recipes_of_recordings_share_what_natural_voices_learned(name: str) -> None:
    recipe, base = load_recipe(name), load_recipe("kokoro-multi")
    assert (recipe.sample_rate, recipe.lexicon, recipe.units.melody) == (24_000, "cmu", base.units.melody)
    assert recipe.acoustic.conformer.block_causal
    assert recipe.corpus.times == "align"
    assert "Kokoro" not in recipe.notice, "their teacher is another"


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("'mine.toml'", r"recipe mine\.toml is its own base: mine\.toml -> mine\.toml; change one base"),
        ("'none'", r"no recipe 'none'.*flite-rms"),
        ("3", "recipe mine.toml: base is 3, expected the name of a recipe"),
    ],
)
def test_a_base_that_is_none_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, base: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text(f"base = {base}\nname = 'mine'\n")
    with pytest.raises(ConfigError, match=message):
        load_recipe("mine.toml")


def test_a_missing_recipe_lists_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"no recipe 'nonsense'.*flite-rms"):
        load_recipe("nonsense")
