"""Several texts together: the same audio, little padding."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundstorm_runtime import Voice
from soundstorm_runtime.decoding.length_batching import MOST_WASTE, buckets
from soundstorm_runtime.engines.base import Engine
from soundstorm_runtime.errors import OptionError, TextError

TEXTS = [
    "Yes.",
    "This is the first sentence. This is a second one, and it is longer.",
    "Good morning.",
    "This is another sentence of some length.",
    "No.",
    "This is one more sentence of that length.",
]


@given(st.lists(st.integers(1, 3000), max_size=60), st.integers(1, 16), st.integers(100, 8000))
def test_batches_are_padded_little_and_hold_everything_once(lengths, most, most_padded):
    found = buckets(lengths, most, most_padded)
    assert sorted(place for batch in found for place in batch) == list(range(len(lengths)))
    for batch in found:
        padded = max(lengths[place] for place in batch) * len(batch)
        assert len(batch) == 1 or (len(batch) <= most and padded <= most_padded)
        assert sum(lengths[place] for place in batch) >= (1 - MOST_WASTE) * padded


def test_like_lengths_share_a_batch():
    assert buckets([100, 20, 99, 98, 21], 16, 4096) == [[0, 2, 3], [4, 1]]
    assert buckets([10] * 5, 2, 4096) == [[0, 1], [2, 3], [4]]


@pytest.mark.parametrize("kind", ["parallel", "autoregressive"])
def test_each_sounds_as_it_does_alone(make_bundle, kind):
    voice = Voice.load(make_bundle(kind, voices={"slt": 6, "rms": 9}), threads=1)
    voices, seeds = ["slt", "rms", None, "slt", "rms", "slt"], [0, 1, 2, 3, 0, 9]
    together = voice.speak_many(TEXTS, voice=voices, seed=seeds, steps=(3, 2, 1))
    assert len(together) == len(TEXTS)
    for text, name, seed, audio in zip(TEXTS, voices, seeds, together, strict=True):
        alone = voice.speak(text, voice=name, seed=seed, steps=(3, 2, 1))
        np.testing.assert_allclose(audio, alone, atol=1e-5)


def test_one_voice_and_seed_serve_all(make_bundle):
    voice = Voice.load(make_bundle(voices={"slt": 6}), threads=1)
    expected = [voice.speak(text, voice="slt", seed=4) for text in TEXTS[:3]]
    for found, alone in zip(voice.speak_many(TEXTS[:3], voice="slt", seed=4), expected, strict=True):
        np.testing.assert_allclose(found, alone, atol=1e-5)
    assert voice.speak_many([]) == []


class Counter(Engine):
    """Passes on to another engine, and counts the batches."""

    def __init__(self, engine):
        super().__init__(engine.graph, engine.axes)
        self.engine = engine
        self.batches = []

    def _run(self, feeds):
        self.batches.append(len(feeds["lengths"]))
        return self.engine.run(feeds)


def test_like_sentences_go_through_the_network_together(make_bundle):
    voice = Voice.load(make_bundle(), threads=1)
    counter = voice._acoustics._step = Counter(voice._acoustics._step)
    voice.speak_many(["Good morning."] * 5, seed=[1, 2, 3, 4, 5], steps=(2, 1, 1))
    assert counter.batches == [5] * 4


def test_an_int8_of_earlier_versions_takes_one_at_a_time(make_bundle):
    """It scales activations by the largest of a batch: neighbours would be heard."""
    voice = Voice.load(make_bundle(variants=["int8"]), threads=1, precision="int8")
    counter = voice._acoustics._step = Counter(voice._acoustics._step)
    voice.speak_many(["Good morning."] * 3, steps=(1, 1, 1))
    assert counter.batches == [1] * 9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": [1]}, "seed has 1 values for 2 texts; give one, or one for each"),
        ({"voice": ["slt"] * 3}, "voice has 3 values for 2 texts"),
        ({"voice": "awb"}, "voice 'awb' was asked for"),
        ({"seed": [0, -1]}, "seed is -1, expected a whole number of 0 or more"),
        ({"steps": (1, 1)}, "but the voice has 3 levels"),
    ],
)
def test_bad_options_are_refused(make_bundle, options, message):
    voice = Voice.load(make_bundle(voices={"slt": 6}), threads=1)
    with pytest.raises(OptionError, match=message):
        voice.speak_many(["Yes.", "No."], **options)
    with pytest.raises(TextError, match="no speakable character"):
        voice.speak_many(["Yes.", "..."])
