"""The time from the start of a command to its first audio, and its peak of memory.

`python -m soundstorm_runtime.tools.cold_start COMMAND...` runs a command that writes a WAV to its standard
output, and prints both as JSON. It runs in a small process of its own, because the peak that the system
reports for a child includes the memory of its parent when the child was started.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence

WAV_HEADER = 44  # bytes before the first sample


def measure(command: Sequence[str]) -> dict[str, float | None]:
    """Run a command; return its exit code, the times to its first sample and its end, and its peak memory."""
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        stream = process.stdout or sys.stdin.buffer  # always the former, for type checkers
        spoke = len(stream.read(WAV_HEADER + 2)) == WAV_HEADER + 2
        first = time.perf_counter() - started if spoke else None
        while stream.read(1 << 16):
            pass
    return {
        "code": process.returncode,
        "first_audio_seconds": first,
        "seconds": time.perf_counter() - started,
        "peak_megabytes": _peak_megabytes(),
    }


def _peak_megabytes() -> float | None:
    """Return the peak of resident memory of the children so far; None where the system does not report it."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1:])))
