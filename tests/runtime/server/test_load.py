"""The load test itself: it counts what is answered, refused and broken."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from benchmarks.server_load import Load, Server, main, measure
from soundstorm_runtime.errors import EngineError
from soundstorm_runtime.server.voice_service import _batch_frames
from soundstorm_runtime.support.serde import from_dict
from soundstorm_runtime.synthesis.calibration import Costs


def server(served) -> Server:
    return Server(served.url.removeprefix("http://"), served.process.pid)


def test_all_requests_are_answered(served):
    run = measure(server(served), 4, 0.5, ["Hello there.", "Good morning."])
    assert run.spoken >= 4
    assert run.refused == run.errors == 0
    assert 0 < run.first_audio.median <= run.whole.median
    assert run.throughput > 0 < run.cpu
    assert run.batch >= 1


def test_refusals_are_no_errors(slow_bundle, start):
    with start(slow_bundle, "--at-once", 1, "--queue", 0) as served:
        run = measure(server(served), 2, 0.5, ["Hello there."])
    assert run.spoken >= 1
    assert run.refused >= 1
    assert run.errors == 0


def test_errors_are_counted_and_told(served, capsys):
    run = measure(server(served), 1, 0.2, ["Hello there.", "?!"])
    assert run.errors >= 1
    assert "400: " in capsys.readouterr().err


def test_a_server_that_answers_nothing_is_told(served):
    with pytest.raises(EngineError, match="no request was answered"):
        measure(server(served), 1, 0.2, ["?!"])


def test_the_result_is_kept(bundle, tmp_path, environment, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", environment["PYTHONPATH"])
    out = tmp_path / "load.json"
    done = CliRunner().invoke(
        main, [str(bundle), "--clients", "1", "--clients", "2", "--seconds", "0.5", "--out", str(out)]
    )
    assert done.exit_code == 0, done.output
    result = from_dict(Load, json.loads(out.read_text()), out.name)
    assert [run.clients for run in result.runs] == [1, 2]
    assert "first audio, 95 %" in done.output


@pytest.mark.parametrize(
    ("step", "step_frame", "frames"),
    [(8e-4, 9e-5, 80), (3e-3, 1e-6, 4096), (0.01, 1e-4, 400), (0.0, 1e-4, 1), (0.01, 0.0, 4096)],
    ids=["CPU", "GPU", "at most 50 ms", "nothing is saved", "length costs nothing"],
)
def test_steps_share_a_batch_where_that_saves_time(step, step_frame, frames):
    assert _batch_frames(Costs(0.0, 0.0, step, step_frame, 0.0)) == frames
