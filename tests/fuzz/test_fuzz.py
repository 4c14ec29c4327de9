"""Damaged and hostile input of every kind: an error of one line or a result, and never anything else.

About 45 seconds of it; `make fuzz` runs for an hour.
"""

from __future__ import annotations

import sys

import pytest

from .guarded import fuzz
from .targets import NAMES

pytest.importorskip("fastapi", reason="the extra serve is absent: pip install 'soundstorm-edge[serve]'")

CASES = {
    "files of a bundle": 60, "manifest, edited": 60, "manifest, damaged": 60, "checkpoint, edited": 30,
    "checkpoint, damaged": 60, "request": 100, "recording": 200,
}  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="needs fork and /proc")
@pytest.mark.parametrize("name", NAMES)
def test_nothing_but_errors_of_one_line(name: str, tmp_path) -> None:
    cases = CASES.get(name, 300)
    report = fuzz(name, cases, 0, tmp_path)
    assert not report.faults, report.faults[0]
    assert report.cases >= cases
    assert report.outcomes["refused"], "nothing was refused: the cases are too tame"
