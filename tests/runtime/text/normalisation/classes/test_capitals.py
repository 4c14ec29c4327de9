"""Acronyms, initials, and emphasis in capitals as they are read."""

import pytest

from soundstorm_runtime.text.sentences import normalise

CASES = [
    ("PDFs and NGOs", "p d f's and n g o's"),
    ("AI, API, CEO, IP, EU, in the US", "ay i, ay p i, c e o, i p, e u, in the u s"),
    ("CIA, UFO, FAQ, IDs and URLs", "c i ay, u f o, f ay q, i d's and u r l's"),
    ("AT&T, CI/CD, R&B", "ay t and t, c i c d, r and b"),
    ("NASA and NATO met UNESCO", "nasa and nato met unesco"),
    ("I NEVER said THAT", "i never said that"),
    ("DO NOT ENTER", "do not enter"),
    ("give it to US NOW", "give it to us now"),
    ("the IT department got IT done", "the i t department got it done"),
    ("U.S.A., e.s.t. and J. R. R. Tolkien", "u s ay, e s t and j r r tolkien"),
    ("vitamin A, an A and a B", "vitamin ay, an ay and a b"),
    ("C# and F# minor", "c sharp and f sharp minor"),
    ("the CEO's APIs", "the c e o's ay p i's"),
    ("E. coli", "e coli"),
    ("M&Ms and HIV/AIDS", "m and m's and h i v aids"),
    ("a JSON file, a JPEG", "a jason file, a jay peg"),
]


@pytest.mark.parametrize(("written", "spoken"), CASES)
def test_reads_capitals(written: str, spoken: str) -> None:
    assert normalise(written) == spoken
