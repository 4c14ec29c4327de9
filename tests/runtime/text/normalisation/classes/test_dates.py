"""Dates, decades and years as they are read."""

import pytest

from soundstorm_runtime.text.sentences import normalise

CASES = [
    ("meet on 3/4 and on 12/25", "meet on march fourth and on december twenty fifth"),
    ("cut on 1/2 of it", "cut on one half of it"),
    ("Jan-Feb and Sept.-Nov.", "january to february and september to november"),
    ("12/2024, 01/2000", "december twenty twenty four, january two thousand"),
    (
        "2024-11-22, 11/22/2024, 2024/10/01",
        "november twenty second, twenty twenty four, november twenty second, twenty "
        "twenty four, october first, twenty twenty four",
    ),
    (
        "24.12.2024 and 15.01.2020",
        "the twenty fourth of december twenty twenty four and the fifteenth of january twenty twenty",
    ),
    ("2024-03-07T10:15:00Z", "march seventh, twenty twenty four, ten fifteen u t c"),
    (
        "Nov. 22, 2024 or july 25 2012",
        "november twenty second, twenty twenty four or july twenty fifth, twenty twelve",
    ),
    (
        "the 4th of July, 25 sept., 3 May 1999",
        "the fourth of july, the twenty fifth of september, the third of may nineteen ninety nine",
    ),
    (
        "1980-85, 1980-1986 and 2019/20",
        "nineteen eighty to eighty five, nineteen eighty to nineteen eighty six and twenty nineteen twenty",
    ),
    ("the 1990s, '60s, 1960s-1980s", "the nineteen nineties, sixties, nineteen sixties to nineteen eighties"),
    ("June 5-7 and Jan-15", "june fifth to seventh and january fifteenth"),
    ("44 BC to AD 79", "forty four b c to ay d seventy nine"),
    ("between 1914-1918", "between nineteen fourteen and nineteen eighteen"),
    ("2024-03", "march twenty twenty four"),
    ("Mon, Jan 6 and Tue 7 May", "monday, january sixth and tuesday the seventh of may"),
    ("1066 AD, 44 B.C.", "ten sixty six ay d, forty four b c"),
    ("Sun and Sat are words", "sun and sat are words"),
]


@pytest.mark.parametrize(("written", "spoken"), CASES)
def test_reads_dates(written: str, spoken: str) -> None:
    assert normalise(written) == spoken
