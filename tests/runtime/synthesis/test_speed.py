"""Speaking rate: how long speech gets, through durations of phones or the number of tokens."""

from __future__ import annotations

import numpy as np
import pytest

from soundstorm_runtime import Voice
from soundstorm_runtime.errors import OptionError

TEXT = "This is the first sentence. This is a second one, and it is longer."


@pytest.fixture
def voice(make_bundle):
    return Voice.load(make_bundle(voices={"slt": 6}), threads=1, provider="cpu")


@pytest.fixture(params=["parallel", "autoregressive"])
def either(make_bundle, request):
    return Voice.load(make_bundle(request.param), threads=1, provider="cpu")


def length(audio):
    return sum(map(len, audio)) if isinstance(audio, list) else len(audio)


@pytest.mark.parametrize("speed", [0.5, 0.8, 1.25])
@pytest.mark.parametrize("way", ["speak", "speak_sentences", "speak_many", "stream"])
def test_speech_lasts_so_many_times_as_long(either, speed, way):
    """Twice as fast, a token a phone is a limit that this hasty voice meets."""
    voice = either
    say = {
        "speak": lambda **options: voice.speak(TEXT, **options),
        "speak_sentences": lambda **options: list(voice.speak_sentences(TEXT, **options)),
        "speak_many": lambda **options: voice.speak_many([TEXT], **options),
        "stream": lambda **options: list(voice.stream(TEXT, **options)),
    }[way]
    assert length(say(speed=speed)) == pytest.approx(length(say()) / speed, rel=0.03)


def test_pauses_between_sentences_change_too(voice):
    _, second = voice.speak_sentences("Go on. Go on.", speed=0.5)
    assert not second[: round(0.3 * voice.sample_rate)].any()
    assert second[round(0.3 * voice.sample_rate) :].any()


def test_no_speed_is_the_voices_own(voice):
    np.testing.assert_array_equal(voice.speak(TEXT), voice.speak(TEXT, speed=1))


def test_a_speed_out_of_range_is_refused_at_the_call(voice):
    for speed in (0.24, 4.1, -1, float("nan")):
        with pytest.raises(OptionError, match=r"speed is .*, expected 0\.25 to 4; 1 is the voice's own"):
            voice.speak_sentences(TEXT, speed=speed)


def test_speed_and_duration_exclude_each_other(voice):
    with pytest.raises(OptionError, match="duration and speed were both given; give one of them"):
        voice.speak(TEXT, speed=1.5, duration=3)
