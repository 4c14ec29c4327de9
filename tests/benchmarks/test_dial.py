"""Steps as a dial: every setting speaks the same sentences, and more steps are more passes."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.dial import measure, settings_of
from benchmarks.recognition import Word


class Voice:
    """Takes down what it is asked to say; a thousand samples for each pass."""

    sample_rate = 1000

    def __init__(self) -> None:
        self.asked: list[tuple[str, tuple[int, ...] | None]] = []

    def speak(self, text: str, steps: tuple[int, ...] | None = None) -> np.ndarray:
        self.asked.append((text, steps))
        return np.zeros(1000 * sum(steps or (1,)), np.float32)


class Recogniser:
    """Understands two words of speech that took two passes or more, else one."""

    def hear(self, audio: np.ndarray, sample_rate: int) -> list[Word]:
        return [Word(text, 0.0, 1.0) for text in ("good", "morning")[: 1 + (len(audio) > 1000)]]


def test_settings_have_a_number_for_each_level() -> None:
    assert settings_of((4, 1, 1))[:2] == [(1, 1, 1), (2, 1, 1)]
    assert (8, 3, 1) in settings_of((4, 1, 1))
    assert settings_of((4, 1, 0))[-1] == (16, 4, 0), "what the voice leaves out stays so"
    assert all(len(steps) == 1 for steps in settings_of((4,)))


def test_every_setting_speaks_every_text() -> None:
    voice, texts, settings = Voice(), ["Good morning.", "good morning"], [(1,), (4,)]
    one, four = measure(voice, Recogniser(), texts, settings, lambda text: np.zeros(4000, np.float32))  # type: ignore[arg-type]
    assert voice.asked[1:] == [(text, steps) for text in texts for steps in settings]
    assert (one.passes, four.passes) == (1, 4)
    assert one.word_errors.rate == pytest.approx(50.0)
    assert (four.word_errors.rate, four.interval) == (0.0, (0.0, 0.0))


def test_the_distance_from_the_teacher_is_compared_sentence_by_sentence() -> None:
    rng = np.random.default_rng(0)
    taught = {
        text: rng.normal(0, 0.1, 1000 * length).astype(np.float32) for length, text in enumerate("abcd", 2)
    }

    class Learner(Voice):
        """With two passes it says what it was taught, with one it says that in a noisy place."""

        def speak(self, text: str, steps: tuple[int, ...] | None = None) -> np.ndarray:
            return taught[text] if steps == (2,) else taught[text] + rng.normal(0, 0.1, len(taught[text]))

    one, two = measure(Learner(), Recogniser(), list(taught), [(1,), (2,)], taught.__getitem__)  # type: ignore[arg-type]
    assert two.distance == two.farther == 0
    assert one.distance == one.farther > 1
    low, high = one.farther_interval
    assert 0 < low < one.farther < high
