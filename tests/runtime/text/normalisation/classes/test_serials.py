"""Names of letters and digits as they are read."""

import pytest

from soundstorm_runtime.text.sentences import normalise

CASES = [
    ("B2B, mp3, x86, 2FA", "b two b, m p three, x eighty six, two f ay"),
    ("A1234, C24, F-16", "ay twelve thirty four, c twenty four, f sixteen"),
    ("COVID-19, GPT-4", "covid nineteen, g p t four"),
    ("H2O, CO2, 4K, 5G", "h two o, c o two, four k, five g"),
    ("B2A23C", "b two ay twenty three c"),
]


@pytest.mark.parametrize(("written", "spoken"), CASES)
def test_reads_serials(written: str, spoken: str) -> None:
    assert normalise(written) == spoken
