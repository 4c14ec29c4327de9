"""A process that speaks leaves nothing in the user's home: ONNX Runtime keeps no identifier there."""

from __future__ import annotations

import os
import subprocess
import sys

CODE = "import sys; from soundstorm_runtime import Voice; Voice.load(sys.argv[1]).speak('Yes.')"
SET = ("CI", "ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")  # any of them may keep the library quiet


def test_speaking_writes_no_identifier(make_bundle, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    environment = {name: value for name, value in os.environ.items() if name not in SET}
    done = subprocess.run(
        [sys.executable, "-c", CODE, make_bundle()],
        env=environment | {"HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert list(home.rglob("*")) == []
