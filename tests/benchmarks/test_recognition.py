"""Word error rates: what is compared, and how errors are counted."""

from __future__ import annotations

import pytest

from benchmarks.recognition import WordErrors, count_errors, heard_words, reference_words


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
    assert heard_words(heard) == expected


def test_errors_are_counted_over_all_words():
    references = ["one two three four", "five", "six seven eight"]
    heard = ["one too three four", "", "six seven and eight"]
    assert count_errors(references, heard) == WordErrors(
        words=8, substitutions=1, deletions=1, insertions=1, rate=37.5
    )


def test_no_error_where_all_was_heard():
    assert count_errors(["one two"], ["one two"]) == WordErrors(2, 0, 0, 0, 0.0)
