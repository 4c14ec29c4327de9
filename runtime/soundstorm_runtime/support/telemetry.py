"""ONNX Runtime reports its use to its maker unless it is told not to; nothing here leaves the machine.

Source: `Privacy.md` in ONNX Runtime's package. Since version 1.29 the builds for Linux and macOS, too, keep
an identifier in the user's cache and send events over HTTPS.
"""

from __future__ import annotations

import os


def refuse_telemetry() -> None:
    """Have ONNX Runtime send nothing; call it before the library is imported. A user's own choice stays."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
