"""Lines, lists, headings, dividers and the marks of Markdown."""

from __future__ import annotations

import pytest

from soundstorm_runtime.text.sentences import split_sentences


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("We need:\n- apples\n- pears\n* plums", ["we need:", "apples", "pears", "plums"]),
        ("Chapter One\nIt was dark.", ["chapter one", "it was dark."]),
        ("1. First\n2. Second\n3) Third", ["one, first", "two, second", "three, third"]),
        ("# Title\nSome text", ["title", "some text"]),
        ("Total\n==========\nDone and ==mark==", ["total", "done and mark"]),
        ("one\n\n---\n\ntwo\n* * *\nthree", ["one", "two", "three"]),
        ("This is **very** _good_, `code` and ~~old~~", ["this is very good, code and old"]),
        ("un**believ**able", ["unbelievable"]),
        ("See [the page](https://example.com/x) now", ["see the page now"]),
        ("<p>Some <b>bold</b> text</p>", ["some bold text"]),
        (
            "One<p>two</p>three<br/>four<ul><li>five</li><li>six</li></ul>",
            ["one", "two", "three four", "five", "six"],
        ),
        ("| Name | Age |\n|------|-----|\n| Ann | 5 |", ["name, age", "ann, five"]),
        ("> quoted\n> lines", ["quoted", "lines"]),
        (
            "a line that was broken because the page is\nOnly so wide",
            ["a line that was broken because the page is only so wide"],
        ),
        ("no stop\nhere", ["no stop here"]),
        ("2 * 3 * 4 and snake_case", ["two times three times four and snake case"]),
        ("Hello,world.How are you?I am fine.", ["hello, world.", "how are you?", "i am fine."]),
    ],
)
def test_reads_lines(written: str, spoken: list[str]) -> None:
    assert [sentence.spelled for sentence in split_sentences(written)] == spoken
