"""How well the teacher speaks English in each style: what the speakers of the corpus were chosen by.

    pip install 'soundstorm-edge[peers]'
    python -m benchmarks.teacher_styles

A style is a timbre and a manner of speaking (`soundstorm_edge.data.kokoro_teacher`). Manners differ in how
well they are understood, timbres in how natural they sound.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from tqdm import tqdm

from soundstorm_edge.data.kokoro_teacher import LOWEST_F0, SAMPLE_RATE, Kokoro, Speaker
from soundstorm_edge.data.sources.kokoro import SPEAKERS
from soundstorm_runtime.support.command import run

from .judges import Judges, said
from .recognition import count_errors
from .report import RESULTS, Circumstances, circumstances, markdown, write_result
from .sentences import read_sentences, take_evenly

_CLEAREST = {"jm_kumo": 1.0}


@dataclass(frozen=True)
class Style:
    """A speaker and its score: word errors in percent by ear, opinion scores, median F0 in hertz."""

    timbre: dict[str, float]
    manner: dict[str, float]
    semitones: float
    word_errors: dict[str, float]
    overall: float
    p808: float
    median_f0: float


@dataclass(frozen=True)
class Result:
    """All speakers over the same sentences."""

    circumstances: Circumstances
    sentences: int
    styles: dict[str, Style]


def candidates(styles: Mapping[str, object]) -> dict[str, Speaker]:
    """The named speakers, every style as it is, and every timbre in the clearest manner, higher."""
    found = dict(SPEAKERS)
    for name in styles:
        found[name] = Speaker({name: 1.0}, {name: 1.0})
        found[f"{name}, clear"] = Speaker({name: 1.0}, _CLEAREST, 0.0 if name in _CLEAREST else 11.0)
    return found


def measure(teacher: Kokoro, judges: Judges, speaker: Speaker, texts: list[str]) -> Style:
    """Synthesise all texts with the teacher, and judge the speech."""
    heard: dict[str, list[str]] = {}
    scores, pitches = [], []
    for text in texts:
        speech = teacher.say(text, speaker)
        natural = judges.naturalness(speech.audio, SAMPLE_RATE)
        scores.append((natural.overall, natural.p808))
        pitches.append(speech.f0[speech.f0 > LOWEST_F0])
        for ear, words in judges.words(speech.audio, SAMPLE_RATE).items():
            heard.setdefault(ear, []).append(words)
    wanted = [said(text) for text in texts]
    overall, p808 = np.mean(scores, axis=0)
    return Style(
        dict(speaker.timbre), dict(speaker.manner), speaker.semitones,
        {ear: count_errors(wanted, words).rate for ear, words in heard.items()},
        round(float(overall), 3), round(float(p808), 3), round(float(np.median(np.concatenate(pitches))), 1),
    )  # fmt: skip


@click.command()
@click.option("--sentences", "count", type=click.IntRange(min=2), default=30, show_default=True)
@click.option("--json", "path", type=click.Path(path_type=Path), default=RESULTS / "teacher_styles.json")
def main(count: int, path: Path) -> None:
    """Measure every style of the teacher on held-out sentences."""
    teacher, judges = Kokoro(threads=1), Judges()
    texts = [sentence.text for sentence in take_evenly(read_sentences(), count)]
    styles = {
        name: measure(teacher, judges, speaker, texts)
        for name, speaker in tqdm(candidates(teacher.styles).items(), desc="styles")
    }
    write_result(path, Result(circumstances("teacher_styles"), count, styles))
    rows = [["", "WER, Whisper base, %", "tiny.en, %", "DNSMOS overall", "P.808", "median F0, Hz"]]
    for name, style in styles.items():
        errors = (f"{rate:.1f}" for rate in style.word_errors.values())
        rows.append([name, *errors, f"{style.overall:.2f}", f"{style.p808:.2f}", f"{style.median_f0:.0f}"])
    click.echo(markdown(rows))


if __name__ == "__main__":
    run(main)
