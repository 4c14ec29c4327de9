"""Text that is appended while it is spoken comes to the audio of a stream."""

from __future__ import annotations

import numpy as np
import pytest

from soundstorm_runtime import Voice
from soundstorm_runtime.errors import OptionError, TextError
from soundstorm_runtime.synthesis.calibration import Costs

TEXT = "It costs $100. Hello there. Good day"


@pytest.fixture
def voice(make_bundle):
    voice = Voice.load(make_bundle(streams=True), threads=1, provider="cpu")
    voice.warm_up(Costs(0.001, 0.0, 0.0005, 0.00001, 0.00001))
    return voice


def test_what_is_appended_comes_to_the_audio_of_a_stream(voice):
    speech = voice.incremental(seed=3, times=True)
    assert speech.append("It costs $1") == []
    pieces, counts = [], []
    for fragment in ("00. Hello there", ". Good day"):
        sentences = speech.append(fragment)
        counts.append(len(sentences))
        pieces += speech.speak(sentences)
    pieces += speech.speak(speech.finish())
    assert counts == [1, 1]
    audio = np.concatenate([piece.audio for piece in pieces])
    np.testing.assert_array_equal(audio, np.concatenate(list(voice.stream(TEXT, seed=3))))
    words = [word for piece in pieces for word in piece.words]
    assert words == [word for piece in voice.stream_timed(TEXT, seed=3) for word in piece.words]


def test_flush_speaks_an_incomplete_sentence_and_the_text_goes_on(voice):
    speech = voice.incremental(times=True)
    speech.append("Hello there")
    pieces = list(speech.speak(speech.flush()))
    assert speech.flush() == []
    speech.append(", and good day")
    pieces += speech.speak(speech.finish())
    words = [word for piece in pieces for word in piece.words]
    whole = "Hello there, and good day"
    assert [whole[slice(*word.span)] for word in words] == ["Hello", "there", "and", "good", "day"]
    assert [word.start for word in words] == sorted(word.start for word in words)


def test_characters_that_are_not_spoken_are_reported(voice):
    dropped = []
    speech = voice.incremental(on_dropped=dropped.append)
    list(speech.speak(speech.append("Good 漢 day. ")))
    list(speech.speak(speech.finish()))
    assert set(dropped) == {"漢"}


def test_nothing_at_all_and_bad_options_are_refused(voice, make_bundle):
    speech = voice.incremental()
    speech.append("?!")
    with pytest.raises(TextError, match="no speakable character"):
        speech.finish()
    with pytest.raises(OptionError, match="takes no duration"):
        voice.incremental(duration=3)
    with pytest.raises(OptionError, match="has no durations"):
        Voice.load(make_bundle("autoregressive")).incremental(times=True)
