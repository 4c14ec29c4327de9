"""Speech of a given length."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundstorm_runtime import Voice
from soundstorm_runtime.errors import OptionError
from soundstorm_runtime.synthesis.duration import FASTEST, SLOWEST, distribute_silence, stretch_for

TEXT = "This is the first sentence. This is a second one, and it is longer. Yes."


@pytest.fixture
def voice(make_bundle):
    return Voice.load(make_bundle(), threads=1)


@pytest.fixture(params=["parallel", "autoregressive"])
def either(make_bundle, request):
    return Voice.load(make_bundle(request.param), threads=1)


@pytest.mark.parametrize("text", [TEXT, "Good morning to you."])
@pytest.mark.parametrize("times", [0.6, 0.77, 1.0, 1.3, 2.5])
def test_all_of_it_lasts_as_long_as_asked(either, text, times):
    voice = either
    duration = round(times * len(voice.speak(text)) / voice.sample_rate, 2)
    sentences = list(voice.speak_sentences(text, duration=duration))
    assert len(sentences) == text.count(".")
    assert sum(map(len, sentences)) == round(duration * voice.sample_rate)


def test_speech_is_stretched_and_not_only_padded(voice):
    usual = voice.speak("Good morning to you.")
    slow = voice.speak("Good morning to you.", duration=2 * len(usual) / voice.sample_rate)
    token = voice._acoustics.samples(1)
    assert len(np.trim_zeros(slow)) > 2 * len(usual) - 2 * token


def test_a_length_out_of_reach_is_refused_with_the_reach(voice):
    seconds = len(voice.speak("Good morning.")) / voice.sample_rate
    for duration in (0.01, 100.0, -1.0, float("nan")):
        with pytest.raises(
            OptionError, match=rf"duration is {duration:g} s, expected 0\.\d+ to .* takes {seconds:.2f}"
        ):
            voice.speak_sentences("Good morning.", duration=duration)


def test_phones_have_a_shortest_length(voice):
    (sentence,) = voice._reader.sentences("Good morning.")
    shortest = 0.04 * len(voice._reader._spelling.units(sentence))  # a token each
    with pytest.raises(OptionError, match="leaves no time for every phone; give a longer one"):
        voice.speak_sentences("Good morning.", duration=0.8 * shortest)


@given(st.integers(0, 10_000), st.integers(1, 20), st.integers(0, 900))
def test_silence_lies_between_sentences_and_is_used_up(samples, sentences, pause):
    gaps = distribute_silence(samples, [(pause if place else 0, 0) for place in range(sentences)])
    assert len(gaps) == sentences
    assert sum(before + after for before, after in gaps) == samples
    assert gaps[0][0] == 0
    assert all(after == 0 for _, after in gaps[:-1])
    assert len({before for before, _ in gaps[1:]}) <= 1
    assert sentences == 1 or gaps[-1][1] < sentences


@given(st.integers(0, 10_000), st.lists(st.tuples(st.integers(0, 900), st.integers(0, 900)), min_size=1))
def test_silence_of_any_kind_fills_the_time_exactly(samples, silences):
    fitted = distribute_silence(samples, silences)
    assert sum(map(sum, fitted)) == samples
    assert min(map(min, fitted)) >= 0
    if samples >= sum(map(sum, silences)):
        assert all(
            new >= old for both in zip(fitted, silences, strict=True) for new, old in zip(*both, strict=True)
        )


def test_the_limits_themselves_are_allowed():
    for limit in (FASTEST, SLOWEST):
        assert stretch_for(1.0 * limit + 0.3, 1.0, 0.3) == pytest.approx(limit)
