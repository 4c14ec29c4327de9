"""Results: what is written can be read back, and what is kept in the repository is of this form."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.cluster_growth import Growth
from benchmarks.dial import Dial, Setting
from benchmarks.dial import show as show_dial
from benchmarks.inverse_stft import InverseStft
from benchmarks.latency import Latency
from benchmarks.openvino import OpenVino
from benchmarks.prefix_cache import PrefixCacheResult
from benchmarks.recognition import WordErrors, count_errors
from benchmarks.report import circumstances, markdown, table, write_result
from benchmarks.score import Score
from benchmarks.seams import Streamed
from benchmarks.server_load import Load
from benchmarks.server_soak import Soak
from benchmarks.step import StepResult
from soundstorm_runtime.support.serde import from_dict
from soundstorm_runtime.tools.benchmark import Bench

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
KEPT = sorted(RESULTS.glob("*.json"))
KINDS = {
    "score": Score,
    "inverse_stft": InverseStft,
    "openvino": OpenVino,
    "step": StepResult,
    "dial": Dial,
    "speed": Bench,
    "server_load": Load,
    "server_soak": Soak,
    "cluster_growth": Growth,
    "latency": Latency,
    "prefix_cache": PrefixCacheResult,
    "seams": Streamed,
}
HASH = "0123456789abcdef" * 4


@pytest.fixture
def dial():
    errors = WordErrors(100, 6, 1, 2, 9.0)
    setting = Setting((8, 1), 9, 0.05, errors, (4.5, 13.0), 5.25, 0.03, (-0.01, 0.06))
    return Dial(circumstances("dial"), HASH, "tiny", "int8", 20, (setting,))


def test_results_are_read_back_as_they_were_written(tmp_path, dial):
    path = tmp_path / "new" / "result.json"
    write_result(path, dial)
    assert from_dict(Dial, json.loads(path.read_text()), path.name) == dial


def test_figures_that_are_no_numbers_are_not_written(tmp_path, dial):
    with pytest.raises(ValueError, match="JSON compliant"):
        write_result(tmp_path / "result.json", replace(dial, sentences=float("nan")))


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.name)
def test_kept_results_tell_how_they_were_made(path):
    result = json.loads(path.read_text())
    if path.stem == "speed":  # the runtime's own
        made = {**result, "cpu": result["machine"]["cpu"]}
        assert made["command"].startswith("soundstorm bench ")
    else:
        made = result["circumstances"]
        assert made["command"].startswith(f"python -m benchmarks.{path.stem.split('-')[0]} ")
    assert made["date"]
    assert made["cpu"]


@pytest.mark.parametrize(
    "path", [path for path in KEPT if path.stem.split("-")[0] in KINDS], ids=lambda path: path.name
)
def test_kept_results_are_of_this_form(path):
    kind = KINDS[path.stem.split("-")[0]]
    result = from_dict(kind, json.loads(path.read_text()), path.name)
    if kind is Bench:
        assert re.fullmatch("[0-9a-f]{64}", result.bundle)
    if kind is Score:
        _check_score(result)


def _check_score(score):
    assert re.fullmatch("[0-9a-f]{64}", score.checkpoint)
    for speaker in score.speakers.values():
        expected = [sentence.expected for sentence in speaker.sentences]
        for name, pipeline in speaker.pipelines.items():
            heard = [sentence.heard[name] for sentence in speaker.sentences]
            assert all(sum(h.words.values()) == score.hearings for h in heard)
            every = [
                (e, w) for e, h in zip(expected, heard, strict=True) for w in Counter(h.words).elements()
            ]
            assert count_errors(*zip(*every, strict=True)) == pipeline.word_errors
            assert sum(bool(h.skipped or h.added) for h in heard) == pipeline.slipped


def test_circumstances_name_command_date_and_machine(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/speed.py", "my voice", "--repeats", "3"])
    noted = circumstances("speed")
    assert noted.command == "python -m benchmarks.speed 'my voice' --repeats 3"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", noted.date)
    assert noted.cores >= 1
    assert noted.cpu


def test_tables_line_up():
    assert table([["text", "s"], ["short", "1.25"]]) == "text      s\nshort  1.25"


def test_a_table_of_markdown():
    assert markdown([["a", "b"], ["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


def test_a_dial_is_shown_by_setting(dial):
    lines = show_dial(dial).splitlines()
    assert lines[1].split()[:6] == ["8,1", "9", "0.050", "9.0", "[4.5,", "13.0]"]
    assert lines[1].split()[6:] == ["5.25", "+0.03", "[-0.01,", "+0.06]"]
