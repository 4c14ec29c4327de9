"""The log of a training, as killed runs leave it."""

from __future__ import annotations

import json
from pathlib import Path

from accelerate import Accelerator

from soundstorm_edge.training.log import Log
from soundstorm_edge.training.optimization import Optimization


def test_a_resumed_run_has_every_step_once(tmp_path: Path) -> None:
    def log(step: int) -> Log:
        return Log(tmp_path, Optimization(), Accelerator(cpu=True), step)

    first = log(0)
    for step in range(0, 60, 20):
        first.write(step, {"loss": 1.0})
    with first.path.open("a") as file:
        file.write('{"step": 60, "sec')  # killed while it was writing
    log(40).write(40, {"loss": 2.0})  # the last state was saved at step 40
    rows = [json.loads(line) for line in first.path.read_text().splitlines()]
    assert [(row["step"], row["loss"]) for row in rows] == [(0, 1.0), (20, 1.0), (40, 2.0)]
    log(0)
    assert first.path.read_text() == ""
