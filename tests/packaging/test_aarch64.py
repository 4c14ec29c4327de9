"""The lean runtime on aarch64, emulated: `pytest -m sweep tests/packaging/test_aarch64.py`, some minutes.

A Debian arm64 root is unpacked by debootstrap, what a device installs is added, and a voice speaks there
under qemu-user. It says what it says here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.runtime.conftest import make_bundle  # noqa: F401 - a fixture

pytestmark = [pytest.mark.sweep, pytest.mark.network]

QEMU, DEBOOTSTRAP = "qemu-aarch64-static", "debootstrap"
PATH = f"{os.environ['PATH']}:/usr/sbin"
PYTHON = "3.11"  # of Debian 12
# Newer ones read the caches of the host's processor from /sys, and crash in emulation.
ONNXRUNTIME = "onnxruntime==1.22.1"
NEEDS = ["numpy>=1.24", "soundfile>=0.12", "click>=8.1", "soxr>=0.3.7", ONNXRUNTIME]
RUNTIME = Path(__file__).parents[2] / "runtime"
SETTINGS = ["--provider", "cpu", "--precision", "fp32", "--threads", "1", "--seed", "1"]


def call(*line, **options):
    done = subprocess.run(
        list(map(str, line)), capture_output=True, text=True, check=False, timeout=900, **options
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-1000:]


@pytest.fixture(scope="module")
def device(tmp_path_factory):
    """Make the root of the device, with Python, and a folder of the packages that it installs."""
    for program in (QEMU, DEBOOTSTRAP):
        if shutil.which(program, path=PATH) is None:
            pytest.skip("apt-get install qemu-user-static debootstrap")
    if os.getuid() != 0:
        pytest.skip("debootstrap needs root")
    root, site = tmp_path_factory.mktemp("root"), tmp_path_factory.mktemp("site")
    options = ["--foreign", "--arch=arm64", "--variant=minbase", "--include=python3,libgomp1"]
    call(DEBOOTSTRAP, *options, "bookworm", root, env={**os.environ, "PATH": PATH})
    for package in (root / "var/cache/apt/archives").glob("*.deb"):
        call("dpkg-deb", "-x", package, root)
    kinds = ("manylinux_2_17", "manylinux_2_27", "manylinux_2_28", "manylinux2014")
    platforms = [part for kind in kinds for part in ("--platform", f"{kind}_aarch64")]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    built = ["--only-binary=:all:", "--python-version", PYTHON, "--implementation", "cp"]
    call(*pip, *built, *platforms, "--target", site, *NEEDS)
    return root, site


def test_a_voice_says_there_what_it_says_here(device, make_bundle, tmp_path, environment):  # noqa: F811
    root, site = device
    bundle, there, here = make_bundle(), tmp_path / "there.wav", tmp_path / "here.wav"
    emulated = {"PATH": PATH, "PYTHONHOME": f"{root}/usr", "PYTHONPATH": f"{site}:{RUNTIME}"}
    python = [QEMU, "-L", root, root / f"usr/bin/python{PYTHON}"]
    machine = "import platform; assert platform.machine() == 'aarch64'"
    call(*python, "-c", machine, env=emulated)
    say = ["-m", "soundstorm_runtime.cli", "say", bundle, "Good morning.", *SETTINGS, "-o"]
    call(*python, *say, there, env=emulated)
    call(sys.executable, *say, here, env=environment)
    spoken, expected = soundfile.read(there)[0], soundfile.read(here)[0]
    assert spoken.shape == expected.shape
    np.testing.assert_allclose(spoken, expected, atol=1e-3)
