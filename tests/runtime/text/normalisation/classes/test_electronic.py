"""Addresses of the web and of files as they are read."""

import pytest

from soundstorm_runtime.text.sentences import normalise

CASES = [
    ("0x1F, 0xdeadBEEF", "zero x one f, zero x d e ay d b e e f"),
    (
        "localhost:8080/a and ~/.bashrc",
        "localhost colon eight zero eight zero slash ay and tilde slash dot bashrc",
    ),
    ("foo.ai, bar.dev, example.de", "foo dot ay i, bar dot dev, example dot d e"),
    ("open config.json and main.py", "open config dot json and main dot p y"),
    ("ftp://example.net/a-b_c", "f t p colon slash slash example dot net slash ay dash b underscore c"),
    ("joe@example.com; a1b2@mail.co.uk", "joe at example dot com; ay one b two at mail dot co dot u k"),
    ("www.example.com/x?y=1", "w w w dot example dot com slash x question mark y equals one"),
    ("https://www.example.com.", "h t t p s colon slash slash w w w dot example dot com."),
    ("@handle and #NoFilter", "at handle and hashtag no filter"),
    ("/usr/local/bin", "slash u s r slash local slash bin"),
    ("Node.js and .NET", "node dot j s and dot net"),
    ("example.photography", "example dot photography"),
]


@pytest.mark.parametrize(("written", "spoken"), CASES)
def test_reads_electronic(written: str, spoken: str) -> None:
    assert normalise(written) == spoken
