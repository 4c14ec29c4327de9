"""A small speaker classifier, trained on the teacher's speech."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from .distance import mel_cepstra

LOUD = 2.5  # nats below the loudest frames; what is softer is silence, which carries no voice


@dataclass(frozen=True)
class Confusion:
    """How often the speech of each speaker (rows) was taken for that of each (columns), in `speakers`' order.

    accuracy: of all, in percent.
    """

    speakers: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    accuracy: float


def timbre(audio: np.ndarray, sample_rate: int) -> list[float]:
    """Return the timbre of a voice: mean and deviation of mel cepstra 1 to 13 over the frames of speech."""
    cepstra = mel_cepstra(audio, sample_rate)
    energy = cepstra[:, 0]
    spoken = cepstra[energy >= np.quantile(energy, 0.95) - LOUD, 1:]
    return [round(float(value), 4) for value in np.concatenate([spoken.mean(axis=0), spoken.std(axis=0)])]


class SpeakerClassifier:
    """Logistic regression on `timbre`."""

    def __init__(self, timbres: Mapping[str, Sequence[Sequence[float]]]) -> None:
        self.speakers = tuple(timbres)
        rows = np.array([row for rows in timbres.values() for row in rows])
        names = [speaker for speaker, rows in timbres.items() for _ in rows]
        self._model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(rows, names)

    def confusion(self, timbres: Mapping[str, Sequence[Sequence[float]]]) -> Confusion:
        """Classify the speech of every speaker that is given."""
        counts = []
        for speaker in self.speakers:
            taken_for = list(self._model.predict(np.array(timbres[speaker])))
            counts.append(tuple(taken_for.count(other) for other in self.speakers))
        right = sum(row[place] for place, row in enumerate(counts))
        return Confusion(self.speakers, tuple(counts), round(100 * right / sum(map(sum, counts)), 2))
