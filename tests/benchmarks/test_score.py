"""The score: what is counted, that a run goes on where it stopped, and a whole run with a tiny voice."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import score as command
from benchmarks.listening import Measured, hear_each
from benchmarks.pipelines import CODEC, SOUNDSTORM, TEACHER, TEXT
from benchmarks.recognition import Word, WordErrors
from benchmarks.score import Score, show
from benchmarks.scoring import confusions, score_speaker
from benchmarks.slips import Hearing
from soundstorm_runtime.support.serde import from_dict

PIPELINES = (TEACHER, CODEC, SOUNDSTORM, TEXT, "bundle fp32")


def hearing(words: str, tenths: int = 3) -> Hearing:
    """Words of `tenths` of a second each."""
    length = tenths / 10
    found = [Word(w, round(i * length, 1), round((i + 1) * length, 1)) for i, w in enumerate(words.split())]
    return Hearing(tuple(found), round(len(found) * length, 1))


def measured(expected: str, kind: str = "short", *, complete: bool = True, **heard: str) -> Measured:
    by_pipeline = {
        pipeline: (hearing(heard.get(pipeline.replace(" ", "_"), expected)),) * 4 for pipeline in PIPELINES
    }
    return Measured(
        voice="rms",
        kind=kind,
        text=expected,
        expected=expected,
        spoken=hearing(expected).words,
        hearings=by_pipeline,
        complete={pipeline: complete or pipeline != TEXT for pipeline in PIPELINES},
        distance={pipeline: float(place) for place, pipeline in enumerate(PIPELINES)},
        timbre=dict.fromkeys(PIPELINES, (0.0, 1.0)),
        stoi=0.9,
        pesq=2.5,
    )


@pytest.fixture
def sentences() -> list[Measured]:
    return [
        measured("one two three", text_to_speech="one three"),
        measured("four five six", teacher="four five", complete=False),
        measured("seven eight nine ten", "long", codec="seven ate nine ten"),
    ]


def test_what_two_pipelines_have_in_common_is_heard_once():
    class Counting:
        calls = 0

        def hear_shifted(self, audio, rate):
            self.calls += 1
            return [[Word(f"word {self.calls}", 0.0, 0.1)], [Word("late", 0.0, 0.1)]]

    recogniser, sound = Counting(), np.linspace(-1, 1, 1600)
    speech = {"one": sound, "like": sound + 5e-5, "other": sound + 2e-4, "shorter": sound[:800]}
    heard = hear_each(recogniser, speech, 16_000)
    assert {pipeline: first.text for pipeline, (first, _) in heard.items()} == {
        "one": "word 1", "like": "word 1", "other": "word 2", "shorter": "word 3"
    }  # fmt: skip
    assert [late.text for _, late in heard.values()] == ["late"] * 4
    assert [hearing.seconds for hearing in heard["shorter"]] == [0.05, 0.05]


def test_every_stage_has_its_own_errors(sentences):
    pipelines = score_speaker(sentences).pipelines
    assert {pipeline: r.word_errors.rate for pipeline, r in pipelines.items()} == dict(
        zip(PIPELINES, (10.0, 10.0, 0.0, 10.0, 0.0), strict=True)
    )
    assert [pipelines[pipeline].over_teacher for pipeline in PIPELINES] == [0, 0, -10, 0, -10]
    assert pipelines[CODEC].word_error_rate_by_kind == {"short": 0, "long": 25}
    assert pipelines[TEXT].distance == 3
    assert (pipelines[TEXT].cut_off, pipelines[CODEC].cut_off) == (1, 0)
    assert pipelines[TEXT].duration_ratio == pytest.approx((0.6 + 0.9 + 1.2) / (0.9 + 0.6 + 1.2))


def test_skipped_words_are_those_without_time(sentences):
    speaker = score_speaker(sentences)
    assert (speaker.pipelines[TEXT].slipped, speaker.pipelines[TEXT].judged) == (1, 3)
    assert speaker.sentences[0].heard[TEXT].skipped == ("two",)
    assert speaker.pipelines[CODEC].slipped == 0
    unknown = [replace(m, spoken=()) for m in sentences]
    assert (
        score_speaker(unknown).pipelines[TEXT].slipped,
        score_speaker(unknown).pipelines[TEXT].judged,
    ) == (0, 0)


def test_errors_are_the_mean_of_all_hearings(sentences):
    heard = (hearing("one two"), hearing("one two three"), hearing("one two"), hearing("won two three"))
    sentences[0] = replace(sentences[0], hearings=sentences[0].hearings | {CODEC: heard})
    speaker = score_speaker(sentences)
    assert speaker.pipelines[CODEC].word_errors == WordErrors(40, 5, 2, 0, 17.5)
    assert speaker.pipelines[CODEC].over_teacher == 7.5
    found = speaker.sentences[0].heard[CODEC].words
    assert found == {"one two": 2, "one two three": 1, "won two three": 1}


def test_intervals_hold_the_rate_and_know_that_sentences_are_paired():
    rows = [measured(f"{w} b c d") for w in "efghijklmnopqrst"]
    rows = [
        replace(m, hearings=m.hearings | {pipeline: (hearing("b c d"),) * 4 for pipeline in (TEACHER, CODEC)})
        for m in rows[:8]
    ] + rows[8:]
    pipelines = score_speaker(rows).pipelines
    low, high = pipelines[CODEC].interval
    assert low < pipelines[CODEC].word_errors.rate == 12.5 < high
    assert 5 < high - low < 20
    assert pipelines[CODEC].over_teacher_interval == (0, 0), "it errs in the sentences where the teacher errs"


def test_quality_is_left_out_where_it_was_not_measured(sentences):
    assert score_speaker(sentences).pesq == 2.5
    assert score_speaker([replace(m, pesq=None) for m in sentences]).pesq is None


def test_one_speaker_is_not_confused(sentences):
    assert confusions({}, {"rms": sentences}) == {}


def test_a_voice_that_nobody_named_is_asked_for(tiny_checkpoint):
    result = CliRunner().invoke(command.main, [str(tiny_checkpoint), "--sentences", "1"])
    assert "whose teacher is not known; name it: --voices rms" in str(result.exception)


class ThisProcess:
    """Does what a pool does, without the seconds that a new process takes."""

    def __init__(self, jobs, mp_context, initializer, initargs):
        initializer(*initargs)
        self.map = map

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


@pytest.mark.flite
def test_a_whole_run_and_the_next_one(tiny_checkpoint, tiny_bundle, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "WORK", tmp_path / "work")
    monkeypatch.setattr(command, "ProcessPoolExecutor", ThisProcess)
    monkeypatch.setattr(command, "fingerprint", lambda *_: "the same")
    out = tmp_path / "score.json"
    options = ["--bundle", str(tiny_bundle), "--voices", "rms", "--jobs", "1", "--out", str(out)]

    def run(sentences: int) -> Score:
        command.main([str(tiny_checkpoint), "--sentences", str(sentences), *options], standalone_mode=False)
        return from_dict(Score, json.loads(out.read_text()), "score")

    first = run(1)
    assert tuple(first.speakers["rms"].pipelines) == PIPELINES
    assert first.speakers["rms"].pipelines[TEACHER].word_errors.rate == 0
    assert first.speakers["rms"].sentences[0].heard[TEACHER].words == {"please close the window": 2}
    assert "| teacher | 0.0 [0.0, 0.0] |" in capsys.readouterr().out
    (kept,) = (tmp_path / "work").glob("*.jsonl")
    row = kept.read_text()
    kept.write_text(row + row.rstrip()[:100])  # as a killed run leaves it
    monkeypatch.setattr(command, "ProcessPoolExecutor", None)  # nothing is left to measure
    assert run(1).speakers == first.speakers
    assert kept.read_text() == row
    assert show(first) == show(replace(first, seconds=0.0))
