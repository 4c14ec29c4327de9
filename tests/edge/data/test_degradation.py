"""Speech outside a studio: how much noise, echo and band there is, and that it is the same every time."""

import numpy as np
import pytest

from soundstorm_edge.data.degradation import band_passed, degrade, in_a_room, with_noise

RATE = 16_000


def tone(hertz: float, seconds: float = 1.0) -> np.ndarray:
    return (0.2 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE)).astype(np.float32)


def power(audio: np.ndarray) -> float:
    return float((audio.astype(np.float64) ** 2).mean())


def test_noise_is_as_loud_as_asked() -> None:
    speech = tone(200.0)
    noise = with_noise(speech, 15.0, np.random.default_rng(0)) - speech
    assert 10 * np.log10(power(speech) / power(noise)) == pytest.approx(15, abs=0.01)


@pytest.mark.parametrize(("hertz", "lost"), [(1000.0, 0.0), (100.0, 30.0), (7000.0, 20.0)])
def test_a_band_is_kept(hertz: float, lost: float) -> None:
    speech = tone(hertz)
    kept = band_passed(speech, RATE, 300.0, 3400.0)
    found = 10 * np.log10(power(speech) / power(kept))
    assert found == pytest.approx(0, abs=0.1) if not lost else found > lost


def test_an_echo_follows_the_sound() -> None:
    speech = np.concatenate([tone(300.0, 0.3), np.zeros(RATE // 2, np.float32)])
    wet = in_a_room(speech, RATE, np.random.default_rng(0))
    assert len(wet) == len(speech)
    tail = wet[int(0.31 * RATE) :]
    assert power(tail[:800]) > 100 * power(tail[-800:]) > 0


def test_the_same_audio_is_degraded_in_the_same_way() -> None:
    found = [degrade(tone(hertz), RATE) for hertz in (200.0, 200.0, 210.0)]
    assert np.array_equal(found[0], found[1])
    assert not np.allclose(found[0], found[2], atol=0.05)
    assert found[0].dtype == np.float32
    for seed in range(20):
        audio = degrade(tone(100.0 + seed), RATE)
        assert np.isfinite(audio).all()
        assert np.abs(audio).max() <= 0.991
    assert np.isfinite(degrade(np.zeros(RATE, np.float32), RATE)).all()
