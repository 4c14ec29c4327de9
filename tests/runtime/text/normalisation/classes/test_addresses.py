"""Postal addresses as they are read."""

import pytest

from soundstorm_runtime.text.sentences import normalise

CASES = [
    (
        "2788 San Tomas Expy, Santa Clara, CA 95051",
        "twenty seven eighty eight san tomas expressway, santa clara, california nine five zero five one",
    ),
    ("12 S 1st st", "twelve south first street"),
    ("1211 E Arques Ave", "twelve eleven east arques avenue"),
    ("221B Baker St., London", "two twenty one b baker street, london"),
    ("1600 Pennsylvania Avenue", "sixteen hundred pennsylvania avenue"),
    ("Austin, TX and Albany, NY.", "austin, texas and albany, new york."),
    ("P.O. Box 12", "p o box twelve"),
    (
        "350 5th Ave, New York, NY 10118",
        "three fifty fifth avenue, new york, new york one zero one one eight",
    ),
    (
        "1600 Pennsylvania Ave NW, Washington, DC 20500",
        "sixteen hundred pennsylvania avenue northwest, washington, d c two zero five zero zero",
    ),
    ("45 W 34th St. W, New York", "forty five west thirty fourth street west, new york"),
    ("77 Massachusetts Ave, Cambridge, MA.", "seventy seven massachusetts avenue, cambridge, massachusetts."),
]


@pytest.mark.parametrize(("written", "spoken"), CASES)
def test_reads_addresses(written: str, spoken: str) -> None:
    assert normalise(written) == spoken
