"""Begin a run with a voice that is trained already: every stage goes on from its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from ..checkpoint import VoiceModels
from ..data.shipped_lexicon import shipped_lexicon
from ..errors import CheckpointError
from ..support.config import to_dict
from ..support.tensor_files import save_tensors
from .pipeline import soundstorm_config, text_config
from .stages.codec_stage import with_adversaries
from .stages.units_stage import save_units
from .state import STATE

if TYPE_CHECKING:
    from .recipe import Recipe


def begin(recipe: Recipe, folder: Path, voice: VoiceModels) -> None:
    """Put the weights of a voice into the run at `folder`, where no stage has begun yet.

    A stage that is trained there goes on from them, at step 0 of its recipe; one that is not stays as it is.
    Raises `CheckpointError` where the recipe has other networks than the voice.
    """
    _check_same("codec.model", recipe.codec.model, voice.config.codec)
    _check_same("units.model", recipe.units.model, voice.config.units)
    _check_same("text.model", text_config(recipe, shipped_lexicon(recipe.lexicon)), voice.config.text)
    _check_same("acoustic.conformer", soundstorm_config(recipe), voice.config.soundstorm)
    codec = with_adversaries(voice.codec, recipe.codec)
    stages: dict[str, tuple[object, Mapping[str, Any]]] = {
        "codec": (voice.config.codec, codec.state_dict()),
        "text": (voice.config.text, voice.text.state_dict()),
        "acoustic": (voice.config.soundstorm, voice.soundstorm.state_dict()),
    }
    if recipe.hearing is not None:
        _check_same("hearing.model", recipe.hearing.model, voice.config.units)
        heard = nn.ModuleDict({"units": voice.units}).state_dict()
        stages["hearing"] = (voice.config.units, heard)
    begun = [folder / name / "state.pt" for name in stages]
    if there := [path for path in (*begun, folder / "units" / "units.pt") if path.exists()]:
        raise CheckpointError(f"{there[0]} is there already; begin in another --run, or remove {folder}")
    save_units(folder / "units" / "units.pt", voice.units, recipe.units.model)
    for path, (config, weights) in zip(begun, stages.values(), strict=True):
        save_tensors(path, STATE, {"config": to_dict(config), "step": 0, "model": dict(weights)})


def _check_same(name: str, wanted: Any, found: Any) -> None:
    """Raise `CheckpointError` that names the first field of a recipe's network that is not the voice's."""
    if wanted == found:
        return
    reason = f"{type(found).__name__}, expected {type(wanted).__name__}"
    if type(wanted) is type(found):
        other = next(f.name for f in fields(wanted) if getattr(wanted, f.name) != getattr(found, f.name))
        reason = f"{other} {getattr(found, other)!r}, but the recipe has {getattr(wanted, other)!r}"
    raise CheckpointError(
        f"the voice's {name} has {reason}; a run goes on with the networks of the voice: change the recipe"
    )
