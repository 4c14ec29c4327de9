"""The best of several candidates: word errors and time beside those of one.

    pip install 'soundstorm-edge[peers]'
    python -m benchmarks.candidates build/voice --sentences 100

Intervals are 95 % bootstrap intervals of the difference to one candidate, over the same sentences.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from soundstorm_runtime.support.command import run
from soundstorm_runtime.voice import Voice

from .bootstrap import central, redraw
from .judges import Judges, said
from .recognition import count_errors
from .report import RESULTS, Circumstances, circumstances, manifest_digest, table, write_result
from .sentences import read_sentences, take_evenly

COUNTS = (1, 2, 4, 8)
EARS = ("base", "tiny.en")


@dataclass(frozen=True)
class Candidates:
    """Figures of so many candidates: errors by ear and their difference to one candidate, in percent."""

    count: int
    word_errors: dict[str, float]
    difference: dict[str, tuple[float, ...]]
    rtf: float


@dataclass(frozen=True)
class Result:
    """The result; `bundle` is the SHA-256 of its manifest."""

    circumstances: Circumstances
    bundle: str
    sentences: int
    candidates: list[Candidates]


def mistakes(references: Sequence[str], heard: Sequence[str]) -> np.ndarray:
    """Return the wrong, missing and added words of each sentence, int64 `[sentences]`."""
    counts = [count_errors([reference], [own]) for reference, own in zip(references, heard, strict=True)]
    return np.array([own.substitutions + own.deletions + own.insertions for own in counts])


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--sentences", type=click.IntRange(min=1), default=100, show_default=True)
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True)
@click.option(
    "--out", type=click.Path(path_type=Path), default=RESULTS / "candidates.json", show_default=True
)
def main(bundle: Path, sentences: int, threads: int, out: Path) -> None:
    """Speak sentences with 1, 2, 4 and 8 candidates of the voice in the folder BUNDLE."""
    voice, judges = Voice.load(bundle, threads=threads, provider="cpu"), Judges(threads)
    texts = [sentence.text for sentence in take_evenly(read_sentences(), sentences)]
    references = [said(text) for text in texts]
    heard: dict[tuple[int, str], list[str]] = {(count, ear): [] for count in COUNTS for ear in EARS}
    took, lasts = dict.fromkeys(COUNTS, 0.0), 0.0
    for seed, text in enumerate(texts):
        for count in COUNTS:
            started = time.perf_counter()
            audio = voice.speak(text, seed=seed, candidates=count)
            took[count] += time.perf_counter() - started
            for ear, words in judges.words(audio, voice.sample_rate).items():
                heard[count, ear].append(words)
        lasts += len(audio) / voice.sample_rate
    lengths = np.array([len(reference.split()) for reference in references])
    wrong = {key: mistakes(references, own) for key, own in heard.items()}
    found = []
    for count in COUNTS:
        errors, differences = {}, {}
        for ear in EARS:
            errors[ear] = round(100 * float(wrong[count, ear].sum() / lengths.sum()), 2)
            drawn = redraw(wrong[count, ear] - wrong[1, ear]).sum(axis=1) / redraw(lengths).sum(axis=1)
            differences[ear] = central(100 * drawn)
        found.append(Candidates(count, errors, differences, round(took[count] / lasts, 4)))
    digest = manifest_digest(bundle)
    write_result(out, Result(circumstances("candidates"), digest, sentences, found))
    rows = [["candidates", *(f"WER {ear}" for ear in EARS), *(f"difference {ear}" for ear in EARS), "RTF"]]
    for own in found:
        spans = ["{:+.2f} to {:+.2f}".format(*own.difference[ear]) for ear in EARS]
        rows.append(
            [str(own.count), *(f"{own.word_errors[e]:.2f} %" for e in EARS), *spans, f"{own.rtf:.3f}"]
        )
    click.echo(table(rows))


if __name__ == "__main__":
    run(main)
