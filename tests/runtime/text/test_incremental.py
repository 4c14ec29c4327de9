"""Sentences out of fragments are those of the whole text, each as soon as it can be known."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soundstorm_runtime.errors import TextError
from soundstorm_runtime.text.incremental import Fragments, sentences_of, sentences_to_come
from soundstorm_runtime.text.sentences import split_sentences

TEXT = (
    'Dr. Smith said: "It costs 3.50, no more." He left at 5 p.m. and came back!\n\nWhy? Nobody knows... '
    "Mr. Jones, e.g., was away. No. 5 is alive (so they say). Yes, and then some, and so on"
)


@settings(deadline=None)
@given(st.lists(st.integers(1, len(TEXT)), max_size=40))
def test_fragments_give_the_sentences_of_the_text(cuts):
    cuts = [0, *sorted(set(cuts)), len(TEXT)]
    fragments = [TEXT[start:end] for start, end in itertools.pairwise(cuts)]
    found, whole = list(sentences_of(fragments, split_sentences)), split_sentences(TEXT)
    assert found == whole
    assert [one.ends_paragraph for one in found] == [one.ends_paragraph for one in whole]


def test_a_sentence_is_given_when_the_next_one_begins():
    fragments = Fragments(split_sentences)
    assert fragments.push("Good morning.") == []
    assert fragments.push(" ") == []
    assert fragments.push("How") == ["Good morning."]
    assert fragments.push(" are you? I am") == ["How are you?"]
    assert fragments.finish() == ["I am"]


def test_what_is_left_can_be_flushed_and_more_may_follow():
    fragments = Fragments(split_sentences)
    assert fragments.push("Good") == []
    assert fragments.flush() == ["Good"]
    assert fragments.flush() == []
    fragments.push("morning. ")
    (sentence,) = fragments.finish()
    assert (sentence, sentence.words[0].start) == ("morning.", 4)
    assert fragments.finish() == []


def test_a_sentence_without_an_end_is_cut_as_in_a_whole_text():
    words = "and one more word, " * 60
    found = list(sentences_of(words.split(" "), lambda text: split_sentences(text)))
    assert max(map(len, found)) <= 250
    fragments = Fragments(split_sentences)
    given = [fragments.push(f"{word} ") for word in words.split()]
    assert any(given[: len(given) // 2])
    assert [s for some in (*given, fragments.finish()) for s in some] == split_sentences(words)


def test_what_cannot_be_spoken_is_left_out_and_nothing_at_all_is_refused():
    assert list(sentences_of(["Yes. ", "No! ", "..."], split_sentences)) == ["Yes.", "No!"]
    for nothing in ([], ["", " "]):
        with pytest.raises(TextError, match="text is empty"):
            list(sentences_of(nothing, split_sentences))


def test_too_much_at_once_is_refused_and_not_left_out():
    with pytest.raises(TextError, match="text has 200001 characters, the limit is 200000"):
        list(sentences_of(["Yes. ", "No! ", "a" * 199_997], split_sentences))


def test_awaited_fragments_give_the_same():
    async def fragments():
        for word in TEXT.split(" "):
            yield f"{word} "

    async def collected():
        return [sentence async for sentence in sentences_to_come(fragments(), split_sentences)]

    assert asyncio.run(collected()) == split_sentences(TEXT)


def test_whole_sentences_are_returned_as_they_come():
    whole = split_sentences("Good morning. And good night.")

    def split(text):
        raise AssertionError(f"{text} was split again")

    found = list(sentences_of(iter(whole), split))
    assert all(one is other for one, other in zip(found, whole, strict=True))
