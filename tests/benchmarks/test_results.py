"""Results: what is written can be read back, and what is kept in the repository is of this form."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.intelligibility import ROADS, Intelligibility, Utterance, score, score_by_kind
from benchmarks.intelligibility import show as show_intelligibility
from benchmarks.inverse_stft import InverseStft
from benchmarks.report import circumstances, table, write_result
from benchmarks.speed import STAGES, TEXTS, ColdStart, Speed, TextSpeed
from benchmarks.speed import show as show_speed
from soundstorm_runtime.plain import from_plain

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
HASH = "0123456789abcdef" * 4


def utterance(kind, expected, **heard):
    heard = {road: heard.get(road.replace(" ", "_"), expected) for road in ROADS}
    return Utterance(kind, expected, expected, heard, dict.fromkeys(ROADS, 1.5))


@pytest.fixture
def intelligibility():
    utterances = (
        utterance("short", "one two", text_to_speech="one"),
        utterance("short", "three four", soundstorm="three for", text_to_speech=""),
        utterance("long", "five six seven eight", codec="five six seven eight nine"),
    )
    return Intelligibility(
        circumstances=circumstances("intelligibility"),
        checkpoint=HASH,
        voice="tiny",
        teacher="rms",
        sentences=3,
        word_errors=score(utterances),
        word_errors_by_kind=score_by_kind(utterances),
        duration_ratio=1.02,
        seconds={**dict.fromkeys(ROADS, 1.0), "recognition": 2.0},
        utterances=utterances,
    )


@pytest.fixture
def speed():
    text = TextSpeed(2.0, 0.5, 0.25, 15, 0.02, dict.fromkeys(STAGES, 1 / len(STAGES)))
    return Speed(
        circumstances=circumstances("speed"),
        bundle=HASH,
        voice="tiny",
        steps=(8, 1),
        threads=2,
        repeats=5,
        texts=dict.fromkeys(TEXTS, text),
        cold_start=ColdStart("Hello.", 0.75, 120.5),
    )


def test_errors_are_scored_by_road_and_by_kind(intelligibility):
    rates = {road: errors.rate for road, errors in intelligibility.word_errors.items()}
    assert rates == {"teacher": 0.0, "codec": 12.5, "soundstorm": 12.5, "text to speech": 37.5}
    by_kind = intelligibility.word_errors_by_kind
    assert list(by_kind) == ["short", "long"]
    assert by_kind["short"]["text to speech"].deletions == 3
    assert by_kind["long"]["codec"].insertions == 1
    assert by_kind["long"]["text to speech"].rate == 0


def test_results_are_read_back_as_they_were_written(tmp_path, intelligibility, speed):
    for result in (intelligibility, speed):
        path = tmp_path / "new" / "result.json"
        write_result(path, result)
        assert from_plain(type(result), json.loads(path.read_text()), path.name) == result


def test_figures_that_are_no_numbers_are_not_written(tmp_path, speed):
    with pytest.raises(ValueError, match="JSON compliant"):
        write_result(tmp_path / "result.json", replace(speed, threads=float("nan")))


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.name)
def test_kept_results_are_of_this_form(path):
    kinds = {"intelligibility": Intelligibility, "speed": Speed, "inverse_stft": InverseStft}
    kind = kinds[path.stem.split("-")[0]]
    result = from_plain(kind, json.loads(path.read_text()), path.name)
    assert result.circumstances.command.startswith(f"python -m benchmarks.{path.stem.split('-')[0]} ")
    if kind is Speed:
        assert re.fullmatch("[0-9a-f]{64}", result.bundle)
    if kind is Intelligibility:
        assert re.fullmatch("[0-9a-f]{64}", result.checkpoint)
        assert result.sentences == len(result.utterances)
        assert score(result.utterances) == result.word_errors
        assert score_by_kind(result.utterances) == result.word_errors_by_kind


def test_circumstances_name_command_date_and_machine(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/speed.py", "my voice", "--repeats", "3"])
    noted = circumstances("speed")
    assert noted.command == "python -m benchmarks.speed 'my voice' --repeats 3"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", noted.date)
    assert noted.cores >= 1
    assert noted.cpu


def test_tables_line_up():
    assert table([["text", "s"], ["short", "1.25"]]) == "text      s\nshort  1.25"


def test_intelligibility_is_shown_by_kind_and_road(intelligibility):
    lines = show_intelligibility(intelligibility).splitlines()
    assert lines[0].split("  ")[0] == "word error rate, %"
    assert lines[1].split() == ["short", "4", "0.0", "0.0", "25.0", "75.0"]
    assert lines[3].split() == ["all", "8", "0.0", "12.5", "12.5", "37.5"]
    assert lines[4] == "text to speech lasts 1.020 of the teacher's time"


def test_speed_is_shown_by_text_and_stage(speed):
    lines = show_speed(speed).splitlines()
    assert lines[1].split()[:6] == ["short", "2.00", "0.500", "0.250", "15", "0.0200"]
    assert len(lines) == 1 + len(TEXTS) + 1
    assert lines[-1] == "soundstorm say, cold, to its exit: 0.75 s, 120 MB at most"
