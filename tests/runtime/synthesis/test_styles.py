"""What markup asks for is in the audio: silence, speed, volume and voice; whole, in batches and streamed."""

from __future__ import annotations

import numpy as np
import pytest

from soundstorm_runtime import Voice, read_ssml
from soundstorm_runtime.errors import OptionError


@pytest.fixture
def voice(make_bundle):
    return Voice.load(make_bundle(voices={"slt": 6, "rms": 9}), threads=1, provider="cpu")


def ssml(inner):
    return read_ssml(f"<speak>{inner}</speak>")


def test_a_pause_is_silence(voice):
    one, two = voice.speak_sentences("One two [pause 0.7s] three four")
    _, usual = voice.speak_sentences("One two. Three four", pause=0.0)
    silent = round(0.7 * voice.sample_rate)
    assert not one[-silent:].any()
    assert len(two) == len(usual)
    streamed = np.concatenate(list(voice.stream("One two [pause 0.7s] three four")))
    assert len(streamed) >= silent


def test_a_volume_is_a_factor(voice):
    plain, soft = (
        voice.speak("Good morning."),
        voice.speak(ssml('<prosody volume="soft">Good morning.</prosody>')),
    )
    np.testing.assert_allclose(soft, plain / 2, atol=1e-6)
    silent = ssml('<prosody volume="silent">Good morning.</prosody>')
    assert not voice.speak(silent).any()
    assert not np.concatenate(list(voice.stream(silent))).any()


def test_the_volume_of_the_options_and_of_markup_multiply(voice):
    plain = voice.speak("Good morning.")
    soft = ssml('<prosody volume="soft">Good morning.</prosody>')
    np.testing.assert_allclose(voice.speak(soft, volume=0.5), plain / 4, atol=1e-6)
    np.testing.assert_allclose(voice.speak_many([soft], volume=0.5)[0], plain / 4, atol=1e-5)
    streamed = np.concatenate(list(voice.stream("Good morning.")))
    np.testing.assert_allclose(np.concatenate(list(voice.stream(soft, volume=0.5))), streamed / 4, atol=1e-6)
    assert np.abs(voice.speak("Good morning.", volume=4)).max() <= 1
    tokens = np.arange(9) % 4
    np.testing.assert_allclose(
        voice.speak_tokens(tokens, volume=0.5), voice.speak_tokens(tokens) / 2, atol=1e-6
    )


def test_the_pause_after_each_mark_can_be_set(voice):
    """Within a sentence, in tokens; between sentences, in place of the usual pause."""
    rate, token = voice.sample_rate, voice._acoustics.samples(1)

    def lengths(text, marks):
        return [len(audio) for audio in voice.speak_sentences(text, pause=0.1, mark_pauses=marks)]

    short, long = (lengths("One, two", {",": seconds})[0] for seconds in (0, 0.48))
    assert long - short == pytest.approx(0.48 * rate - token, abs=token)  # a pause has one token at least
    assert lengths("One, two", {";": 2}) == lengths("One, two", None)
    text, silence = "One? Two. Three? Four", round(0.1 * rate)
    one, two, three, four = lengths(text, {"?": 0})
    assert lengths(text, {"?": 1}) == [one, two + rate, three, four + rate]
    assert lengths(text, {}) == [one, two + silence, three, four + silence]
    assert lengths("One? [pause 2s] Two", {"?": 1}) == lengths("One? [pause 2s] Two", {})
    streamed = [
        sum(map(len, voice.stream("One, two? Three", mark_pauses={",": comma, "?": question})))
        for comma, question in ((0, 0), (0.48, 0), (0, 1))
    ]
    assert [length - streamed[0] for length in streamed] == [0, long - short, rate]


def test_a_rate_is_a_speed(voice):
    slow = voice.speak(ssml('<prosody rate="50%">Good morning.</prosody>'))
    np.testing.assert_array_equal(slow, voice.speak("Good morning.", speed=0.5))


def test_a_voice_speaks_its_sentences(voice):
    both = ssml('<voice name="slt">Good morning.</voice> <voice name="rms">Good morning.</voice>')
    first, _ = voice.speak_sentences(both)
    np.testing.assert_array_equal(first, voice.speak("Good morning.", voice="slt"))
    whole = np.concatenate(list(voice.speak_sentences(both)))
    np.testing.assert_allclose(voice.speak_many([both])[0], whole, atol=1e-5)
    with pytest.raises(
        OptionError, match="voice 'bob' was asked for, but the bundle has the voices slt, rms"
    ):
        voice.speak_sentences(ssml('<voice name="bob">Good morning.</voice>'))


def test_the_pause_between_paragraphs_can_be_set(voice):
    text, rate = "One. Two.\n\nThree.", voice.sample_rate

    def lengths(**options):
        return [len(audio) for audio in voice.speak_sentences(text, **options)]

    one, two, three = lengths(pause=0)
    assert lengths(pause=0.2, paragraph_pause=1) == [one, two + round(0.2 * rate), three + rate]
    assert lengths(pause=0.2) == [one, two + round(0.2 * rate), three + round(0.2 * rate)]
    streamed, usual = (
        sum(map(len, voice.stream(text, pause=0, paragraph_pause=seconds))) for seconds in (1, None)
    )
    assert streamed - usual == rate
