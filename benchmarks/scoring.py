"""From what was measured of every sentence to the score of a voice."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .bootstrap import central, redraw
from .listening import Measured
from .pipelines import TEACHER
from .recognition import WordErrors, count_errors
from .report import Circumstances
from .slips import Slips, agreed_slips
from .speakers import Confusion, SpeakerClassifier


@dataclass(frozen=True)
class Heard:
    """What the recogniser heard of a sentence on one road, and where words were skipped or added.

    words: each wording, and in how many of the hearings it was heard.
    """

    words: dict[str, int]
    skipped: tuple[str, ...] = ()
    added: tuple[str, ...] = ()


@dataclass(frozen=True)
class Transcript:
    """One sentence of a result; `heard` is by road."""

    kind: str
    text: str
    expected: str
    heard: dict[str, Heard]


@dataclass(frozen=True)
class Road:
    """One road in one voice. Intervals hold 95 % (bootstrap over the sentences).

    word_errors: of all hearings together; interval: of the word error rate; over_teacher: points more than
    the teacher's, and their interval; distance: mel-cepstral, to the teacher, in dB, the mean over sentences;
    duration_ratio: seconds over the teacher's; slipped: sentences with skipped or added words, of those
    `judged`; cut_off: sentences that the limit of length ended.
    """

    word_errors: WordErrors
    word_error_rate_by_kind: dict[str, float]
    interval: tuple[float, ...]
    over_teacher: float
    over_teacher_interval: tuple[float, ...]
    distance: float
    duration_ratio: float
    judged: int
    slipped: int
    cut_off: int


@dataclass(frozen=True)
class Speaker:
    """One voice on every road; stoi and pesq: of the codec beside the teacher, means over sentences."""

    roads: dict[str, Road]
    stoi: float
    pesq: float | None
    sentences: tuple[Transcript, ...]


@dataclass(frozen=True)
class Score:
    """The result.

    hearings: how many times the recogniser heard every sound; checkpoint: its SHA-256, and of the bundle that
    of its manifest; seconds: this run took, not counting what an earlier one had measured; prompt_seconds: by
    speaker; confusion: by road, where there are several speakers.
    """

    circumstances: Circumstances
    hearings: int
    checkpoint: str
    bundle: str
    voice: str
    seed: int
    seconds: float
    speakers: dict[str, Speaker]
    prompt_seconds: dict[str, float]
    confusion: dict[str, Confusion]


def score_speaker(measured: Sequence[Measured]) -> Speaker:
    """Score one voice."""
    roads = tuple(measured[0].hearings)
    slips = {road: _slips(measured, road) for road in roads}
    sentences = tuple(
        Transcript(m.kind, m.text, m.expected, {road: _heard(m, road, slips[road][place]) for road in roads})
        for place, m in enumerate(measured)
    )
    qualities = [m.pesq for m in measured if m.pesq is not None]
    return Speaker(
        roads={road: _score_road(measured, road, slips[road]) for road in roads},
        stoi=round(statistics.fmean(m.stoi for m in measured), 4),
        pesq=round(statistics.fmean(qualities), 3) if qualities else None,
        sentences=sentences,
    )


def confusions(
    taught: dict[str, list[list[float]]], measured: dict[str, list[Measured]]
) -> dict[str, Confusion]:
    """Classify the speech of every road by a classifier that was `taught`, timbres of each speaker.

    SoundStorm and the codec may take the voice from the teacher's own tokens and codes; what says most is
    text to speech, where all that tells the voice is the prompt.
    """
    if len(measured) < 2:
        return {}
    classifier = SpeakerClassifier(taught)
    roads = next(iter(measured.values()))[0].hearings
    return {
        road: classifier.confusion({name: [m.timbre[road] for m in rows] for name, rows in measured.items()})
        for road in roads
    }


def _heard(measured: Measured, road: str, slips: Slips | None) -> Heard:
    found = slips or Slips()
    wordings = Counter(hearing.text for hearing in measured.hearings[road])
    return Heard(dict(wordings), found.skipped, found.added)


def _slips(measured: Sequence[Measured], road: str) -> list[Slips | None]:
    tempo = statistics.median(_seconds(m, road) / _seconds(m, TEACHER) for m in measured)
    return [
        agreed_slips(m.spoken, m.hearings[TEACHER], m.hearings[road], tempo) if m.spoken else None
        for m in measured
    ]


def _seconds(measured: Measured, road: str) -> float:
    return measured.hearings[road][0].seconds


def _score_road(measured: Sequence[Measured], road: str, slips: Sequence[Slips | None]) -> Road:
    kinds = dict.fromkeys(m.kind for m in measured)
    rates, over = _intervals(measured, road)
    errors = _count(measured, road)
    seconds, taught = (sum(_seconds(m, r) for m in measured) for r in (road, TEACHER))
    return Road(
        word_errors=errors,
        word_error_rate_by_kind={
            kind: _count([m for m in measured if m.kind == kind], road).rate for kind in kinds
        },
        interval=rates,
        over_teacher=round(errors.rate - _count(measured, TEACHER).rate, 2),
        over_teacher_interval=over,
        distance=round(statistics.fmean(m.distance[road] for m in measured), 2),
        duration_ratio=round(seconds / taught, 4),
        judged=sum(found is not None for found in slips),
        slipped=sum(bool(found) for found in slips),
        cut_off=sum(not m.complete[road] for m in measured),
    )


def _count(measured: Sequence[Measured], road: str) -> WordErrors:
    heard = [(m.expected, hearing.text) for m in measured for hearing in m.hearings[road]]
    return count_errors(*zip(*heard, strict=True))


def _intervals(measured: Sequence[Measured], road: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """95 % of word error rates, and of what they are over the teacher's, if other sentences were drawn.

    The same sentences are drawn for both, so that a sentence that is hard for the recogniser does not blur
    the difference.
    """
    own, words = _errors(measured, road)
    teacher, _ = _errors(measured, TEACHER)
    spoken = redraw(words).sum(axis=1) / 100
    return central(redraw(own).sum(axis=1) / spoken), central(redraw(own - teacher).sum(axis=1) / spoken)


def _errors(measured: Sequence[Measured], road: str) -> tuple[np.ndarray, np.ndarray]:
    """Count the errors, and the words, of every sentence, over all hearings."""
    counts = [_count([m], road) for m in measured]
    errors = [c.substitutions + c.deletions + c.insertions for c in counts]
    return np.array(errors), np.array([c.words for c in counts])
