"""What the speed of a Jetson depends on: power mode, clocks, and the memory that GPU and CPU share.

Sources: the files that NVIDIA's `nvpmodel` and L4T write, and those of Linux for devfreq,
cpufreq and memory. All can be read without root.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_GPU_CLOCKS = ("sys/class/devfreq/*gpu*", "sys/class/devfreq/*.ga10b", "sys/class/devfreq/*.gb10b")
_CPU_CLOCKS = ("sys/devices/system/cpu/cpufreq/policy*",)


@dataclass(frozen=True)
class Clock:
    """A frequency and the limits of its governor, in MHz."""

    now: int
    least: int
    most: int

    @property
    def is_fixed(self) -> bool:
        """Whether the governor cannot lower it, as after `jetson_clocks`."""
        return self.least == self.most


@dataclass(frozen=True)
class Jetson:
    """A Jetson as it is set now; None for what its system does not report.

    Attributes:
        board: Its name.
        release: Of Jetson Linux, such as "36.4.3".
        power_mode: Name of the mode that `nvpmodel` chose last.
        power_modes: Names of all modes.
        gpu: Clock of the GPU.
        cpu: Clock of the fastest cluster of processors.
        free_mb: MiB of memory that GPU and CPU can still take.
        swap_mb: MiB of swap that are left, which the GPU cannot use.
    """

    board: str
    release: str | None
    power_mode: str | None
    power_modes: tuple[str, ...]
    gpu: Clock | None
    cpu: Clock | None
    free_mb: int | None
    swap_mb: int | None


def this_jetson(root: Path = Path("/")) -> Jetson | None:
    """Read the state of the Jetson whose files are below `root`; None on another machine."""
    found = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", _text(root / "etc/nv_tegra_release"))
    board = _text(root / "proc/device-tree/model").strip("\0 \n")
    if found is None and "Jetson" not in board:
        return None
    table = _text(root / "etc/nvpmodel.conf")
    modes = dict(re.findall(r"^<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\w+)", table, re.MULTILINE))
    chosen = re.search(r"pmode:(\d+)", _text(root / "var/lib/nvpmodel/status"))
    number = None if chosen is None else str(int(chosen[1]))
    memory = dict(re.findall(r"^(\w+):\s+(\d+) kB", _text(root / "proc/meminfo"), re.MULTILINE))
    return Jetson(
        board=board or "Jetson",
        release=None if found is None else f"{found[1]}.{found[2]}",
        power_mode=None if number is None else modes.get(number, number),
        power_modes=tuple(modes.values()),
        gpu=_fastest(root, _GPU_CLOCKS, "", 1_000_000),
        cpu=_fastest(root, _CPU_CLOCKS, "scaling_", 1000),
        free_mb=_megabytes(memory, "MemAvailable"),
        swap_mb=_megabytes(memory, "SwapFree"),
    )


def _fastest(root: Path, patterns: tuple[str, ...], prefix: str, per_mhz: int) -> Clock | None:
    """Return the clock of the highest limit among folders of devfreq or cpufreq."""
    clocks = []
    for folder in (folder for pattern in patterns for folder in root.glob(pattern)):
        numbers = [_text(folder / f"{prefix}{end}_freq").strip() for end in ("cur", "min", "max")]
        if all(number.isdigit() for number in numbers):
            clocks.append(Clock(*(int(number) // per_mhz for number in numbers)))
    return max(clocks, key=lambda clock: clock.most, default=None)


def _megabytes(memory: dict[str, str], key: str) -> int | None:
    return int(memory[key]) // 1024 if key in memory else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
