"""Numbers by themselves as they are read."""

import pytest

from soundstorm_runtime.text.sentences import normalise

CASES = [
    (
        "10 000 people, 1 500 000, 12 500",
        "ten thousand people, one million five hundred thousand, twelve five hundred",
    ),
    ("1.2B, 4.7K, 12k", "one point two billion, four point seven thousand, twelve k"),
    ("4/5 stars", "four out of five stars"),
    ("the 12's and 14's", "the twelve's and fourteen's"),
    ("-5, 0.5, .5, 007", "minus five, zero point five, point five, zero zero seven"),
    ("1,234.5 and 1066", "one thousand two hundred thirty four point five and one thousand sixty six"),
    ("5 - 3 = 2, 5-3", "five minus three equals two, five to three"),
    ("pages 10-20, 10 - 20 people", "pages ten to twenty, ten to twenty people"),
    ("1/2, 3/4, 31/32, 3 2/4", "one half, three quarters, thirty one thirty seconds, three and two quarters"),
    ("24/7, 50/50, 120/80", "twenty four seven, fifty fifty, one hundred twenty over eighty"),
    ("the 1st, 22nd, 1,000th, 11st", "the first, twenty second, one thousandth, eleven s t"),
    (
        "2^8, 10⁻⁶, 3.5e-4, 6.02 x 10^23",
        "two to the power of eight, ten to the power of minus six, three point five "
        "times ten to the power of minus four, six point zero two times ten to the power of twenty three",
    ),
    ("#5, No. 5, Nos. 5", "number five, number five, numbers five"),
    ("401(k), 501(c)(3)", "four oh one k, five oh one c three"),
    ("10 / 2 = 5", "ten divided by two equals five"),
    ("in '93, 1.5bn", "in ninety three, one point five billion"),
    ("9.5/10", "nine point five out of ten"),
    ("3,5", "three, five"),
    (
        "1.000,50, 1.004,5, 1.000.000,25",
        "one thousand point five zero, one thousand four point five, one million point two five",
    ),
    ("1.234,567", "one point two three four, five hundred sixty seven"),
    ("1234567890123", "one two three four five six seven eight nine zero one two three"),
    (
        "Suite 3300, RTX 4090, ISO 9001",
        "suite thirty three hundred, r t x forty ninety, i s o nine thousand one",
    ),
    ("10/2=5, 10/2", "ten divided by two equals five, ten halves"),
    ("50-50 and 3-3", "fifty fifty and three to three"),
]


@pytest.mark.parametrize(("written", "spoken"), CASES)
def test_reads_numbers(written: str, spoken: str) -> None:
    assert normalise(written) == spoken
