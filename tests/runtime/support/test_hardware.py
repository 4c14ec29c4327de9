"""What the machine says of itself."""

from __future__ import annotations

import platform

import pytest

from soundstorm_runtime.support import hardware as machine

X86 = "model name : Made Up 9000\nflags : fpu avx2 avx512f avx512_vnni amx_int8\n\nflags : fpu\n"
ARM = "processor : 0\nFeatures : fp asimd asimddp i8mm\n"


@pytest.mark.parametrize(
    ("text", "features"),
    [
        (X86, ("amx_int8", "avx512_vnni", "avx2", "avx512f")),
        (ARM, ("i8mm", "dotprod", "neon")),
        ("", ()),
    ],
)
def test_instructions_are_read_where_linux_tells_them(monkeypatch, text, features):
    monkeypatch.setattr(machine.sys, "platform", "linux")
    monkeypatch.setattr(machine, "_text", lambda path: text if path == "/proc/cpuinfo" else "")
    assert machine.cpu_features() == features


def test_the_name_is_the_boards_or_the_processors(monkeypatch):
    told = {"/proc/cpuinfo": X86}
    monkeypatch.setattr(machine, "_text", lambda path: told.get(path, ""))
    assert machine._cpu_name() == "Made Up 9000"
    told["/proc/device-tree/model"] = "NVIDIA Jetson Orin Nano\0"
    assert machine._cpu_name() == "NVIDIA Jetson Orin Nano"


def test_apple_processors_have_dot_products(monkeypatch):
    monkeypatch.setattr(machine.sys, "platform", "darwin")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    assert machine.cpu_features() == ("dotprod", "neon")


def test_this_machine_is_described():
    here = machine.this_machine()
    assert here.cores >= 1
    assert here.python == platform.python_version()
    assert here.cpu
    assert set(here.features) <= set(machine.FEATURES)


def test_default_threads_are_those_the_process_may_use(monkeypatch):
    assert machine.default_threads() == min(machine.cores(), 8)
    monkeypatch.setattr(machine, "cores", lambda: 64)
    assert machine.default_threads() == 8
