"""Warm start: a run whose stages continue from the weights of a trained voice."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from torch import nn

from ..checkpoint import VoiceModels
from ..errors import CheckpointError
from ..support.config import to_dict
from ..support.tensor_files import save_tensors
from .pipeline import TrainingRun
from .stages.codec_stage import with_discriminators
from .stages.units_stage import save_units
from .state import STATE


def warm_start(run: TrainingRun, voice: VoiceModels) -> None:
    """Write the weights of a voice into a run in which no stage has begun.

    A stage that is trained there starts from them, at step 0 of its recipe; the others keep them.

    Args:
        run: its recipe has the networks of the voice.
        voice: a trained voice.

    Raises:
        CheckpointError: the recipe has other networks than the voice, or a stage has begun.
    """
    recipe, config = run.recipe, voice.config
    _check_same("codec.model", recipe.codec.model, config.codec)
    _check_same("units.model", recipe.units.model, config.units)
    _check_same("text.model", recipe.text_config(run.lexicon.symbols), config.text)
    _check_same("acoustic.conformer", recipe.soundstorm_config(), config.soundstorm)
    codec = with_discriminators(voice.codec, recipe.codec)
    stages: dict[str, tuple[object, dict[str, Any]]] = {
        "codec": (config.codec, codec.state_dict()),
        "text": (config.text, voice.text.state_dict()),
        "acoustic": (config.soundstorm, voice.soundstorm.state_dict()),
    }
    if recipe.unit_distillation is not None:
        _check_same("unit_distillation.model", recipe.unit_distillation.model, config.units)
        distilled = nn.ModuleDict({"units": voice.units})
        stages["unit_distillation"] = (config.units, distilled.state_dict())
    states = {stage: run.stage_folder(stage) / "state.pt" for stage in stages}
    units = run.stage_folder("units") / "units.pt"
    if existing := [path for path in (*states.values(), units) if path.exists()]:
        raise CheckpointError(f"{existing[0]} exists already; choose another --run, or remove {run.folder}")
    save_units(units, voice.units, recipe.units.model)
    for stage, (network, weights) in stages.items():
        save_tensors(states[stage], STATE, {"config": to_dict(network), "step": 0, "model": weights})


def _check_same(name: str, wanted: Any, found: Any) -> None:
    """Raise `CheckpointError` with the first field in which the networks of recipe and voice differ."""
    if wanted == found:
        return
    reason = f"{type(found).__name__}, but the recipe has {type(wanted).__name__}"
    if type(wanted) is type(found):
        other = next(f.name for f in fields(wanted) if getattr(wanted, f.name) != getattr(found, f.name))
        reason = f"{other} {getattr(found, other)!r}, but the recipe has {getattr(wanted, other)!r}"
    raise CheckpointError(
        f"the voice's {name} has {reason}; a run continues with the networks of the voice: change the recipe"
    )
