"""Stage `units`: cluster a corpus's spectra into semantic tokens."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from ..config import from_plain, to_plain
from ..corpus import Corpus
from ..errors import CorpusError
from ..files import load_tensors, save_tensors
from ..semantic import SpectralUnits, SpectralUnitsConfig

UNITS = "semantic units"


@dataclass(frozen=True)
class UnitsRecipe:
    """The units, and how many utterances they are fitted on."""

    spectral: SpectralUnitsConfig = field(default_factory=SpectralUnitsConfig)
    utterances: int = 1500
    seed: int = 0


def fit_units(recipe: UnitsRecipe, corpus: Corpus, path: Path) -> SpectralUnits:
    """Fit units on training utterances and write them to `path`; read them if they are there."""
    units = SpectralUnits(recipe.spectral)
    if path.exists():
        kept = load_units(path)
        if kept.config != recipe.spectral:
            raise CorpusError(f"{path} holds units of another recipe; remove it or choose another --run")
        return kept
    chosen = corpus.select(held_out=False)[: recipe.utterances]
    features = [
        units.features(torch.from_numpy(corpus.audio(utterance))[None])[0].numpy()
        for utterance in tqdm(chosen, desc="features", unit="utterance")
    ]
    frames = np.concatenate(features)
    if len(frames) < recipe.spectral.vocabulary:
        raise CorpusError(
            f"the corpus has {len(frames)} frames, expected at least one for each of "
            f"{recipe.spectral.vocabulary} units; add speech or lower units.spectral.vocabulary"
        )
    units.fit(frames, recipe.seed)
    save_tensors(path, UNITS, {"config": to_plain(units.config), "weights": units.state_dict()})
    return units


def load_units(path: Path) -> SpectralUnits:
    """Read units that `fit_units` wrote."""
    kept = load_tensors(path, UNITS, ("config", "weights"))
    units = SpectralUnits(from_plain(SpectralUnitsConfig, kept["config"], str(path)))
    units.load_state_dict(kept["weights"])
    return units
