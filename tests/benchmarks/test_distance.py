"""Distances of speech: nought for the same, known for known differences, and blind to what they should be."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.distance import mel_cepstral_distance, pesq, stoi, warped_mean
from benchmarks.speakers import SpeakerClassifier, timbre

RATE = 16_000


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    """Noise of changing loudness and colour, 3 s."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(3 * RATE)
    smooth = np.convolve(noise, np.ones(8) / 8, mode="same")
    swing = np.sin(np.arange(3 * RATE) * 2 * np.pi * 1.5 / RATE)
    return (0.05 * (1.2 + swing) * (noise * (1 - swing) + 3 * smooth * (1 + swing))).astype(np.float32)


def test_the_cheapest_path_is_found():
    costs = np.array([[1.0, 9.0, 9.0], [9.0, 2.0, 9.0], [9.0, 3.0, 0.0]])
    assert warped_mean(costs) == pytest.approx(1.0), "down the diagonal: (1 + 2 + 0) / 3"
    assert warped_mean(costs[:, ::-1]) == pytest.approx((9 + 2 + 9) / 3)
    assert warped_mean(np.array([[1.0, 2.0, 3.0]])) == pytest.approx(2.0), "one row has one path"
    assert warped_mean(np.array([[1.0, 2.0, 3.0]]).T) == pytest.approx(2.0)


def test_warping_forgives_tempo_and_loudness_but_not_colour(speech):
    slow = np.repeat(speech.reshape(-1, 160), 2, axis=0).ravel()
    assert mel_cepstral_distance(speech, speech, RATE) == 0
    assert mel_cepstral_distance(speech, speech / 2, RATE) == pytest.approx(0, abs=1e-3)
    coloured = np.convolve(speech, [1, -0.9], mode="same").astype(np.float32)
    assert mel_cepstral_distance(speech, slow, RATE) < mel_cepstral_distance(speech, coloured, RATE) / 1.5


def test_a_known_change_of_the_spectrum_has_its_size_in_decibels(speech):
    """Ten decibels up and down in waves over the mel bands are the root mean square of the wave."""
    from benchmarks import distance

    waves = 10 * np.cos(np.pi * 4 * (np.arange(distance.MELS) + 0.5) / distance.MELS)
    loud = np.zeros((5, distance.MELS)) + waves * np.log(10) / 20
    cepstra = distance.scipy.fft.dct(loud, type=2, axis=1)[:, 1 : distance.COEFFICIENTS + 1] / distance.MELS
    size = 10 / np.log(10) * np.sqrt(2) * np.linalg.norm(cepstra[0])
    assert size == pytest.approx(np.sqrt((waves**2).mean()))


def test_quality_falls_with_noise(speech):
    noisy = speech + 0.2 * np.random.default_rng(1).standard_normal(len(speech)).astype(np.float32)
    assert stoi(speech, speech, RATE) == pytest.approx(1)
    assert stoi(speech, noisy, RATE) < 0.9
    if pesq(speech, speech, RATE) is None:
        pytest.skip("the pesq library is not installed")
    assert pesq(speech, noisy, RATE) < pesq(speech, speech, RATE)
    assert pesq(speech, noisy, 8000) is None


def test_the_classifier_tells_speakers_apart_and_counts_who_was_taken_for_whom(speech):
    coloured = np.convolve(speech, [1, -0.9], mode="same").astype(np.float32)
    pieces = {"dark": np.split(speech, 10), "bright": np.split(coloured, 10)}
    timbres = {name: [timbre(piece, RATE) for piece in rows] for name, rows in pieces.items()}
    classifier = SpeakerClassifier({name: rows[:6] for name, rows in timbres.items()})
    right = classifier.confusion({name: rows[6:] for name, rows in timbres.items()})
    assert (right.speakers, right.counts, right.accuracy) == (("dark", "bright"), ((4, 0), (0, 4)), 100.0)
    swapped = {"dark": timbres["bright"][6:], "bright": timbres["dark"][6:9] + timbres["bright"][6:7]}
    wrong = classifier.confusion(swapped)
    assert (wrong.counts, wrong.accuracy) == (((0, 4), (3, 1)), 12.5)
