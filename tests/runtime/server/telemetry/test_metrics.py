"""The metrics of several processes."""

from __future__ import annotations

import pytest

pytest.importorskip(
    "prometheus_client", reason="the extra serve is absent: pip install 'soundstorm-edge[serve]'"
)

from soundstorm_runtime.server.telemetry.metrics import Metrics


def test_a_process_that_is_just_starting_disturbs_nobody(tmp_path):
    """Its files are made first, and then they get their size."""
    for kind in ("counter", "histogram", "gauge_livesum"):
        (tmp_path / f"{kind}_1.db").touch()
    assert Metrics(tmp_path).render() == b""
