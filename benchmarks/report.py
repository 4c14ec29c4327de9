"""What every benchmark records beside its figures, as JSON and as a table."""

from __future__ import annotations

import json
import os
import platform
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from soundstorm_runtime.bundle.manifest import FileRecord
from soundstorm_runtime.bundle.reader import MANIFEST_FILE
from soundstorm_runtime.support.atomic import write_file
from soundstorm_runtime.support.serde import to_dict

RESULTS = Path("benchmarks/results")


@dataclass(frozen=True)
class Circumstances:
    """How, when and on what a benchmark ran: `date` is in UTC, `cores` those it could use."""

    command: str
    date: str
    cores: int
    cpu: str


def circumstances(benchmark: str) -> Circumstances:
    """Record the current command, the date and the machine."""
    return Circumstances(
        command=f"python -m benchmarks.{benchmark} {shlex.join(sys.argv[1:])}",
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        cpu=_cpu_model(),
    )


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def manifest_digest(bundle: Path) -> str:
    """Return the SHA-256 of a bundle's manifest, which lists those of all its files."""
    return FileRecord.of(bundle / MANIFEST_FILE).sha256


def write_result(path: Path, result: Any) -> None:
    """Write a result, a dataclass, as JSON."""
    write_file(path, json.dumps(to_dict(result), indent=1, allow_nan=False) + "\n")


def table(rows: Sequence[Sequence[str]]) -> str:
    """Format rows, the heading first, with the first column to the left and others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *cells]))
    return "\n".join(lines)


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Format rows, the first of them the heading, as a Markdown table."""
    first, *others = ("| " + " | ".join(row) + " |" for row in rows)
    return "\n".join([first, "|" + " --- |" * len(rows[0]), *others])
