"""Damaged and hostile input of every kind: an error of one line or a result, and never anything else.

About 45 seconds of it; `make fuzz` runs for an hour.
"""

from __future__ import annotations

import os
import re
import signal
import sys

import pytest
from hypothesis import strategies as st

from . import guarded
from .guarded import fuzz
from .targets import NAMES, Target

pytest.importorskip("fastapi", reason="the extra serve is absent: pip install 'soundstorm-edge[serve]'")

CASES = {
    "files of a bundle": 120, "manifest, edited": 120, "manifest, damaged": 120, "checkpoint, edited": 60,
    "checkpoint, damaged": 120, "request": 200,
    "request of a dialogue": 60, "script of a dialogue": 120, "times of words": 120, "subtitles": 120,
}  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="needs fork and /proc")
@pytest.mark.parametrize("name", NAMES)
def test_nothing_but_errors_of_one_line(name: str, tmp_path) -> None:
    cases = CASES.get(name, 300)
    report = fuzz(name, cases, 0, tmp_path)
    assert not report.faults, report.faults[0]
    assert report.cases >= cases
    assert report.outcomes["refused"], "nothing was refused: the cases are too tame"


def crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def hang() -> None:
    while True:
        pass


def grow() -> None:
    bytearray(64 << 20)


def fail() -> None:
    raise ZeroDivisionError


FAULTS = {"ended with -11": crash, "no result after": hang, "took 6. MB": grow, "ZeroDivisionError": fail}


@pytest.mark.skipif(sys.platform != "linux", reason="needs fork and /proc")
@pytest.mark.parametrize("message", FAULTS)
def test_what_a_case_may_not_do_is_found(message: str, tmp_path, monkeypatch) -> None:
    def check(case: str) -> str:
        if case != "valid":
            FAULTS[message]()
        return "accepted"

    monkeypatch.setattr(guarded, "make_target", lambda *_: Target(st.just("bad"), check, "valid"))
    monkeypatch.setattr(guarded, "MOST_MEMORY", 32 << 20)
    if message == "no result after":
        monkeypatch.setattr(guarded, "MOST_SECONDS", 0.1)
    (fault,) = fuzz("it", 3, 0, tmp_path).faults
    assert re.search(message, fault), fault
