"""Numbers as words."""

import pytest

from soundstorm_runtime.text.normalisation import number_words as numbers


@pytest.mark.parametrize(
    ("read", "expected"),
    [
        (numbers.cardinal("0"), "zero"),
        (
            numbers.cardinal("1234567"),
            "one million two hundred thirty four thousand five hundred sixty seven",
        ),
        (numbers.cardinal("-1,000,000,000,000"), "minus one trillion"),
        (numbers.cardinal("3.10"), "three point one zero"),
        (numbers.cardinal("9" * 13), " ".join(["nine"] * 13)),
        (numbers.ordinal("0"), "zeroth"),
        (numbers.ordinal("12"), "twelfth"),
        (numbers.ordinal("40"), "fortieth"),
        (numbers.ordinal("1,000"), "one thousandth"),
        (numbers.year("1905"), "nineteen oh five"),
        (numbers.year("2004"), "two thousand four"),
        (numbers.year("1900"), "nineteen hundred"),
        (numbers.decade("1910"), "nineteen tens"),
        (numbers.identifier("101"), "one oh one"),
        (numbers.identifier("12345"), "one two three four five"),
        (numbers.fraction("3", "2"), "three halves"),
        (numbers.fraction("1", "3"), "one third"),
    ],
)
def test_reads_numbers(read: str, expected: str) -> None:
    assert read == expected
