"""Numbers read digit by digit as they are read."""

import pytest

from soundstorm_runtime.text.sentences import normalise

CASES = [
    (
        "1.000.000, 12.345.000, 1.2.3",
        "one million, twelve million three hundred forty five thousand, one point two point three",
    ),
    ("1300 555 019", "one three zero zero, five five five, zero one nine"),
    (
        "+1 555 123 4567 or 555.123.4567",
        "plus one, five five five, one two three, four five six seven or five five five, "
        "one two three, four five six seven",
    ),
    (
        "(555) 123-4567, 555-1234",
        "five five five, one two three, four five six seven, five five five, one two three four",
    ),
    (
        "1-800-GO-2-HAUL, 1-800-555-0199",
        "one, eight hundred, go two haul, one, eight hundred, five five five, zero one nine nine",
    ),
    ("192.168.0.1:8080", "one nine two dot one six eight dot zero dot one colon eight zero eight zero"),
    (
        "+44 20 7946 0958, 020 7946 0958",
        "plus four four, two zero, seven nine four six, zero nine five eight, zero two "
        "zero, seven nine four six, zero nine five eight",
    ),
    ("v2.3.1, 1.2.3", "version two point three point one, one point two point three"),
    ("your PIN is 1234, dial 911", "your pin is one two three four, dial nine one one"),
    ("4111 1111 1111 1111", "four one one one, one one one one, one one one one, one one one one"),
]


@pytest.mark.parametrize(("written", "spoken"), CASES)
def test_reads_telephone(written: str, spoken: str) -> None:
    assert normalise(written) == spoken
