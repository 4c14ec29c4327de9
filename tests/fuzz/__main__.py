"""Fuzz for long: `python -m tests.fuzz --cases 100000 --log tests/fuzz/log.txt` (`make fuzz`)."""

from __future__ import annotations

import argparse
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path

from .guarded import Report, fuzz
from .targets import NAMES

AT_ONCE = 500  # cases of one process
# Shares of the cases: those of bundles and checkpoints take longest.
SHARES = {
    "manifest, edited": 0.5,
    "manifest, damaged": 0.5,
    "files of a bundle": 0.5,
    "checkpoint, edited": 0.2,
    "checkpoint, damaged": 0.5,
    "request": 0.5,
}


def main() -> None:
    """Run the targets in turns, and add a line for each turn to the log."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--log", type=Path, required=True)
    options = parser.parse_args()
    started, total, turn = time.monotonic(), Report(), 0
    while total.cases < options.cases:
        for name in NAMES:
            if total.cases >= options.cases or time.monotonic() - started > options.seconds:
                break
            with tempfile.TemporaryDirectory() as folder:
                found = fuzz(name, round(AT_ONCE * SHARES.get(name, 1)), options.seed + turn, Path(folder))
            total.add(found)
            _log(options.log, name, options.seed + turn, found)
        else:
            turn += 1
            continue
        break
    _log(options.log, "all", options.seed, total)


def _log(path: Path, name: str, seed: int, report: Report) -> None:
    now = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
    line = (
        f"{now}  {name:20}  seed {seed:5}  {report.cases:6} cases  {report.outcomes['accepted']:6} accepted  "
        f"{report.outcomes['refused']:6} refused  slowest {report.slowest:6.2f} s  "
        f"memory {report.memory >> 20:4} MB  {len(report.faults)} faults"
    )
    with path.open("a", encoding="utf-8") as file:
        file.write("".join(f"{text}\n" for text in (line, *(report.faults if name != "all" else ()))))
    print(line, flush=True)


if __name__ == "__main__":
    main()
