"""Recipes: one TOML file that says everything about how a voice is trained."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from soundstorm_runtime.decoding.maskgit import DecodeOptions

from ..data.corpus_config import CorpusConfig
from ..data.shipped_lexicon import LexiconName
from ..errors import ConfigError
from ..support.config import from_dict
from .stages.acoustic_stage import AcousticRecipe
from .stages.codec_stage import CodecRecipe
from .stages.text_stage import TextRecipe
from .stages.unit_distillation import HearingRecipe
from .stages.units_stage import UnitsRecipe

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True)
class Recipe:
    """Every stage's settings, and how the finished voice is decoded; `hearing` may be left out.

    lexicon: which pronunciations text is read with. sample_rate: of corpus, codec and units, where they do
    not say one; None leaves each its own default.
    """

    name: str
    corpus: CorpusConfig = field(default_factory=CorpusConfig)
    codec: CodecRecipe = field(default_factory=CodecRecipe)
    units: UnitsRecipe = field(default_factory=UnitsRecipe)
    acoustic: AcousticRecipe = field(default_factory=AcousticRecipe)
    text: TextRecipe = field(default_factory=TextRecipe)
    hearing: HearingRecipe | None = None
    decode: DecodeOptions = field(default_factory=lambda: DecodeOptions(steps=(8, 3, 1, 1, 1, 1)))
    lexicon: LexiconName = "flite"
    sample_rate: int | None = None

    def __post_init__(self) -> None:
        rate, codec = self.units.model.rate, self.codec.model
        if codec.sample_rate != self.corpus.sample_rate or codec.sample_rate != self.units.model.sample_rate:
            raise ConfigError("corpus, codec and units have different sample rates; give them the same one")
        if codec.sample_rate % (codec.hop * rate):
            raise ConfigError(
                f"{rate} units a second do not divide the codec's {codec.sample_rate / codec.hop:g} frames a "
                "second; change units.model.rate or the codec's hop"
            )
        if self.hearing is not None:
            for name in ("sample_rate", "rate", "vocabulary"):
                asked, given = getattr(self.units.model, name), getattr(self.hearing.model, name)
                if asked != given:
                    raise ConfigError(f"hearing.model.{name} is {given}, expected {asked} as in units.model")
        self.decode.check_levels(codec.levels)


def shipped_recipes() -> list[str]:
    """Name the recipes inside the package."""
    folder = resources.files(__package__) / "recipes"
    return sorted(
        entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")
    )


def load_recipe(name: str) -> Recipe:
    """Read the recipe in the file `name`, or the shipped one of that name.

    Raises `ConfigError` where there is none, where it is not TOML, and for unknown keys.
    """
    if name in shipped_recipes():
        text = (resources.files(__package__) / "recipes" / f"{name}.toml").read_text(encoding="utf-8")
    else:
        try:
            text = Path(name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            shipped = ", ".join(shipped_recipes())
            raise ConfigError(
                f"no recipe {name!r} ({error}); give a TOML file or one of: {shipped}"
            ) from error
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"recipe {name} is not TOML: {error}") from error
    where = f"recipe {name}"
    return from_dict(Recipe, _with_steps(_with_sample_rate(table), where), where)


def _with_sample_rate(table: dict[str, Any]) -> dict[str, Any]:
    """Give the recipe's one `sample_rate` to every part that has none of its own."""
    if "sample_rate" not in table:
        return table
    rate = table["sample_rate"]
    filled = {**table, "corpus": {"sample_rate": rate, **_table(table, "corpus")}}
    for stage, kind in (("codec", "spectral"), ("units", "spectral"), ("hearing", "phonetic")):
        if stage != "hearing" or stage in table:
            model = {"kind": kind} | _table(_table(table, stage), "model")
            key = "target_sample_hz" if model["kind"] == "soundstream" else "sample_rate"
            filled[stage] = {**_table(table, stage), "model": {key: rate, **model}}
    return filled


def _table(parent: dict[str, Any], key: str) -> dict[str, Any]:
    """Give a table inside another one, empty where it is missing."""
    found = parent.get(key, {})
    if not isinstance(found, dict):
        raise ConfigError(f"{key} is {found!r}, expected a table")
    return found


def _with_steps(table: dict[str, Any], where: str) -> dict[str, Any]:
    """Give a recipe that says nothing of the decoding steps some for each of its codec's levels."""
    decode = _table(table, "decode")
    if "steps" in decode:
        return table
    levels = from_dict(CodecRecipe, _table(table, "codec"), f"{where}.codec").model.levels
    return {**table, "decode": {**decode, "steps": default_steps(levels)}}


def default_steps(levels: int) -> list[int]:
    """How many passes each level takes where a recipe does not say: most for the coarse ones."""
    return [8, 3, *[1] * levels][:levels]
