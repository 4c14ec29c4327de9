"""The benchmark of peers: what counts as a word, and how contestants are summed up."""

import pytest

from benchmarks.judges import said
from benchmarks.peers import Heard, Result, show, sum_up
from benchmarks.report import circumstances


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("It's 5 o'clock!", "its five oclock"),
        ("The grey colour, OK?", "the gray color okay"),
        ("twenty-one", "twenty one"),
    ],
)
def test_spelling_does_not_count(written: str, words: str) -> None:
    assert said(written) == words


def _heard(text: str, heard: str) -> Heard:
    return Heard(text, took=0.1, lasts=2.0, heard={"base": said(heard)}, overall=3.0, p808=3.5)


def test_a_contestant_is_summed_up() -> None:
    one = sum_up("ours", 24_000, [_heard("A big dog.", "a big dog"), _heard("It ran.", "it ran away")])
    assert one.word_errors == {"base": 20.0}
    low, high = one.word_error_intervals["base"]
    assert low == 0
    assert high == 50
    assert (one.overall, one.p808, one.rtf) == (3.0, 3.5, 0.05)
    shown = show(Result(circumstances("peers"), 2, 2, [one]))
    assert "| ours | 20.0" in shown
    assert "24 |" in shown
