"""The parts of the step benchmark: how times are compared, what the floor holds, and the plots."""

import json
import time
from collections import Counter
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from click.testing import CliRunner

from benchmarks import plots
from benchmarks.floor import example_inputs, step_products
from benchmarks.harness import Spans, exponent, interleave, ratio, timing
from soundstorm_edge.soundstorm.model import SoundStorm
from soundstorm_export.rewrite.cpu import to_int8
from soundstorm_export.rewrite.products import is_cumulative_sum
from soundstorm_export.rewrite.simplify import simplify
from soundstorm_export.tracing.networks import Network
from tests.export.conftest import DEPTH


def test_cases_take_turns_and_the_burn_in_does_not_count() -> None:
    calls: list[str] = []
    cases = {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}
    taken = interleave(cases, repeats=3, burn_in=2, rest=0)
    assert calls == ["a", "b"] * 5
    assert {name: len(seconds) for name, seconds in taken.items()} == {"a": 3, "b": 3}


def test_a_turn_begins_with_a_rest_and_calls_that_do_not_count() -> None:
    calls: list[float] = []

    def case() -> None:
        calls.append(time.perf_counter())
        time.sleep(0.02)

    started = time.perf_counter()
    taken = interleave({"a": case}, repeats=1, burn_in=0, lead_in=2, rest=0.5)
    assert len(calls) == 3
    assert calls[0] - started >= 0.5
    assert taken["a"][0] < 0.5


def test_figures() -> None:
    assert timing([3.0, 1.0, 2.0]).seconds == 2.0
    assert timing([3.0, 1.0, 2.0]).quartiles == (1.5, 2.5)
    # A round that was disturbed as a whole does not move the ratio.
    assert ratio({"slow": [4.0, 400.0, 4.4], "fast": [2.0, 200.0, 2.0]}, "slow", "fast") == 2.0
    assert exponent([1, 2, 4], [3.0, 12.0, 48.0]) == 2.0
    spans = Spans()
    with spans("export"):
        pass
    assert list(spans.seconds) == ["export"]


def test_the_floor_has_the_products_of_the_step(network: Network, traced: ir.Model) -> None:
    """The same products of weights, and two of attention in every block."""
    model = network.module
    assert isinstance(model, SoundStorm)
    floor = step_products(model.config, frames=40)
    step = simplify(traced)
    assert _products(floor) == _products(step)
    feeds = example_inputs(floor)
    assert {feed.dtype for feed in feeds.values()} == {np.dtype(np.float32)}
    assert _products(to_int8(floor)) == _products(to_int8(step)) + Counter(MatMul=2 * DEPTH)  # of attention


def _products(model: ir.Model) -> Counter[str]:
    names = ("MatMul", "MatMulIntegerToFloat")
    return Counter(
        node.op_type for node in model.graph if node.op_type in names and not is_cumulative_sum(node)
    )


def test_plots_are_drawn_of_what_is_there(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    time = {"seconds": 0.1, "quartiles": [0.09, 0.12], "repeats": 3}
    names = ("step soundstorm-pytorch", "step int8", "floor int8", "decode soundstorm-pytorch", "decode int8")
    growth = {"int8": {"seconds": {"1": 0.1, "4": 0.4}, "exponent": 1.0}}
    result = {
        "threads": 2,
        "times": dict.fromkeys(names, time),
        "faster": {"step int8": 4.0, "decode int8": 6.0},
        "growth_frames": growth,
        "growth_batch": growth,
    }
    (tmp_path / "step.json").write_text(json.dumps(result))
    runs = [
        CliRunner().invoke(plots.main, ["--results", str(tmp_path), "--out", str(tmp_path / out)])
        for out in ("one", "two")
    ]
    assert [run.exit_code for run in runs] == [0, 0]
    assert "speed.json is not there; soundstorm bench BUNDLE --json > FILE writes it" in runs[0].stderr
    drawn = {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()}
    assert set(drawn) == {"step.svg", "step_growth.svg"}
    assert b"6.0 times faster" in drawn["step.svg"]
    assert all((tmp_path / "two" / name).read_bytes() == content for name, content in drawn.items())
