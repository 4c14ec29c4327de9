"""Skipped and added words: both witnesses must agree, and where the teacher is misheard, neither counts."""

from __future__ import annotations

import pytest

from benchmarks.recognition import Word
from benchmarks.slips import Hearing, Slips, agreed_slips, find_slips


def hearing(words: str) -> Hearing:
    """`close 4 the 2`: words that last so many tenths of a second, 0.2 s of silence before and after."""
    found, end = [], 0.2
    for text, tenths in zip(words.split()[::2], words.split()[1::2], strict=True):
        found.append(Word(text, end, end + int(tenths) / 10))
        end = found[-1].end
    return Hearing(tuple(found), end + 0.2)


TEACHER = hearing("please 4 close 4 the 2 old 4 window 6")


@pytest.mark.parametrize(
    ("voice", "slips"),
    [
        ("please 4 close 4 the 2 old 4 window 6", Slips()),
        ("please 4 close 4 those 2 old 4 window 6", Slips()),
        # Left out, and no time for it, wherever the recogniser draws the border.
        ("please 4 close 4 the 2 window 6", Slips(skipped=("old",))),
        ("please 4 close 4 the 3 window 6", Slips(skipped=("old",))),
        ("close 4 the 2 old 4 window 6", Slips(skipped=("please",))),
        ("please 4 close 4", Slips(skipped=("the old window",))),
        ("please 4 closet 5", Slips(skipped=("close the old window",))),
        ("please 4 close 4 her 2 window 6", Slips(skipped=("the old",))),
        ("please 4 close 4 the 1 to 1 window 6", Slips()),
        ("please 4 close 4 those 0 window 6", Slips(skipped=("the old",))),
        # Not recognised, but there is time for it: it was mumbled, and went to a neighbour.
        ("please 4 close 4 the 2 window 10", Slips()),
        # Said twice, and time for both; also where the second one is misheard.
        ("please 4 close 4 the 2 old 4 old 4 window 6", Slips(added=("old",))),
        ("please 4 close 4 the 2 old 4 window 6 to 1 window 6", Slips(added=("to window",))),
        # More words, but no time for them.
        ("please 4 close 4 the 2 old 2 old 2 window 6", Slips()),
        ("please 4 close 4 the 1 the 1 old 4 window 6", Slips()),
    ],
)
def test_slips_need_both_witnesses(voice, slips):
    assert find_slips(TEACHER.words, TEACHER, hearing(voice), tempo=1.0) == slips
    assert bool(slips) == bool(slips.skipped + slips.added)


@pytest.mark.parametrize(
    ("misheard", "voice"),
    [
        ("please 4 close 4 the 2 window 10", "please 4 close 4 the 2 window 6"),
        ("please 4 close 4 the 2 cold 4 window 6", "please 4 close 4 the 2 window 6"),
        ("please 4 close 4 the 2 old 2 old 2 window 6", "please 4 close 4 the 2 old 4 old 4 window 6"),
    ],
)
def test_where_the_teacher_is_not_understood_either_there_is_no_slip(misheard, voice):
    assert find_slips(TEACHER.words, TEACHER, hearing(voice), tempo=1.0)
    assert not find_slips(TEACHER.words, hearing(misheard), hearing(voice), tempo=1.0)


def test_a_fast_voice_skips_nothing_for_being_fast():
    fast = hearing("please 2 close 2 the 1 window 5")
    assert find_slips(TEACHER.words, TEACHER, fast, tempo=1.0) == Slips(skipped=("old",))
    assert find_slips(TEACHER.words, TEACHER, fast, tempo=0.5) == Slips()


@pytest.mark.parametrize(("slipping", "slips"), [(1, Slips()), (2, Slips()), (3, Slips(skipped=("old",)))])
def test_a_slip_is_one_that_most_hearings_find(slipping, slips):
    whole, short = (
        hearing("please 4 close 4 the 2 old 4 window 6"),
        hearing("please 4 close 4 the 2 window 6"),
    )
    heard = [whole] * (4 - slipping) + [short] * slipping
    assert agreed_slips(TEACHER.words, [TEACHER] * 4, heard, tempo=1.0) == slips
