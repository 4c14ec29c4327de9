"""Abbreviations and titles as they are read."""

import pytest

from soundstorm_runtime.text.sentences import normalise

CASES = [
    ("p. 5, pp. 5-10", "page five, pages five to ten"),
    ("TL;DR: no", "t l d r: no"),
    ("e.g.this or i.e.that", "e g this or i e that"),
    ("№ 5, the №", "number five, the number"),
    ("Mr Hill, Mrs Lane and Ms Dale", "mister hill, missus lane and miz dale"),
    ("Prof Adams vs Gen Lee", "professor adams versus general lee"),
    ("Dr. Evil of St. Paul", "doctor evil of saint paul"),
    ("Sen. Ford et al. agreed", "senator ford et al agreed"),
    ("approx. 5 of them, etc.", "approximately five of them, etcetera"),
    ("see figs. 2 and 3", "see figures two and three"),
    ("Mon-Fri, Sat. 9", "monday to friday, saturday nine"),
    ("w/o sugar and w/ milk", "without sugar and with milk"),
    ("I said no. 5 came, but No. 6 stayed", "i said number five came, but number six stayed"),
    ("Elm St. and Oak Dr. meet", "elm street and oak drive meet"),
    ("Sammy Davis Jr. sang", "sammy davis junior sang"),
    ("Gen Z likes it", "gen z likes it"),
    ("a PhD in CS, N/A", "a p h d in c s, n ay"),
    ("Ask Mr. T", "ask mister t"),
    ("WWII and WWI", "world war two and world war one"),
    ("Apt 4B, Fig 3 of Vol 2", "apartment four b, figure three of volume two"),
]


@pytest.mark.parametrize(("written", "spoken"), CASES)
def test_reads_abbreviations(written: str, spoken: str) -> None:
    assert normalise(written) == spoken
