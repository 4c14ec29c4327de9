"""Word times beside a recogniser's."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pocketsphinx")

from benchmarks.recognition import Word
from benchmarks.word_times import compare, errors
from soundstorm_runtime.synthesis.word_times import TimedAudio, WordTime


def test_errors_are_absolute_and_the_offset_has_a_sign():
    found = errors(np.array([0.01, -0.03, 0.02]))
    assert (found.median, found.mean_offset) == (20.0, 0.0)
    assert found.percentile_95 == pytest.approx(29.0)


class Voice:
    sample_rate = 100

    def speak_timed(self, text):
        words = (WordTime("ay", 0.1, 0.2, (0, 1), ()), WordTime("cat", 0.25, 0.5, (2, 5), ()))
        return TimedAudio(np.zeros(100, np.float32), words)


class Recogniser:
    def __init__(self, found):
        self.found = found

    def align(self, audio, sample_rate, text):
        assert text == "a cat"
        return self.found


def test_words_are_compared_one_by_one_and_nothing_is_where_none_was_aligned():
    found = [Word("a", 0.1, 0.25), Word("cat", 0.2, 0.5)]
    np.testing.assert_allclose(
        compare(Voice(), Recogniser(found), "A cat"), [(0, -0.05), (0.05, 0)], atol=1e-9
    )
    assert compare(Voice(), Recogniser([]), "A cat") == []
