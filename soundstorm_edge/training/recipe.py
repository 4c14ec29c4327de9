"""Recipes: a TOML file with all settings of a training run."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from soundstorm_runtime.decoding.maskgit import DecodeOptions
from soundstorm_runtime.support.files import parse_toml, read_text
from soundstorm_runtime.support.serde import check_name, check_printable

from ..checkpoint import check_decode
from ..codec.soundstream import SoundStreamConfig
from ..codec.spectral_codec import SpectralCodecConfig
from ..data.corpus_config import CorpusConfig
from ..data.shipped_lexicon import LexiconName
from ..errors import ConfigError
from ..soundstorm.soundstorm_config import SoundStormConfig
from ..support.config import from_dict
from ..text_to_semantic.autoregressive_config import TextToSemanticConfig
from ..text_to_semantic.parallel import ParallelTextConfig
from ..units.semantic_units import PhoneticUnitsConfig
from .stages.acoustic_stage import AcousticRecipe
from .stages.codec_stage import CodecRecipe
from .stages.text_stage import TextRecipe, with_alphabets
from .stages.unit_distillation import UnitDistillationRecipe
from .stages.units_stage import UnitsRecipe

FORMER_NAMES = {"hearing": "unit_distillation"}  # of stages: recipes and runs of older versions have these


@dataclass(frozen=True)
class Recipe:
    """The settings of every stage, and of decoding.

    Args:
        name: of the recipe, and of its run and voice.
        corpus: where the speech comes from.
        codec, units, acoustic, text: the stages.
        unit_distillation: the optional stage between text and acoustic.
        decode: the decoding options that the finished voice recommends.
        lexicon: the pronunciations that text is read with.
        sample_rate: in Hz, of corpus, codec and units where they have none of their own; None leaves each
            its own default.
        notice: whose speech the voice is trained on, and under which licence; goes with the voice.

    Raises:
        ConfigError: the stages do not fit each other.
    """

    name: str
    corpus: CorpusConfig = field(default_factory=CorpusConfig)
    codec: CodecRecipe = field(default_factory=CodecRecipe)
    units: UnitsRecipe = field(default_factory=UnitsRecipe)
    acoustic: AcousticRecipe = field(default_factory=AcousticRecipe)
    text: TextRecipe = field(default_factory=TextRecipe)
    unit_distillation: UnitDistillationRecipe | None = None
    decode: DecodeOptions = field(default_factory=lambda: DecodeOptions(steps=(8, 3, 1, 1, 1, 1)))
    lexicon: LexiconName = "flite"
    sample_rate: int | None = None
    notice: str = ""

    def __post_init__(self) -> None:
        check_name("name", self.name)  # of the folder of the run
        check_printable("notice", self.notice)
        rate, codec = self.units.model.rate, self.codec.model
        if codec.sample_rate != self.corpus.sample_rate or codec.sample_rate != self.units.model.sample_rate:
            raise ConfigError("corpus, codec and units have different sample rates; give them the same one")
        if codec.sample_rate % (codec.hop * rate):
            raise ConfigError(
                f"{rate} units a second do not divide the codec's {codec.sample_rate / codec.hop:g} frames a "
                "second; change units.model.rate or the codec's hop"
            )
        if self.unit_distillation is not None:
            distilled = self.unit_distillation.model
            if isinstance(distilled, PhoneticUnitsConfig) and distilled.by_phone:
                raise ConfigError(
                    "unit_distillation.model.by_phone is true, expected false: distilled units learn tokens, "
                    "and are not clustered; set it in units.model, and leave unit_distillation out"
                )
            for name in ("sample_rate", "rate", "vocabulary"):
                expected = getattr(self.units.model, name)
                given = getattr(self.unit_distillation.model, name)
                if expected != given:
                    raise ConfigError(
                        f"unit_distillation.model.{name} is {given}, expected {expected} as in units.model"
                    )
        check_decode(self.decode, codec)
        if (weights := self.acoustic.masking.level_weights) and len(weights) != codec.levels:
            raise ConfigError(
                f"acoustic.masking.level_weights has {len(weights)} numbers, but the codec {codec.levels} "
                "levels; give one for each, or leave it out"
            )

    def soundstorm_config(self) -> SoundStormConfig:
        """Return the configuration of SoundStorm; codec and units determine its alphabets."""
        codec = self.codec.model
        return SoundStormConfig(
            levels=codec.levels,
            codebook_size=codec.codebook_size,
            vocabulary=self.units.model.vocabulary,
            conformer=self.acoustic.conformer,
            groups=codec.rq_groups if isinstance(codec, SoundStreamConfig) else 1,
        )

    def text_config(self, symbols: tuple[str, ...]) -> ParallelTextConfig | TextToSemanticConfig:
        """Return the configuration of the text stage, for the phones `symbols` of a lexicon."""
        units = self.units.model
        return with_alphabets(self.text.model, symbols, units.vocabulary, units.rate)


def shipped_recipes() -> list[str]:
    """Return the names of the recipes in the package."""
    folder = resources.files(__package__) / "recipes"
    return sorted(
        entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")
    )


def load_recipe(name: str) -> Recipe:
    """Read a recipe.

    Args:
        name: of a TOML file, or of a recipe in the package. With `base = "NAME"`, its keys replace those of
            that recipe: one in the package, or a file beside it.

    Raises:
        ConfigError: there is none, it is not TOML, or it has unknown keys or impossible values.
    """
    table = _read_table(name)
    where = f"recipe {name}"
    table = _with_sample_rate(table)
    return from_dict(Recipe, _with_decode_steps(table, where), where)


def _read_table(name: str, derived: tuple[str, ...] = ()) -> dict[str, Any]:
    """Read the table of a recipe over that of the recipe which it names as its base, if it does.

    Args:
        name: of a TOML file, or of a recipe in the package.
        derived: the recipes that are based on this one.

    Raises:
        ConfigError: a recipe cannot be read, or is its own base.
    """
    if name in derived:
        raise ConfigError(f"recipe {name} is its own base: {' -> '.join((*derived, name))}; change one base")
    if name in shipped_recipes():
        text = (resources.files(__package__) / "recipes" / f"{name}.toml").read_text(encoding="utf-8")
    else:
        try:
            text = read_text(Path(name))
        except (OSError, UnicodeDecodeError) as error:
            shipped = ", ".join(shipped_recipes())
            raise ConfigError(
                f"no recipe {name!r} ({error}); give a TOML file or one of: {shipped}"
            ) from error
    try:
        table = parse_toml(text)
    except ValueError as error:
        raise ConfigError(f"recipe {name} is not TOML: {error}") from error
    table = _with_current_names(table)
    if "base" not in table:
        return table
    if not isinstance(base := table.pop("base"), str):
        raise ConfigError(f"recipe {name}: base is {base!r}, expected the name of a recipe")
    base = base if base in shipped_recipes() else str(Path(name).parent / base)
    below = _read_table(base, (*derived, name))
    merged = _merged(below, table)
    where = f"recipe {name}"
    own, of_base = _codec(merged, where), _codec(below, where)
    is_same = (type(own), own.levels) == (type(of_base), of_base.levels)
    return merged if is_same else _without_old_codec(merged, table)


def _without_old_codec(merged: dict[str, Any], table: dict[str, Any]) -> dict[str, Any]:
    """Drop how a base decodes the levels of its codec, and weighs them, for a recipe of another codec."""
    acoustic = dict(_table(merged, "acoustic"))
    masking = dict(_table(acoustic, "masking"))
    if "level_weights" not in _table(_table(table, "acoustic"), "masking"):
        masking.pop("level_weights", None)
    return {**merged, "decode": _table(table, "decode"), "acoustic": {**acoustic, "masking": masking}}


def _codec(table: dict[str, Any], where: str) -> SpectralCodecConfig | SoundStreamConfig:
    return from_dict(CodecRecipe, _table(table, "codec"), f"{where}.codec").model


def _merged(base: dict[str, Any], table: dict[str, Any]) -> dict[str, Any]:
    """Merge the keys of a table into those of its base; a table of another `kind` replaces the base's."""
    if "kind" in table and table["kind"] != base.get("kind"):
        return table
    both = {key for key in base.keys() & table.keys() if isinstance(base[key], dict)}
    merged = {key: _merged(base[key], table[key]) for key in both if isinstance(table[key], dict)}
    return {**base, **table, **merged}


def _with_current_names(table: dict[str, Any]) -> dict[str, Any]:
    """Rename the keys of older recipes: `[hearing]`, and `read` of `[acoustic]`."""
    table = _renamed(table, FORMER_NAMES)
    if isinstance(acoustic := table.get("acoustic"), dict):
        table["acoustic"] = _renamed(acoustic, {"read": "predicted_tokens"})
    return table


def _renamed(table: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    for former, name in names.items():
        if former in table and name in table:
            raise ConfigError(f"the recipe has {former!r} and {name!r}, two names of one key; keep {name!r}")
    return {names.get(key, key): value for key, value in table.items()}


def _with_sample_rate(table: dict[str, Any]) -> dict[str, Any]:
    """Copy the recipe's `sample_rate` to every part that has none of its own."""
    if "sample_rate" not in table:
        return table
    rate = table["sample_rate"]
    filled = {**table, "corpus": {"sample_rate": rate, **_table(table, "corpus")}}
    kinds = {"codec": "spectral", "units": "spectral", "unit_distillation": "phonetic"}
    for stage, kind in kinds.items():
        if stage != "unit_distillation" or stage in table:
            model = {"kind": kind} | _table(_table(table, stage), "model")
            key = "target_sample_hz" if model["kind"] == "soundstream" else "sample_rate"
            filled[stage] = {**_table(table, stage), "model": {key: rate, **model}}
    return filled


def _with_decode_steps(table: dict[str, Any], where: str) -> dict[str, Any]:
    """Add `decode.steps` for every level of the codec to a recipe without them."""
    decode = _table(table, "decode")
    if "steps" in decode:
        return table
    return {**table, "decode": {**decode, "steps": default_steps(_codec(table, where).levels)}}


def default_steps(levels: int) -> list[int]:
    """Return the decoding steps of each level for a recipe without them: most for the coarse ones."""
    return [8, 3, *[1] * levels][:levels]


def _table(parent: dict[str, Any], key: str) -> dict[str, Any]:
    """Return a table inside another one, empty where it is missing."""
    found = parent.get(key, {})
    if not isinstance(found, dict):
        raise ConfigError(f"{key} is {found!r}, expected a table")
    return found
