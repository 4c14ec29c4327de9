"""Pulses have the pitch that they are given, noise has none, and pieces are the whole."""

from __future__ import annotations

import numpy as np
import pytest

from soundstorm_runtime.audio.harmonic_source import HarmonicSource
from soundstorm_runtime.audio.inverse_stft import inverse_stft
from soundstorm_runtime.audio.pitch import median_pitch, pitch_track

RATE, HOP, WINDOW = 24_000, 240, 960
BINS = WINDOW // 2 + 1


def filters(hertz, noise_share=0.0, voiced=1.0):
    """Speech has less of high frequencies."""
    found = np.empty((len(hertz), 2 * BINS + 2), np.float32)
    found[:, :BINS] = 1 / (1 + (np.arange(BINS) * RATE / WINDOW / 500) ** 2)
    found[:, BINS : 2 * BINS], found[:, -2], found[:, -1] = noise_share, hertz, voiced
    return found


def sound(given):
    return inverse_stft(HarmonicSource(WINDOW, HOP, RATE).push(given)[None], WINDOW, HOP)[0]


@pytest.mark.parametrize("hertz", [80.0, 133.0, 240.0, 410.0])
def test_pulses_have_the_pitch(hertz):
    assert median_pitch(sound(filters(np.full(100, hertz))), RATE) == pytest.approx(hertz, rel=0.01)


def test_a_gliding_pitch_is_followed():
    hertz = np.linspace(110, 220, 100)
    found = pitch_track(sound(filters(hertz)), RATE, HOP)
    np.testing.assert_allclose(found[5:-5], hertz[5:-5], rtol=0.02)


@pytest.mark.parametrize("options", [{"noise_share": 1.0}, {"voiced": 0.0}])
def test_noise_has_no_pitch(options):
    assert (pitch_track(sound(filters(np.full(100, 120.0), **options)), RATE, HOP) == 0).mean() > 0.9


def test_pulses_and_noise_are_about_as_loud():
    loud = [np.std(sound(filters(np.full(200, 120.0), share))) for share in (0.0, 1.0)]
    assert 0.5 < loud[0] / loud[1] < 2.5


def test_pieces_are_the_whole():
    given = filters(np.linspace(90, 300, 50), 0.4)
    whole = HarmonicSource(WINDOW, HOP, RATE).push(given)
    source = HarmonicSource(WINDOW, HOP, RATE)
    pieces = [source.push(given[a:b]) for a, b in ((0, 1), (1, 1), (1, 20), (20, 50))]
    np.testing.assert_allclose(np.concatenate(pieces), whole, atol=1e-6)
