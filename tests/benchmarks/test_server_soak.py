"""The long run of the server: what its samples of memory say."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from benchmarks.server_soak import growth, memory
from soundstorm_runtime.errors import EngineError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


def test_growth_is_counted_after_the_first_tenth():
    assert growth([50, 80, *[100] * 17, 103]) == pytest.approx(0.03)
    assert growth([100]) == growth([]) == 0


def test_memory_that_a_process_takes_is_seen():
    before = memory(os.getpid())
    held = b"x" * (64 << 20)
    assert memory(os.getpid()) - before == pytest.approx(64, abs=8)
    assert held


def test_a_process_that_has_ended_is_an_error():
    ended = subprocess.Popen(["true"])
    ended.wait()
    with pytest.raises(EngineError, match="a worker ended by itself"):
        memory(ended.pid)
