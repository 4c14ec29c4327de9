"""The codec's ceiling: both sides are judged, and summed up."""

import numpy as np
import pytest

from benchmarks.codec_ceiling import Row, measure, show, sum_up
from benchmarks.judges import Naturalness
from soundstorm_edge.checkpoint import VoiceModels
from soundstorm_edge.data.utterances import Utterance


class Deaf:
    """Judges that hear nothing, and score by loudness."""

    def words(self, audio: np.ndarray, sample_rate: int) -> dict[str, str]:
        return {"base": ""}

    def naturalness(self, audio: np.ndarray, sample_rate: int) -> Naturalness:
        return Naturalness(float(np.abs(audio).max()), 3.0)


class OneSound:
    """A corpus whose every utterance is the same second of noise."""

    def audio(self, utterance: Utterance) -> np.ndarray:
        return np.random.default_rng(0).normal(0, 0.1, 16_100).astype(np.float32)


def test_both_sides_are_judged(tiny_voice: VoiceModels) -> None:
    utterance = Utterance("u", "u.flac", 1.0, "Two words.", "s", True)
    (row,) = measure(tiny_voice.codec, OneSound(), [utterance], Deaf())  # type: ignore[arg-type]
    assert row.words == 2
    assert row.errors == {"base": (2, 2)}
    assert row.overall[0] != row.overall[1]
    assert row.stoi < 1


def test_the_sum_is_over_all_words() -> None:
    rows = [
        Row(1, {"base": (0, 1)}, (3.0, 2.5), (4.0, 3.5), 0.9, 3.0),
        Row(3, {"base": (0, 0)}, (3.2, 3.1), (4.0, 3.9), 0.8, None),
    ]
    found = sum_up(rows, 100, "codec_ceiling")
    assert found.word_errors == {"base": (0.0, 25.0)}
    assert found.overall == (3.1, 2.8)
    low, high = found.overall_lost
    assert low == pytest.approx(0.1, abs=0.01)
    assert high == pytest.approx(0.5, abs=0.01)
    assert (found.stoi, found.pesq) == (0.85, 3.0)
    assert "| DNSMOS overall" in show(found)
