"""Several decodes of the same sentence, of which the most confident is spoken."""

from __future__ import annotations

import numpy as np
import pytest

from soundstorm_runtime import SynthesisOptions, Voice
from soundstorm_runtime.engines.base import Engine
from soundstorm_runtime.errors import OptionError

TEXT = "Good morning, how are you?"


@pytest.fixture
def voice(make_bundle):
    return Voice.load(make_bundle(voices={"slt": 6}), threads=1, provider="cpu")


def batches(voice, monkeypatch):
    """Return a list that gets the batch of every step from now on."""
    found, run = [], Engine.run

    def counted(engine, feeds):
        if engine.graph.name == "step":
            found.append(len(feeds["codes"]))
        return run(engine, feeds)

    monkeypatch.setattr(Engine, "run", counted)
    return found


def test_candidates_are_one_batch(voice, monkeypatch):
    sizes = batches(voice, monkeypatch)
    voice.speak(TEXT, candidates=4)
    assert set(sizes) == {4}
    sizes.clear()
    voice.speak(TEXT)
    assert set(sizes) == {1}


def test_the_result_is_that_of_one_candidate_or_a_better_one(voice, monkeypatch):
    """More candidates include those of fewer, so that the confidence never falls."""
    import soundstorm_runtime.synthesis.acoustic_stage as stage

    best, confidence = [], stage._confidence

    def kept(decoded):
        best.append(confidence(decoded).max())
        return confidence(decoded)

    monkeypatch.setattr(stage, "_confidence", kept)
    spoken = [voice.speak(TEXT, candidates=count) for count in (2, 3, 8)]
    assert best == sorted(best)
    assert best[0] < best[-1]
    assert any((audio != voice.speak(TEXT)).any() for audio in spoken)
    np.testing.assert_array_equal(voice.speak(TEXT, candidates=8), spoken[-1])


def test_streams_and_batches_choose_as_well(voice, monkeypatch):
    voice.warm_up()
    sizes = batches(voice, monkeypatch)
    streamed = np.concatenate(list(voice.stream(TEXT, candidates=3)))
    assert set(sizes) == {3}
    assert len(streamed) == len(voice.speak(TEXT))
    both = voice.speak_many([TEXT, "Good night."], candidates=3)
    np.testing.assert_allclose(both[0], voice.speak(TEXT, candidates=3), atol=1e-5)


@pytest.mark.parametrize("count", [0, 17, True, 1.5])
def test_impossible_numbers_are_refused(count):
    with pytest.raises(OptionError, match="expected a whole number from 1 to 16"):
        SynthesisOptions(candidates=count)
