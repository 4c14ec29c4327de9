"""Forced alignment of corpora without phone times, with models trained on the corpus itself.

Every phone is a hidden Markov model of three states, each a Gaussian over mel cepstra. At first the phones of
an utterance share its frames equally. Then, in turn, the Gaussians are fitted to the frames of their states,
and the frames are reassigned along the likeliest path (Viterbi training: Rabiner, "A tutorial on hidden
Markov models", 1989, section VI). Neither speech with times nor a trained network is needed; a few minutes of
speech suffice.

A pause may be skipped, and then has no duration: the text shows where a speaker could pause, not where one
did. Pauses where the text has none are assigned to the phones beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from soundstorm_runtime.text.lexicon import PAUSE, Lexicon

from ..errors import CorpusError
from ..nn.mel import LogMel
from ..support.progress import progress_bar
from .utterances import Utterance

STATES = 3  # of a phone: start, middle and end
HOP_SECONDS, WINDOW_SECONDS = 0.005, 0.02
MELS, CEPSTRA = 40, 13
LEAST_VARIANCE = 0.01  # of a Gaussian, relative to that of all frames


def align(
    utterances: Sequence[Utterance],
    load: Callable[[Utterance], np.ndarray],
    sample_rate: int,
    lexicon: Lexicon,
    *,
    fit_on: int = 300,
    rounds: int = 10,
) -> list[Utterance]:
    """Return the utterances with `phones` and `ends`.

    Args:
        utterances: with phones, or with text that the lexicon turns into phones.
        load: reads the audio of an utterance, float32 `[samples]`.
        sample_rate: of the audio, in Hz.
        lexicon: the pronunciations.
        fit_on: number of utterances that the models are trained on.
        rounds: of training; ten cost about as much as aligning ten times as many utterances.

    Raises:
        CorpusError: an utterance is too short for its phones.
    """
    named = [u if u.phones else replace(u, phones=tuple(lexicon.phones(u.text))) for u in utterances]
    front_end = FrontEnd(sample_rate)
    models = PhoneModels(sorted({_as_modelled(phone) for u in named for phone in u.phones}))
    fitted = [
        (u, front_end(load(u))) for u in progress_bar(named[:fit_on], desc="features", unit="utterance")
    ]
    paths = [_even_path(len(frames), len(u.phones)) for u, frames in fitted]
    for _ in progress_bar(range(rounds), desc="phone models", unit="round"):
        models.fit([(u.phones, frames, path) for (u, frames), path in zip(fitted, paths, strict=True)])
        paths = [models.path(u, frames) for u, frames in fitted]
    return [_timed(u, models.path(u, front_end(load(u)))) for u in progress_bar(named, desc="alignment")]


class FrontEnd:
    """Audio to cepstra with their first and second derivatives."""

    def __init__(self, sample_rate: int) -> None:
        self._mel = LogMel(
            sample_rate, round(HOP_SECONDS * sample_rate), round(WINDOW_SECONDS * sample_rate), MELS
        )
        band = np.arange(MELS)[:, None] + 0.5
        self._cosines = np.cos(np.pi / MELS * band * np.arange(CEPSTRA)) * (2 / MELS) ** 0.5

    def __call__(self, audio: np.ndarray) -> np.ndarray:
        """Map float32 `[samples]` to float64 `[frames, 3 * CEPSTRA]`.

        The mean of the utterance, which depends on voice and room, is subtracted.
        """
        cepstra = self._mel(torch.from_numpy(audio)[None])[0].double().numpy() @ self._cosines
        cepstra -= cepstra.mean(axis=0)
        speed = 2 * np.gradient(cepstra, axis=0)
        return np.concatenate([cepstra, speed, 2 * np.gradient(speed, axis=0)], axis=1)


class PhoneModels:
    """A Gaussian with diagonal covariance for every state of every phone."""

    def __init__(self, symbols: Sequence[str]) -> None:
        self._first = {symbol: STATES * place for place, symbol in enumerate(symbols)}
        width = 3 * CEPSTRA
        self._mean = np.zeros((STATES * len(symbols), width))
        self._variance = np.ones((STATES * len(symbols), width))

    def fit(self, spoken: Sequence[tuple[Sequence[str], np.ndarray, np.ndarray]]) -> None:
        """Fit the Gaussians to phones, frames `[frames, width]` and paths `[frames]` through their states."""
        frames = np.concatenate([frames for _, frames, _ in spoken])
        states = np.concatenate([self._states(phones)[path] for phones, _, path in spoken])
        overall = frames.var(axis=0)
        for state in range(len(self._mean)):
            own = frames[states == state]
            if len(own) > 1:  # a state with too few frames keeps its Gaussian
                self._mean[state] = own.mean(axis=0)
                self._variance[state] = np.maximum(own.var(axis=0), LEAST_VARIANCE * overall)

    def path(self, utterance: Utterance, frames: np.ndarray) -> np.ndarray:
        """Return the likeliest path: the index among all states of its phones, int64 `[frames]`."""
        pauses = np.array([phone.startswith(PAUSE) for phone in utterance.phones])
        needed = STATES * int((~pauses).sum())
        if len(frames) < needed:
            raise CorpusError(
                f"utterance {utterance.id} lasts {utterance.seconds:.2f} s, expected at least "
                f"{needed * HOP_SECONDS:.2f} s for its {len(pauses)} phones; check its text, or remove it"
            )
        return likeliest_path(self._log_likelihoods(utterance.phones, frames), pauses)

    def _states(self, phones: Sequence[str]) -> np.ndarray:
        first = np.array([self._first[_as_modelled(phone)] for phone in phones])
        return (first[:, None] + np.arange(STATES)).ravel()

    def _log_likelihoods(self, phones: Sequence[str], frames: np.ndarray) -> np.ndarray:
        """Return the log likelihood of every frame in every state, `[frames, states]`, up to a constant."""
        states, places = np.unique(self._states(phones), return_inverse=True)
        mean, precision = self._mean[states], 1 / self._variance[states]
        constant = (np.log(precision) - mean**2 * precision).sum(axis=1) / 2
        scores = constant + frames @ (mean * precision).T - frames**2 @ (precision / 2).T
        return scores[:, places]


def likeliest_path(scores: np.ndarray, pauses: np.ndarray) -> np.ndarray:
    """Return the best path through `scores`, int64 `[frames]` (Viterbi).

    The path stays in a state or moves to the next one, and may skip the states of a pause. It begins with the
    first phone and ends with the last, or beside them where those are pauses.

    Args:
        scores: `[frames, states]`.
        pauses: bool `[phones]`; no two pauses are neighbours.
    """
    count, states = scores.shape
    after_pause = np.repeat(np.concatenate([[False], pauses[:-1]]), STATES)
    after_pause[np.arange(states) % STATES > 0] = False  # a phone begins with its first state
    total = np.full(states, -np.inf)
    total[[0, STATES] if pauses[0] and len(pauses) > 1 else [0]] = 0
    total += scores[0]
    came = np.zeros((count, states), np.int64)  # by how many states the path advanced
    leap = np.full(states, -np.inf)
    step = np.full(states, -np.inf)
    for frame in range(1, count):
        step[1:] = total[:-1]
        leap[STATES + 1 :] = np.where(after_pause[STATES + 1 :], total[: -STATES - 1], -np.inf)
        before = np.maximum(step, leap)
        came[frame] = np.where(total >= before, 0, np.where(step >= leap, 1, STATES + 1))
        total = np.maximum(total, before) + scores[frame]
    path = np.empty(count, np.int64)
    path[-1] = states - 1
    if pauses[-1] and states > STATES and total[-1 - STATES] > total[-1]:
        path[-1] -= STATES
    for frame in range(count - 1, 0, -1):
        path[frame - 1] = path[frame] - came[frame, path[frame]]
    return path


def _as_modelled(phone: str) -> str:
    """Return the phone whose model a phone shares: all pauses sound alike."""
    return PAUSE if phone.startswith(PAUSE) else phone


def _even_path(frames: int, phones: int) -> np.ndarray:
    return np.arange(frames) * (phones * STATES) // frames


def _timed(utterance: Utterance, path: np.ndarray) -> Utterance:
    """Add the end of each phone from the path; that of the last phone is the end of the utterance."""
    last = len(utterance.phones) - 1
    frames = np.searchsorted(path // STATES, np.arange(last), side="right")
    ends = (*(round(float(end), 4) for end in frames * HOP_SECONDS), utterance.seconds)
    return replace(utterance, ends=ends)
