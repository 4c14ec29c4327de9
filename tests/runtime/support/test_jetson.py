"""Trees of files as Jetsons have them: an Orin Nano with fixed clocks, and one that reports little."""

from __future__ import annotations

import pytest

from soundstorm_runtime.support.jetson import Clock, Jetson, this_jetson

ORIN = {
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0",
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.7, GCID: 42132812, BOARD: generic, EABI: aarch64, "
    "DATE: Thu Sep 18 22:54:44 UTC 2025\n# KERNEL_VARIANT: oot\nTARGET_USERSPACE_LIB_DIR=nvidia\n",
    "etc/nvpmodel.conf": "# < POWER_MODEL ID=9 NAME=OLD >\n< POWER_MODEL ID=0 NAME=15W >\n"
    "CPU_ONLINE CORE_0 1\n< POWER_MODEL ID=1 NAME=25W >\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n"
    "< PM_CONFIG DEFAULT=1 >\n",
    "var/lib/nvpmodel/status": "pmode:0002",
    "sys/class/devfreq/15340000.vic/cur_freq": "115200000\n",
    "sys/class/devfreq/17000000.gpu/cur_freq": "1020000000\n",
    "sys/class/devfreq/17000000.gpu/min_freq": "1020000000\n",
    "sys/class/devfreq/17000000.gpu/max_freq": "1020000000\n",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq": "729600\n",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_min_freq": "729600\n",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq": "1728000\n",
    "proc/meminfo": "MemTotal:        7802516 kB\nMemFree:          201640 kB\nMemAvailable:    3118256 kB\n"
    "SwapTotal:       3901248 kB\nSwapFree:        3801248 kB\n",
}


@pytest.fixture
def tree(tmp_path):
    """Write files below a folder."""

    def write(files):
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return tmp_path

    return write


def test_an_orin_is_described(tree):
    assert this_jetson(tree(ORIN)) == Jetson(
        board="NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super",
        release="36.4.7",
        power_mode="MAXN_SUPER",
        power_modes=("15W", "25W", "MAXN_SUPER"),
        gpu=Clock(1020, 1020, 1020),
        cpu=Clock(729, 729, 1728),
        free_mb=3045,
        swap_mb=3712,
    )


def test_clocks_are_fixed_where_the_governor_has_one_choice():
    assert Clock(1020, 1020, 1020).is_fixed
    assert not Clock(729, 729, 1728).is_fixed


@pytest.mark.parametrize("status", ["pmode:0007", "pmode:0007 fmode:quiet"])
def test_a_mode_without_a_name_is_its_number(tree, status):
    assert this_jetson(tree(ORIN | {"var/lib/nvpmodel/status": status})).power_mode == "7"


def test_what_is_not_reported_is_left_empty(tree):
    found = this_jetson(tree({"etc/nv_tegra_release": ORIN["etc/nv_tegra_release"]}))
    assert found == Jetson("Jetson", "36.4.7", None, (), None, None, None, None)


def test_another_machine_is_none(tree):
    assert this_jetson(tree({"proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0"})) is None
