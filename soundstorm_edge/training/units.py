"""Stage `units`: cluster a corpus's spectra into semantic tokens."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from ..config import to_plain
from ..corpus import Corpus
from ..errors import CheckpointError, CorpusError
from ..files import load_tensors, save_tensors
from ..semantic import SemanticTokenizer, SpectralUnitsConfig, UnitsConfig, build_units

UNITS = "semantic units"


@dataclass(frozen=True)
class UnitsRecipe:
    """The units, and how many utterances they are fitted on."""

    model: UnitsConfig = field(default_factory=SpectralUnitsConfig)
    utterances: int = 1500
    seed: int = 0


def fit_units(recipe: UnitsRecipe, corpus: Corpus, path: Path) -> SemanticTokenizer:
    """Fit units on training utterances and write them to `path`; read them if they are there."""
    units = build_units(recipe.model)
    if path.exists():
        return load_units(path, recipe.model)
    chosen = corpus.select(held_out=False)[: recipe.utterances]
    with tqdm(chosen, desc="features", unit="utterance") as bar:  # ends its line before an error's
        features = [
            units.features(torch.from_numpy(corpus.audio(utterance))[None])[0].numpy() for utterance in bar
        ]
    frames = np.concatenate(features)
    if len(frames) < recipe.model.vocabulary:
        raise CorpusError(
            f"the corpus has {len(frames)} frames, expected at least one for each of "
            f"{recipe.model.vocabulary} units; add speech or lower units.model.vocabulary"
        )
    units.fit(frames, recipe.seed)
    save_tensors(path, UNITS, {"config": to_plain(recipe.model), "weights": units.state_dict()})
    return units


def load_units(path: Path, config: UnitsConfig) -> SemanticTokenizer:
    """Read units that `fit_units` wrote for the same configuration."""
    if not path.exists():
        raise CheckpointError(f"no units at {path}; run 'soundstorm-train units' first")
    kept = load_tensors(path, UNITS, ("config", "weights"))
    if kept["config"] != to_plain(config):
        raise CheckpointError(f"{path} holds units of another recipe; remove it or choose another --run")
    units = build_units(config)
    units.load_state_dict(kept["weights"])
    return units
