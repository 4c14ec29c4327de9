"""From the measurements of every sentence to the score of a voice."""

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
    """What was recognised of a sentence in one pipeline, and where words were skipped or added.

    words: each transcript, and how many of the recognitions gave it.
    """

    words: dict[str, int]
    skipped: tuple[str, ...] = ()
    added: tuple[str, ...] = ()


@dataclass(frozen=True)
class Transcript:
    """One sentence of a result; `heard` is by pipeline."""

    kind: str
    text: str
    expected: str
    heard: dict[str, Heard]


@dataclass(frozen=True)
class PipelineScore:
    """One pipeline in one voice. Intervals are 95 % bootstrap intervals over sentences.

    word_errors: of all recognitions together; interval: of the word error rate; over_teacher: points above
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
    """One voice with every pipeline; stoi and pesq: of the codec beside the teacher, means over sentences."""

    pipelines: dict[str, PipelineScore]
    stoi: float
    pesq: float | None
    sentences: tuple[Transcript, ...]


@dataclass(frozen=True)
class Score:
    """The result.

    hearings: how many times every utterance was recognised; checkpoint: its SHA-256, and of the bundle that
    of its manifest; seconds: this run took, not counting what an earlier one had measured; prompt_seconds: by
    speaker; confusion: by pipeline, where there are several speakers.
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
    pipelines = tuple(measured[0].hearings)
    slips = {pipeline: _slips(measured, pipeline) for pipeline in pipelines}
    sentences = tuple(
        Transcript(
            m.kind,
            m.text,
            m.expected,
            {pipeline: _heard(m, pipeline, slips[pipeline][place]) for pipeline in pipelines},
        )
        for place, m in enumerate(measured)
    )
    qualities = [m.pesq for m in measured if m.pesq is not None]
    return Speaker(
        pipelines={pipeline: _score_pipeline(measured, pipeline, slips[pipeline]) for pipeline in pipelines},
        stoi=round(statistics.fmean(m.stoi for m in measured), 4),
        pesq=round(statistics.fmean(qualities), 3) if qualities else None,
        sentences=sentences,
    )


def confusions(
    taught: dict[str, list[list[float]]], measured: dict[str, list[Measured]]
) -> dict[str, Confusion]:
    """Classify the speech of every pipeline, with a classifier trained on `taught`, timbres of each speaker.

    SoundStorm and the codec may take the voice from the teacher's own tokens and codes; what says most is
    text to speech, where all that tells the voice is the prompt.
    """
    if len(measured) < 2:
        return {}
    classifier = SpeakerClassifier(taught)
    pipelines = next(iter(measured.values()))[0].hearings
    return {
        pipeline: classifier.confusion(
            {name: [m.timbre[pipeline] for m in rows] for name, rows in measured.items()}
        )
        for pipeline in pipelines
    }


def _heard(measured: Measured, pipeline: str, slips: Slips | None) -> Heard:
    found = slips or Slips()
    wordings = Counter(hearing.text for hearing in measured.hearings[pipeline])
    return Heard(dict(wordings), found.skipped, found.added)


def _slips(measured: Sequence[Measured], pipeline: str) -> list[Slips | None]:
    tempo = statistics.median(_seconds(m, pipeline) / _seconds(m, TEACHER) for m in measured)
    return [
        agreed_slips(m.spoken, m.hearings[TEACHER], m.hearings[pipeline], tempo) if m.spoken else None
        for m in measured
    ]


def _seconds(measured: Measured, pipeline: str) -> float:
    return measured.hearings[pipeline][0].seconds


def _score_pipeline(
    measured: Sequence[Measured], pipeline: str, slips: Sequence[Slips | None]
) -> PipelineScore:
    kinds = dict.fromkeys(m.kind for m in measured)
    rates, over = _intervals(measured, pipeline)
    errors = _count(measured, pipeline)
    seconds, taught = (sum(_seconds(m, r) for m in measured) for r in (pipeline, TEACHER))
    return PipelineScore(
        word_errors=errors,
        word_error_rate_by_kind={
            kind: _count([m for m in measured if m.kind == kind], pipeline).rate for kind in kinds
        },
        interval=rates,
        over_teacher=round(errors.rate - _count(measured, TEACHER).rate, 2),
        over_teacher_interval=over,
        distance=round(statistics.fmean(m.distance[pipeline] for m in measured), 2),
        duration_ratio=round(seconds / taught, 4),
        judged=sum(found is not None for found in slips),
        slipped=sum(bool(found) for found in slips),
        cut_off=sum(not m.complete[pipeline] for m in measured),
    )


def _count(measured: Sequence[Measured], pipeline: str) -> WordErrors:
    heard = [(m.expected, hearing.text) for m in measured for hearing in m.hearings[pipeline]]
    return count_errors(*zip(*heard, strict=True))


def _intervals(measured: Sequence[Measured], pipeline: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """95 % of word error rates, and of what they are over the teacher's, if other sentences were drawn.

    The same sentences are drawn for both, so that a sentence that is hard for the recogniser does not blur
    the difference.
    """
    own, words = _errors(measured, pipeline)
    teacher, _ = _errors(measured, TEACHER)
    spoken = redraw(words).sum(axis=1) / 100
    return central(redraw(own).sum(axis=1) / spoken), central(redraw(own - teacher).sum(axis=1) / spoken)


def _errors(measured: Sequence[Measured], pipeline: str) -> tuple[np.ndarray, np.ndarray]:
    """Count the errors and the words of every sentence, over all recognitions."""
    counts = [_count([m], pipeline) for m in measured]
    errors = [c.substitutions + c.deletions + c.insertions for c in counts]
    return np.array(errors), np.array([c.words for c in counts])
