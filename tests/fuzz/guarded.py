"""Run cases in a process of their own, and watch it: crashes, hangs and memory are faults as well."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import re
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis import strategies as st

from .targets import Target, make_target

MOST_SECONDS = 10.0  # of a case
MOST_MEMORY = 1 << 30  # bytes that a case may add


@dataclass
class Report:
    """What came of the cases of a target."""

    cases: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    memory: int = 0
    faults: list[str] = field(default_factory=list)

    def add(self, other: Report) -> None:
        """Add the cases of another run."""
        self.cases += other.cases
        self.outcomes += other.outcomes
        self.slowest, self.memory = max(self.slowest, other.slowest), max(self.memory, other.memory)
        self.faults += other.faults


def fuzz(name: str, cases: int, number: int, folder: Path) -> Report:
    """Try cases of a target; `number` is the seed that makes them."""
    _warm_up()
    ours, its = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(
        target=_work, args=(name, cases, number, folder, its), daemon=True
    )
    process.start()
    its.close()
    case, report = "none", Report()
    while True:
        limit = 18 * MOST_SECONDS  # a machine that is busy with other work is no hang of ours
        try:
            if not ours.poll(limit):
                process.kill()
                report.faults.append(f"{name}: no result after {limit:.0f} s: {case}")
                return report
            found = ours.recv()
        except EOFError:
            process.join()
            report.faults.append(f"{name}: the process ended with {process.exitcode}: {case}")
            return report
        if isinstance(found, Report):
            process.join()
            return found
        case = found


@cache
def _warm_up() -> None:
    """Let Hypothesis read all sources for constants, and Unicode's tables, once and not in every fork."""

    @settings(max_examples=20, database=None, deadline=None)
    @given(st.text(), st.binary(), st.integers())
    def nothing(text: str, data: bytes, number: int) -> None: ...

    nothing()


def _work(name: str, cases: int, number: int, folder: Path, parent: Connection) -> None:
    report = Report()
    faulthandler.disable()  # pytest's would print where a crash happened
    quiet = os.open(os.devnull, os.O_WRONLY)  # libraries complain there about what they refuse
    for stream in (1, 2):
        os.dup2(quiet, stream)
    try:
        _run(make_target(name, folder), cases, number, report, parent)
    except BaseException:
        report.faults.append(f"{name}: {traceback.format_exc(limit=-6)[-3000:]}")
    parent.send(report)
    parent.close()
    os._exit(0)  # threads of a server or an engine need not end first


def _run(target: Target, cases: int, number: int, report: Report, parent: Connection) -> None:
    started = time.process_time
    assert target.check(target.valid) == "accepted", "the input was refused before it was damaged"

    @seed(number)
    @settings(
        max_examples=cases, database=None, deadline=None, phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck), verbosity=Verbosity.quiet, print_blob=False,
    )  # fmt: skip
    @given(target.strategy)
    def each(case: Any) -> None:
        parent.send(_shown(case))
        before, begun = _memory(reset=True), started()
        outcome = target.check(case)
        seconds, grown = started() - begun, _memory() - before
        report.cases += 1
        report.outcomes[outcome] += 1
        report.slowest, report.memory = max(report.slowest, seconds), max(report.memory, grown)
        assert seconds < MOST_SECONDS, f"took {seconds:.1f} s"
        assert grown < MOST_MEMORY, f"took {grown >> 20} MB"

    each()


def _shown(case: Any) -> str:
    """Return the start of a case as text; all of a large one would take longer than most checks."""
    if isinstance(case, tuple):
        return ", ".join(map(_shown, case))
    return repr(case[:2000] if isinstance(case, str | bytes) else case)[:2000]


def _memory(*, reset: bool = False) -> int:
    """Return the bytes that this process has at most had in memory since the last reset."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return 1024 * int(found[1]) if found else 0
