"""Stage `units`: train phonetic features, and cluster the features of a corpus into semantic tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from soundstorm_runtime.audio.pitch import pitch_track

from ...data.corpus import Corpus
from ...data.utterances import Utterance
from ...errors import CheckpointError, CorpusError
from ...support.config import to_dict
from ...support.progress import progress_bar
from ...support.tensor_files import load_tensors, save_tensors
from ...text_to_semantic.parallel import spread_over_time
from ...units.semantic_units import (
    PhoneticUnits,
    PhoneticUnitsConfig,
    SemanticTokenizer,
    SpectralUnitsConfig,
    UnitsConfig,
    build_units,
)
from ..loop import train
from ..optimization import Optimization
from ..stage import Stage
from ..state import read_state, trained_weights
from .text_stage import phone_ids

UNITS = "semantic units"
OCTAVE = 12.0  # semitones
MELODY_SPREAD = 4.0  # semitones, about the standard deviation of lively speech


@dataclass(frozen=True)
class UnitsRecipe:
    """The settings of the stage.

    Args:
        model: the units.
        utterances: number of utterances whose features are clustered.
        seed: of the clustering.
        frames: length of a training crop, in tokens; for phonetic units.
        optimization: how phonetic units are trained.
        melody: weight of the pitch, relative to the utterance's mean, in their loss. Where the corpus does
            not know the pitch, it is estimated, and relative to the crop's mean.
    """

    model: UnitsConfig = field(default_factory=SpectralUnitsConfig)
    utterances: int = 1500
    seed: int = 0
    frames: int = 150
    optimization: Optimization = field(default_factory=lambda: Optimization(steps=2000, learning_rate=1e-3))
    melody: float = 0.0


class PhoneticStage(Stage):
    """Train features to predict the phone of a frame, the progress within it, and its neighbours.

    Predicting the neighbours separates a phone's contexts; predicting the energy keeps its stress, and
    predicting the pitch the melody.
    """

    name = "units"

    def __init__(
        self, recipe: UnitsRecipe, config: PhoneticUnitsConfig, corpus: Corpus, symbols: Sequence[str]
    ) -> None:
        self.config, self.recipe, self.corpus = config, recipe, corpus
        torch.manual_seed(recipe.optimization.seed)
        seconds = recipe.frames / config.rate
        self.utterances = corpus.at_least(seconds, held_out=False)
        self.held_out = list(corpus.at_least(seconds, held_out=True)[:32])
        self.lengths = np.ones(len(self.utterances))  # all crops have one length
        self.phones = {phone: number for number, phone in enumerate(symbols)}
        self.units = PhoneticUnits(config)
        self.model = _PhoneHeads(self.units, len(self.phones), has_melody=recipe.melody > 0)
        self.hop = config.sample_rate // config.rate

    def sample(self, number: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Read a crop: audio float32 `[samples]`, phones int64 `[3, frames]`, progress float32 `[frames]`.

        The phones are the previous one, that of the frame, and the next one. Where the pitch is learned, it
        follows as `melody` returns it.
        """
        return self._crop(self.utterances[number], rng)

    def _crop(self, utterance: Utterance, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        frames = self.recipe.frames
        start = int(rng.integers(int(utterance.seconds * self.config.rate) - frames + 1))
        audio = self.corpus.audio(utterance, start * self.hop, frames * self.hop)
        targets = self._targets(utterance, start, frames)
        if not self.recipe.melody:
            return audio, *targets
        if utterance.pitch:
            whole = melody(utterance.pitch, round(utterance.seconds * self.config.rate))
            return audio, *targets, whole[start : start + frames]
        return audio, *targets, melody(pitch_track(audio, self.config.sample_rate, self.hop), frames)

    def collate(self, samples: Sequence[tuple[np.ndarray, ...]]) -> tuple[Tensor, ...]:
        """Stack each of them along a new first dimension."""
        return tuple(torch.from_numpy(np.stack(column)) for column in zip(*samples, strict=True))

    def _targets(self, utterance: Utterance, start: int, frames: int) -> tuple[np.ndarray, np.ndarray]:
        index, progress = _phones_over_time(utterance, self.config.rate, start + frames)
        ids = torch.from_numpy(phone_ids(utterance.phones, self.phones))
        beside = torch.stack([ids[(index[0] + shift).clamp(0, len(ids) - 1)] for shift in (-1, 0, 1)])
        return beside[:, start:].numpy(), progress[0, start:].numpy()

    def loss(self, model: nn.Module, batch: tuple[Tensor, ...]) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the cross entropies of the phones, and the squared errors of progress, energy, melody."""
        phones, progress, energy, pitch = model(*batch)
        parts = {"phone": phones[1], "before": phones[0], "after": phones[2], "energy": energy}
        loss = phones[1] + 0.5 * (phones[0] + phones[2] + energy) + progress
        if self.recipe.melody:
            loss, parts = loss + self.recipe.melody * pitch, parts | {"melody": pitch}
        return loss, {name: value.detach() for name, value in parts.items()}

    def evaluate(self, device: torch.device) -> dict[str, float]:
        """Return the parts of the loss on held-out utterances."""
        rng = np.random.default_rng(0)
        batch = self.collate([self._crop(utterance, rng) for utterance in self.held_out])
        _, parts = self.loss(self.model, tuple(tensor.to(device) for tensor in batch))
        return {name: value.item() for name, value in parts.items()}


class _PhoneHeads(nn.Module):
    """Linear predictors of the features in training, so that distances of features are those of phones."""

    def __init__(self, units: PhoneticUnits, phones: int, *, has_melody: bool) -> None:
        super().__init__()
        self.units, self.dropout = units, nn.Dropout(0.1)
        self.phones = nn.Linear(units.config.width, 3 * phones)
        self.rest = nn.Linear(units.config.width, 3 if has_melody else 2)  # progress, energy, melody

    def forward(
        self, audio: Tensor, phones: Tensor, progress: Tensor, melody: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Return the losses of the phones, `[3]`, of the progress, of the energy and of the melody."""
        features = self.dropout(self.units.features(audio))
        logits = self.phones(features).float().unflatten(-1, (3, -1)).permute(0, 3, 2, 1)
        losses = F.cross_entropy(logits, phones, reduction="none").mean(dim=(0, 2))
        mel = self.units.mel(audio).mean(dim=2)
        energy = (mel - mel.mean(dim=1, keepdim=True)) / (mel.std(dim=1, keepdim=True) + 0.1)
        found = self.rest(features).float()
        pitch = found.new_zeros(())
        if melody is not None:
            voiced = ~melody.isnan()
            pitch = (found[..., 2] - melody.nan_to_num())[voiced].square().sum() / voiced.sum().clamp(min=1)
        return losses, F.mse_loss(found[..., 0], progress), F.mse_loss(found[..., 1], energy), pitch


def _phones_over_time(utterance: Utterance, rate: int, frames: int) -> tuple[Tensor, Tensor]:
    """Return which of an utterance's phones a frame belongs to, and the progress within it, `[1, frames]`."""
    if not utterance.ends:
        raise CorpusError(
            f"utterance {utterance.id} has no phone times, which phonetic units need; align the corpus "
            "first, or set units.model.kind = 'spectral'"
        )
    borders = np.round(np.array((0.0, *utterance.ends)) * rate).astype(np.int64)
    return spread_over_time(torch.from_numpy(np.diff(borders))[None], frames)


def phones_of_frames(utterance: Utterance, rate: int, frames: int, ids: Mapping[str, int]) -> np.ndarray:
    """Return the id of the phone of every frame, int64 `[frames]`, of an utterance with phone times.

    Raises:
        CorpusError: the utterance has no phone times, or phones without an id.
    """
    index, _ = _phones_over_time(utterance, rate, frames)
    return phone_ids(utterance.phones, ids)[index[0].numpy()]


def melody(pitch: Sequence[float] | np.ndarray, frames: int) -> np.ndarray:
    """Return the pitch of every frame relative to the mean, in units of `MELODY_SPREAD`.

    Args:
        pitch: fundamental frequencies in Hz, evenly spaced over the frames, 0 where nothing is voiced.
        frames: how many.

    Returns:
        float32 `[frames]`, nan where nothing is voiced.
    """
    places = ((np.arange(frames) + 0.5) / frames * len(pitch)).astype(int)
    hertz = np.asarray(pitch)[places]
    semitones = OCTAVE * np.log2(np.where(hertz > 0, hertz, np.nan))
    if np.isnan(semitones).all():
        return semitones.astype(np.float32)
    return ((semitones - np.nanmean(semitones)) / MELODY_SPREAD).astype(np.float32)


def fit_units(recipe: UnitsRecipe, corpus: Corpus, path: Path, symbols: Sequence[str]) -> SemanticTokenizer:
    """Fit units to the training utterances and write them to `path`; read them where they exist.

    Args:
        recipe: the settings.
        corpus: the speech.
        path: of the file of the units; the training state lies beside it.
        symbols: all phones.

    Raises:
        CorpusError: the corpus has too little speech, or lacks the phone times of phonetic units.
    """
    if path.exists():
        return load_units(path, recipe.model)
    units = build_units(recipe.model)
    if isinstance(recipe.model, PhoneticUnitsConfig):
        stage = PhoneticStage(recipe, recipe.model, corpus, symbols)
        train(stage, recipe.optimization, path.parent)
        state = read_state(path.parent / "state.pt", stage.config, "train it again")
        stage.model.load_state_dict(trained_weights(state))  # averaged ones if there are any
        units = stage.units.eval().cpu()
    chosen = corpus.select(held_out=False)[: recipe.utterances]
    with (
        torch.no_grad(),
        progress_bar(chosen, desc="features", unit="utterance") as bar,
    ):  # ends the progress bar before an error is printed
        features = [
            units.features(torch.from_numpy(corpus.audio(utterance))[None])[0].numpy() for utterance in bar
        ]
    frames = np.concatenate(features)
    if len(frames) < recipe.model.vocabulary:
        raise CorpusError(
            f"the corpus has {len(frames)} frames, expected at least one for each of "
            f"{recipe.model.vocabulary} units; add speech or lower units.model.vocabulary"
        )
    if isinstance(units, PhoneticUnits) and units.config.by_phone:
        ids = {phone: number for number, phone in enumerate(symbols)}
        phones = [
            phones_of_frames(utterance, units.rate, len(own), ids)
            for utterance, own in zip(chosen, features, strict=True)
        ]
        units.fit_by_phone(frames, np.concatenate(phones), recipe.seed)
    else:
        units.fit(frames, recipe.seed)
    save_units(path, units, recipe.model)
    return units


def save_units(path: Path, units: SemanticTokenizer, config: UnitsConfig) -> None:
    """Write units for `load_units`."""
    save_tensors(path, UNITS, {"config": to_dict(config), "weights": units.state_dict()})


def load_units(path: Path, config: UnitsConfig) -> SemanticTokenizer:
    """Read units that `fit_units` wrote for the same configuration."""
    if not path.exists():
        raise CheckpointError(f"no units at {path}; run 'soundstorm-train units' first")
    kept = load_tensors(path, UNITS, ("config", "weights"))
    if kept["config"] != to_dict(config):
        raise CheckpointError(f"{path} holds units of another recipe; remove it or choose another --run")
    units = build_units(config)
    units.load_state_dict(kept["weights"])
    return units
