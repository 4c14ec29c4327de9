"""Amounts of money as they are read."""

import pytest

from soundstorm_runtime.text.sentences import normalise

CASES = [
    ("€1,50-€2,50", "one euro fifty cents to two euros fifty cents"),
    (
        "€1,50, 2,50 €, $1,500",
        "one euro fifty cents, two euros fifty cents, one thousand five hundred dollars",
    ),
    ("10 €/m², $5/m³", "ten euros per square meter, five dollars per cubic meter"),
    ("kr 100 or zl 5", "one hundred kroner or five zloty"),
    ("$3.50, $1, $.50, $0.02", "three dollars fifty cents, one dollar, fifty cents, two cents"),
    ("-$5, −$5.50, ($5)", "minus five dollars, minus five dollars fifty cents, five dollars,"),
    (
        "US$10, CA$5, A$5, HK$20, R$ 5",
        "ten u s dollars, five canadian dollars, five australian dollars, twenty hong "
        "kong dollars, five reais",
    ),
    (
        "₹500, 50¢, €7.50, £1, ¥30B",
        "five hundred rupees, fifty cents, seven euros fifty cents, one pound, thirty billion yen",
    ),
    (
        "$5 million, $1.5bn, $10k",
        "five million dollars, one point five billion dollars, ten thousand dollars",
    ),
    ("$50.00-$100.00, $5-10", "fifty dollars to one hundred dollars, five to ten dollars"),
    ("$20/mo, £10/wk, $0.5/hr", "twenty dollars per month, ten pounds per week, fifty cents per hour"),
    ("10 USD, EUR 5, 5 €", "ten u s dollars, five euros, five euros"),
    ("$1,000,000,000,000", "one trillion dollars"),
    ("a $5 bill", "a five dollar bill"),
    ("$1,234.123", "one thousand two hundred thirty four point one two three dollars"),
    (
        "₹1,00,000 and ₹12,00,000",
        "one hundred thousand rupees and one million two hundred thousand rupees",
    ),
]


@pytest.mark.parametrize(("written", "spoken"), CASES)
def test_reads_money(written: str, spoken: str) -> None:
    assert normalise(written) == spoken
