"""The benchmark of peers: what counts as a word, and how contestants are summed up."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from benchmarks.judges import Judges, Naturalness, said
from benchmarks.peers import Result, Spoken, identified, measure, piper, show, sum_up
from benchmarks.plots import plot_peers
from benchmarks.report import circumstances
from soundstorm_runtime.errors import OptionError
from soundstorm_runtime.support.serde import to_dict


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("It's 5 o'clock!", "its five oclock"),
        ("The grey colour, OK?", "the gray color okay"),
        ("twenty-one", "twenty one"),
    ],
)
def test_spelling_does_not_count(written: str, words: str) -> None:
    assert said(written) == words


def _spoken(text: str, recognised: str, **others: Any) -> Spoken:
    ears = {"base": said(recognised), "tiny.en": said(recognised)}
    return Spoken(text, 0.1, 2.0, ears, overall=3.0, p808=3.5, **others)


def test_a_contestant_is_summed_up() -> None:
    rows = [_spoken("A big dog.", "a big dog"), _spoken("It ran.", "it ran away")]
    one = sum_up("ours", 24_000, rows)
    assert one.word_errors == {"base": 20.0, "tiny.en": 20.0}
    low, high = one.word_error_intervals["base"]
    assert low == 0
    assert high == 50
    assert (one.overall, one.p808, one.rtf) == (3.0, 3.5, 0.05)
    shown = show(Result(circumstances("peers"), 2, 2, [one]))
    assert "| ours | 20.0" in shown
    assert "24 |" in shown


def test_contestants_are_plotted_over_their_time() -> None:
    rows = [_spoken("A big dog.", "a dog"), _spoken("It ran.", "it ran")]
    result = Result(
        circumstances("peers"), 2, 2, [sum_up("ours, int8", 24_000, rows), sum_up("Piper", 22_050, rows)]
    )
    for axes, value in zip(plot_peers(to_dict(result)).axes, (20.0, 3.0), strict=True):
        assert [(text.get_text(), text.xy) for text in axes.texts] == [
            ("ours, int8", (0.05, value)),
            ("Piper", (0.05, value)),
        ]


def test_a_sentence_slips_where_all_ears_agree_and_the_teacher_does_not() -> None:
    teacher = [_spoken("A big dog.", "a big dog"), _spoken("It ran home.", "it ran")]
    rows = [_spoken("A big dog.", "a dog"), _spoken("It ran home.", "it ran")]
    assert sum_up("ours", 24_000, rows, teacher).slipped == 1
    unsure = replace(rows[0], recognised={"base": "a dog", "tiny.en": "a big dog"})
    assert sum_up("ours", 24_000, [unsure, rows[1]], teacher).slipped == 0


def test_the_pitch_deviates_by_semitones_but_not_by_octave_errors() -> None:
    row = _spoken("Oh.", "oh", pitch=(84.0, 86.0) * 50 + (98.0,))
    assert sum_up("ours", 24_000, [row]).pitch_deviation == 1.0


def test_a_speaker_is_the_nearest_of_the_teachers() -> None:
    teachers = {
        "tom": [_spoken("Oh.", "oh", embedding=(1.0, 0.0))],
        "ada": [_spoken("Oh.", "oh", embedding=(0.0, 1.0))],
    }
    rows = [_spoken("Oh.", "oh", embedding=(0.8, 0.6)), _spoken("Ah.", "ah", embedding=(0.6, 0.8))]
    assert identified(rows, "tom", teachers) == 50.0


def test_a_stopped_run_goes_on(tmp_path: Path) -> None:
    said_by: list[str] = []

    def speak(text: str) -> tuple[np.ndarray, int]:
        said_by.append(text)
        return np.zeros(16_000, np.float32), 16_000

    judges = cast(Judges, _Deaf())
    partial = tmp_path / "rows.jsonl"
    measure({"one": speak}, ["A.", "B."], judges, partial)
    with partial.open("a") as file:
        file.write('[{"text": "C.", "to')  # the kill came here
    said_by.clear()
    found = measure({"one": speak}, ["A.", "B.", "C."], judges, partial)
    assert said_by == ["A.", "C."]  # a warm-up, and what is missing
    assert [row.text for row in found["one"]] == ["A.", "B.", "C."]


@pytest.mark.parametrize("load", [lambda: Judges(1), lambda: piper(1)], ids=["judges", "piper"])
def test_missing_packages_are_named(load: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("speechmos", "piper"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(OptionError, match=r"pip install 'soundstorm-edge\[peers\]'"):
        load()


class _Deaf:
    """Judges without models."""

    def words(self, audio: np.ndarray, sample_rate: int) -> dict[str, str]:
        return {"base": ""}

    def naturalness(self, audio: np.ndarray, sample_rate: int) -> Naturalness:
        return Naturalness(1.0, 1.0)

    def embedding(self, audio: np.ndarray, sample_rate: int) -> np.ndarray:
        return np.array([1.0, 0.0])
