"""Every spoken word has the span of the original text that it was read from."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soundstorm_runtime.errors import TextError
from soundstorm_runtime.text.normalisation.source_text import SourceText
from soundstorm_runtime.text.sentences import split_sentences


def test_an_edit_keeps_the_places_of_other_characters() -> None:
    source = SourceText("a½b").sub(re.compile("½"), " 1/2").erase(re.compile("(a)"))
    assert source.text == " 1/2b"
    assert [source.span(place, place + 1) for place in range(5)] == [(1, 2)] * 4 + [(2, 3)]
    assert source.span(1, 5) == (1, 3)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("He paid $100.", ["He", "paid", "$100", "$100", "$100"]),
        ("na\u200bïve 2½ kg!", ["na\u200bïve", "2½ kg", "2½ kg", "2½ kg", "2½ kg", "2½ kg"]),
        ("**Bold** text — “yes”", ["Bold", "text", "yes"]),
        ("- one\n- two", ["one", "two"]),
    ],
)
def test_words_have_their_places_in_the_text(text: str, pieces: list[str]) -> None:
    words = [word for sentence in split_sentences(text) for word in sentence.words]
    assert [text[word.start : word.end] for word in words] == pieces


@settings(deadline=None)
@given(st.text())
def test_places_of_any_text_are_in_it_and_in_order(text: str) -> None:
    try:
        words = [word for sentence in split_sentences(text) for word in sentence.words]
    except TextError:
        return
    assert all(0 <= word.start < word.end <= len(text) for word in words)
    assert [word.start for word in words] == sorted(word.start for word in words)
