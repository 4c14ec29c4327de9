"""Word error rates: what is compared, and how errors are counted."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.recognition import (
    SHIFTS,
    Recogniser,
    Word,
    WordErrors,
    count_errors,
    heard_words,
    reference_words,
)
from soundstorm_edge.data.sources.flite import speak


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Well, the soup is hot!", "well the soup is hot"),
        ("She paid $7.50 (twice).", "she paid seven dollars fifty cents twice"),
        ("On June 12, 1985", "on june twelfth nineteen eighty five"),
        ("It isn't the farmer's.", "it isn't the farmer's"),
        ("At 8 a.m. or 9 p.m.", "at eight am or nine pm"),
    ],
)
def test_references_are_spelled_out_as_the_voice_speaks_them(text, expected):
    assert reference_words(text) == expected


@pytest.mark.parametrize(
    ("heard", "expected"),
    [
        ("at eight p. m. or nine a. m.", "at eight pm or nine am"),
        ("at eight pm i am at home", "at eight pm i am at home"),
        ("the twenty-first of may", "the twenty first of may"),
        ("it isn't the farmer's", "it isn't the farmer's"),
        ("", ""),
    ],
)
def test_what_was_heard_comes_in_the_same_form(heard, expected):
    words = [Word(word, place, place + 1) for place, word in enumerate(heard.split())]
    assert " ".join(word.text for word in heard_words(words)) == expected


def test_words_keep_their_times_when_they_are_joined_or_parted():
    found = [Word("Twenty-one", 0.0, 1.0), Word("p.", 1.0, 1.25), Word("m.", 1.25, 1.5)]
    assert heard_words(found) == [Word("twenty", 0.0, 0.5), Word("one", 0.5, 1.0), Word("pm", 1.0, 1.5)]


@pytest.mark.flite
def test_flite_is_heard_and_aligned():
    sound = speak("please close the window", "rms")
    audio, rate = sound.audio, sound.rate
    recogniser = Recogniser()
    known = recogniser.align(audio, rate, "please close the window")
    heard = recogniser.hear(audio, rate)
    assert [word.text for word in heard] == ["please", "close", "the", "window"]
    assert [word.text for word in known] == [word.text for word in heard]
    assert known[1].end == pytest.approx(sound.ends[8], abs=0.06), "close ends with its z"
    assert recogniser.align(audio, rate, "please zzxy") == [], "a word that it does not know"
    assert recogniser.hear(audio, rate) == heard, "nothing is kept from one utterance to the next"
    assert [[word.text for word in words] for words in recogniser.hear_shifted(audio, rate)] == [
        ["please", "close", "the", "window"]
    ] * len(SHIFTS)


def test_it_hears_the_same_sound_begin_elsewhere_in_its_frames(monkeypatch):
    recogniser, sounds = Recogniser(), []
    monkeypatch.setattr(recogniser, "hear", lambda audio, rate: sounds.append((audio, rate)))
    recogniser.hear_shifted(np.ones(4800, np.float32), 48_000)
    assert [(np.flatnonzero(audio)[0], len(audio), rate) for audio, rate in sounds] == [
        (0, 1600, 16_000), (80, 1680, 16_000)
    ]  # fmt: skip


def test_errors_are_counted_over_all_words():
    references = ["one two three four", "five", "six seven eight"]
    heard = ["one too three four", "", "six seven and eight"]
    assert count_errors(references, heard) == WordErrors(
        words=8, substitutions=1, deletions=1, insertions=1, rate=37.5
    )


def test_no_error_where_all_was_heard():
    assert count_errors(["one two"], ["one two"]) == WordErrors(2, 0, 0, 0, 0.0)
