"""What a Jetson installs can be had for its processor: resolved over the network, or skipped by name."""

from __future__ import annotations

import subprocess
import sys

import pytest

PLATFORMS = [f"manylinux_{glibc}_aarch64" for glibc in ("2_17", "2_28", "2_34", "2_35")] + [
    "manylinux2014_aarch64"
]
UNREACHABLE = (
    "connection",
    "timed out",
    "name resolution",
    "no route",
    "getaddrinfo",
    "proxy",
    "temporary failure",
)


def download(folder, python, *requirements):
    platforms = [part for name in PLATFORMS for part in ("--platform", name)]
    line = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--only-binary=:all:",
    ]
    line += [*platforms, "--python-version", python, "--implementation", "cp", "--dest", str(folder)]
    try:
        done = subprocess.run(
            [*line, *requirements], capture_output=True, text=True, check=False, timeout=240
        )
    except subprocess.TimeoutExpired:
        pytest.skip("the package index does not answer")
    if done.returncode and any(word in done.stderr.lower() for word in UNREACHABLE):
        pytest.skip("the package index cannot be reached")
    assert done.returncode == 0, done.stderr[-600:]
    return {file.name.partition("-")[0].lower() for file in folder.iterdir()}


@pytest.mark.network
@pytest.mark.parametrize(
    ("python", "cuda"), [("3.10", "cuda-python>=12.6,<12.7"), ("3.12", "cuda-python>=13")]
)
def test_the_device_installs_without_a_compiler(tmp_path, python, cuda):
    """JetPack 6 (Python 3.10, CUDA 12.6) and 7 (3.12, CUDA 13); TensorRT itself comes with JetPack."""
    names = download(
        tmp_path, python, "numpy>=1.24", "soundfile>=0.12", "click>=8.1", "onnxruntime>=1.18", cuda
    )
    assert {"numpy", "soundfile", "click", "onnxruntime", "cuda_python"} <= names
    assert not any(name.startswith("torch") for name in names)
