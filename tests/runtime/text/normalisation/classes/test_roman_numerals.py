"""Roman numerals as they are read."""

import pytest

from soundstorm_runtime.text.sentences import normalise

CASES = [
    ("scene ii, page iv, an xx chromosome, mix vi", "scene two, page four, an x x chromosome, mix vi"),
    ("Malcolm X and Malcolm III", "malcolm x and malcolm the third"),
    ("World War I, Elizabeth I, Type II", "world war one, elizabeth the first, type two"),
    ("Super Bowl XL, Final Fantasy VII", "super bowl forty, final fantasy seven"),
    ("Henry VIII and King Foo IV", "henry the eighth and king foo the fourth"),
    ("Chapter IX, PART XL", "chapter nine, part forty"),
    ("Pope John Paul II", "pope john paul the second"),
    ("size XL, a CD, an IV", "size x l, a c d, an i v"),
    ("I said I am", "i said i am"),
    ("Louis XIV, Act V", "louis the fourteenth, act five"),
    ("the XIX century, XXth century", "the nineteenth century, x x t h century"),
]


@pytest.mark.parametrize(("written", "spoken"), CASES)
def test_reads_roman_numerals(written: str, spoken: str) -> None:
    assert normalise(written) == spoken
