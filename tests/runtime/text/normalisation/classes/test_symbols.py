"""Signs that have a name as they are read."""

import pytest

from soundstorm_runtime.text.sentences import normalise

CASES = [
    ("2^-a and xα.b", "two to the power of minus ay and x alpha b"),
    ("size ≠ 0 and a ≮ b", "size not equal to zero and a not less than b"),
    ("a ≤ b, b ≥ c", "a less than or equal to b, b greater than or equal to c"),
    ("α * cos β", "alpha times cos beta"),
    ("√2, π, x²", "the square root of two, pi, x squared"),
    ("a != b -> c", "a not equal to b to c"),
    ("5 × 3 ÷ 2 ± 1", "five times three divided by two plus or minus one"),
    ("f(x) = y - z", "f of x equals y minus z"),
    ("~5, 5+", "about five, five plus"),
    ("3 < 4 & 5 > 2", "three less than four and five greater than two"),
    ("© 2024", "copyright twenty twenty four"),
    ("H⁺ ∈ Ω", "h plus in omega"),
    ("a − b, x−1, 5−3, −5", "a minus b, x minus one, five minus three, minus five"),
]


@pytest.mark.parametrize(("written", "spoken"), CASES)
def test_reads_symbols(written: str, spoken: str) -> None:
    assert normalise(written) == spoken
