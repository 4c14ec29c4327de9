"""New audio inside old audio: nothing else changes, and there is no step where they meet."""

from __future__ import annotations

import numpy as np
import pytest

from soundstorm_runtime.synthesis.editing.splice import splice

RATE = 8000


def tone(samples, phase=0.0):
    return (0.5 * np.sin(2 * np.pi * 100 * (np.arange(samples) / RATE) + phase)).astype(np.float32)


@pytest.mark.parametrize("length", [300, 400, 555])
def test_the_rest_stays_and_the_length_is_that_of_the_new_audio(length):
    audio, fresh = tone(2000), tone(100 + length + 80)
    spliced = splice(audio, 800, 1200, fresh, 100, 80, RATE)
    assert spliced.dtype == np.float32
    assert len(spliced) == 2000 - 400 + length
    np.testing.assert_array_equal(spliced[:800], audio[:800])
    np.testing.assert_array_equal(spliced[800 + length :], audio[1200:])


def test_equal_audio_stays_equal():
    audio = tone(2000)
    spliced = splice(audio, 800, 1200, audio[700:1300], 100, 100, RATE)
    np.testing.assert_allclose(spliced, audio, atol=1e-6)


@pytest.mark.parametrize("phase", [0.3, 1.0, -1.0])
def test_audio_of_another_phase_is_moved_until_it_fits(phase):
    """A tone of 100 Hz has 80 samples a turn, of which the search covers a half in either direction."""
    audio = tone(2000)
    spliced = splice(audio, 800, 1200, tone(2000, phase)[600:1400], 200, 200, RATE)
    steepest = np.abs(np.diff(audio)).max()
    assert np.abs(np.diff(spliced)).max() < 1.05 * steepest
    assert np.abs(spliced - audio).max() < 0.03


def test_at_the_ends_nothing_is_faded():
    audio, fresh = tone(500), np.full(200, 0.25, np.float32)
    whole = splice(audio, 0, 500, fresh, 0, 0, RATE)
    np.testing.assert_array_equal(whole, fresh)
    start = splice(audio, 0, 100, fresh, 0, 50, RATE)
    np.testing.assert_array_equal(start[:70], fresh[:70])
    np.testing.assert_array_equal(start[150:], audio[100:])
