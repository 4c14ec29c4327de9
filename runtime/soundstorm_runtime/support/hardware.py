"""The hardware of this machine: processor, instruction sets, cores, memory, GPUs."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

# Instructions that multiply 8-bit integers several times faster than floats, best first.
INT8_FEATURES = ("amx_int8", "avx512_vnni", "avx_vnni", "i8mm", "dotprod")
FEATURES = (*INT8_FEATURES, "avx2", "avx512f", "neon", "sve")

_ARM_NAMES = {"asimd": "neon", "asimddp": "dotprod"}  # the names that Linux uses
_MOST_THREADS = 8  # small networks are slower with more: their operators are too short to divide


@dataclass(frozen=True)
class Machine:
    """The hardware and system that a measurement depends on.

    Attributes:
        cores: Processors that this process may use.
        memory_gb: GiB of RAM, None where the system does not report it.
        features: Those of `FEATURES` that the processor has; empty where the system does not report them.
    """

    system: str
    python: str
    cpu: str
    cores: int
    memory_gb: float | None
    features: tuple[str, ...]
    gpus: tuple[str, ...]


def this_machine() -> Machine:
    """Examine the machine; what the system does not report is left empty."""
    return Machine(
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        cpu=_cpu_name(),
        cores=cores(),
        memory_gb=_memory_gb(),
        features=cpu_features(),
        gpus=_gpus(),
    )


def cores() -> int:
    """Return the number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # a container or taskset may allow fewer than exist
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_threads() -> int:
    """Return the default number of threads: the processors this process may use, at most 8."""
    return min(cores(), _MOST_THREADS)


def cpu_features() -> tuple[str, ...]:
    """Return those of `FEATURES` that the processor has."""
    if sys.platform == "darwin" and platform.machine() == "arm64":
        return ("dotprod", "neon")  # every Apple processor has both
    flags = {flag for line in _cpu_lines("flags", "Features") for flag in line.split()}
    names = {_ARM_NAMES.get(flag, flag) for flag in flags}
    return tuple(feature for feature in FEATURES if feature in names)


def _cpu_lines(*keys: str) -> list[str]:
    """Return the values of these keys for the first processor in Linux's list."""
    lines = _text("/proc/cpuinfo").splitlines()
    pairs = (line.partition(":") for line in lines)
    return [value.strip() for key, _, value in pairs if key.strip() in keys][:1]


def _cpu_name() -> str:
    board = _text("/proc/device-tree/model").strip("\0 \n")  # the name of a Jetson or a Raspberry Pi
    return board or next(iter(_cpu_lines("model name")), "") or platform.processor() or platform.machine()


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return None


def _gpus() -> tuple[str, ...]:
    """Return the names of NVIDIA GPUs from the driver's files, which does not wake a GPU."""
    files = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    lines = (line for file in files for line in _text(file).splitlines())
    return tuple(line.partition(":")[2].strip() for line in lines if line.startswith("Model:"))


def _text(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
