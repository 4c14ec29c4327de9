"""When words are spoken: exact to a token, in whole sentences and in streams."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from soundstorm_runtime import SynthesisOptions, Voice, read_ssml
from soundstorm_runtime.bundle.token_alignment import TokenAlignment
from soundstorm_runtime.engines.base import Engine
from soundstorm_runtime.engines.graphs import Axis
from soundstorm_runtime.errors import OptionError
from soundstorm_runtime.synthesis.calibration import Costs
from soundstorm_runtime.synthesis.word_times import MarkTime, joined

TEXT = "Dr. Smith paid $100, twice. This is a longer sentence that needs several blocks. Yes!"
SPOKEN = "doctor smith paid one hundred dollars twice".split()
QUICK = Costs(0.001, 0.0, 0.0005, 0.00001, 0.00001)


@pytest.fixture
def voice(make_bundle):
    voice = Voice.load(make_bundle(codec="spectral", streams=True), threads=1, provider="cpu")
    voice.warm_up(QUICK)
    return voice


def test_marks_have_the_time_of_their_words(voice):
    text = read_ssml(
        '<speak>One <mark name="a"/>two. <break time="1s"/><mark name="b"/>Three<mark name="c"/></speak>'
    )
    whole = voice.speak_timed(text, seed=0).words
    streamed = joined(voice.stream_timed(text, seed=0)).words
    for words in (whole, streamed):
        one, two, three = words
        assert not one.marks
        assert two.marks == (MarkTime("a", two.start),)
        assert three.marks == (MarkTime("b", three.start), MarkTime("c", three.end))
    assert three.moved(1.0).marks[0].time == three.moved(1.0).start


def test_words_carry_what_was_written(voice):
    words = voice.speak_timed(TEXT).words
    assert [word.word for word in words[:7]] == SPOKEN
    written = [TEXT[slice(*word.span)] for word in words]
    assert written[3] == written[4] == written[5]
    assert "100" in written[3]
    assert written[1] == "Smith"
    assert words[-1].word == "yes"
    assert written[-1].startswith("Yes")


@pytest.mark.parametrize("options", [{}, {"speed": 0.7, "pause": 0.5}, {"duration": 14.0}], ids=str)
def test_times_are_ordered_and_lie_within_the_audio(voice, options):
    speech = voice.speak_timed(TEXT, **options)
    np.testing.assert_array_equal(speech.audio, voice.speak(TEXT, **options))
    phones = [phone for word in speech.words for phone in word.phones]
    assert all(phone.end > phone.start for phone in phones)
    assert all(b.start >= a.end - 1e-9 for a, b in itertools.pairwise(phones))
    assert phones[0].start > 0  # the first phone is a pause
    assert phones[-1].end <= len(speech.audio) / voice.sample_rate
    for word in speech.words:
        assert (word.start, word.end) == (word.phones[0].start, word.phones[-1].end)


class Recorder(Engine):
    """Runs another engine, and keeps what it was given."""

    def __init__(self, engine):
        super().__init__(engine.graph, engine.axes)
        self.engine, self.feeds = engine, []

    def _run(self, feeds):
        self.feeds.append({name: array.copy() for name, array in feeds.items()})
        return self.engine.run(feeds)


def test_times_are_those_of_the_tokens_that_are_decoded(voice):
    """The index of the phone of every token is an input of the text decoder: count them."""
    decoder = voice._reader._stage._decoder = Recorder(voice._reader._stage._decoder)
    (word,) = voice.speak_timed("Yes.").words
    index = decoder.feeds[0]["phone_index"][0]
    token = voice._acoustics.samples(1) / voice.sample_rate
    places = [(np.flatnonzero(index == phone)[[0, -1]] + [0, 1]) * token for phone in (1, 2, 3)]
    found = [(phone.start, phone.end) for phone in word.phones]
    np.testing.assert_allclose(found, places)
    assert [phone.phone for phone in word.phones] == ["y", "eh", "s"]


def test_parts_of_a_sentence_and_pauses_are_counted(voice):
    """A sentence starts where the audio of those before it ends, behind its pause."""
    pieces = list(voice._speak_sentences(TEXT, SynthesisOptions(pause=0.3), times=True))
    alone = voice.speak_timed("Yes!", seed=0).words[0]
    start = sum(len(piece.audio) for piece in pieces[:-1]) / voice.sample_rate
    assert pieces[-1].words[0].start == pytest.approx(start + 0.3 + alone.start)


def test_each_chunk_of_a_stream_brings_the_words_that_begin_in_it(voice):
    chunks = list(voice.stream_timed(TEXT, pause=0.3))
    streamed = joined(chunks)
    np.testing.assert_array_equal(streamed.audio, np.concatenate(list(voice.stream(TEXT, pause=0.3))))
    assert streamed.words == voice.speak_timed(TEXT, pause=0.3).words
    start = 0.0
    for chunk in chunks:
        end = start + len(chunk.audio) / voice.sample_rate
        assert all(start - 1e-6 <= word.start < end for word in chunk.words)
        start = end
    assert sum(bool(chunk.words) for chunk in chunks) >= 4


def test_fragments_have_the_spans_of_the_whole_text(voice):
    fragments = [TEXT[start : start + 7] for start in range(0, len(TEXT), 7)]
    assert joined(voice.stream_timed(fragments)).words == joined(voice.stream_timed(TEXT)).words


def test_a_sentence_in_several_parts(voice):
    text = "one, two, three, four, five, six, seven, eight, nine, ten, eleven, twelve."
    stage = voice._reader._stage
    stage._encoder.axes = {**stage._encoder.axes, "phones": Axis(1, 9, 20)}
    speech = voice.speak_timed(text)
    assert [word.word for word in speech.words] == text.replace(",", "").rstrip(".").split()
    assert speech.words == tuple(sorted(speech.words, key=lambda word: word.start))
    assert joined(voice.stream_timed(text)).words == speech.words


def test_a_voice_that_does_not_know_says_so(make_bundle):
    """Such as one that was exported before there was an alignment."""
    voice = Voice.load(make_bundle("autoregressive"), threads=1)
    assert not voice.has_times
    for speak in (voice.speak_timed, voice.stream_timed):
        with pytest.raises(OptionError, match="has no durations, and no alignment of semantic tokens"):
            speak("Yes.")


@pytest.fixture
def aligned(make_bundle, monkeypatch):
    """A voice whose stage makes two tokens of each phone, and an alignment that knows."""
    voice = Voice.load(make_bundle("autoregressive", alignment=True, streams=True), threads=1)
    monkeypatch.setattr(TokenAlignment, "counts", two_each)
    voice.warm_up(QUICK)
    return voice


def two_each(self, phones, tokens):
    ends = len(tokens) * np.arange(1, len(phones) + 1) // len(phones)
    return np.diff(ends, prepend=0)


@pytest.mark.parametrize("speed", [1.0, 0.5, 1.6])
def test_an_alignment_of_tokens_with_phones_gives_times(aligned, speed):
    options = {"speed": speed, "pause": 0.3}
    speech = aligned.speak_timed(TEXT, **options)
    np.testing.assert_array_equal(speech.audio, aligned.speak(TEXT, **options))
    assert [word.word for word in speech.words[:7]] == SPOKEN
    assert [TEXT[slice(*word.span)] for word in speech.words][1] == "Smith"
    token = aligned._acoustics.samples(1) / aligned.sample_rate
    phones = [phone for word in speech.words for phone in word.phones]
    lengths = [phone.end - phone.start for phone in phones]
    np.testing.assert_allclose(lengths, 2 * token / speed, atol=token + 1e-9)
    assert phones[0].start == pytest.approx(2 * token / speed, abs=token + 1e-9)  # after the first pause
    assert joined(aligned.stream_timed(TEXT, **options)).words == speech.words
