"""How far the word times of a voice are from those of a recogniser that aligns the same words with the audio.

    python -m benchmarks.word_times build/voice

The times that a voice returns are exact to a semantic token by construction: the text stage decides the
duration of every phone. This shows whether the audio follows: pocketsphinx aligns the spoken words with it,
in frames of 10 ms. Sentences that it cannot align are left out and counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from soundstorm_runtime.support.command import run
from soundstorm_runtime.voice import Voice

from .recognition import Recogniser
from .report import RESULTS, Circumstances, circumstances, table, write_result
from .sentences import read_sentences, take_evenly


@dataclass(frozen=True)
class Errors:
    """Absolute differences of times, in milliseconds, and their mean with its sign (late is positive)."""

    median: float
    percentile_95: float
    mean_offset: float


@dataclass(frozen=True)
class WordTimes:
    """The result.

    Attributes:
        circumstances: Machine and versions.
        voice: The bundle.
        sentences: Sentences that were aligned.
        left_out: Sentences that the recogniser could not align.
        words: Words compared.
        starts: Errors of the starts of words.
        ends: Errors of the ends of words.
    """

    circumstances: Circumstances
    voice: str
    sentences: int
    left_out: int
    words: int
    starts: Errors
    ends: Errors


def errors(differences: np.ndarray) -> Errors:
    """Return the errors of differences in seconds, float [words]."""
    size = 1000 * np.abs(differences)
    return Errors(
        median=round(float(np.median(size)), 1),
        percentile_95=round(float(np.percentile(size, 95)), 1),
        mean_offset=round(1000 * float(differences.mean()), 1),
    )


def compare(voice: Voice, recogniser: Recogniser, text: str) -> list[tuple[float, float]]:
    """Return by how many seconds each word of a text starts and ends later than the recogniser finds it."""
    speech = voice.speak_timed(text)
    words = ["a" if word.word == "ay" else word.word for word in speech.words]
    found = recogniser.align(speech.audio, voice.sample_rate, " ".join(words))
    return [
        (own.start - aligned.start, own.end - aligned.end)
        for own, aligned in zip(speech.words, found, strict=False)
    ]


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--sentences", "count", type=click.IntRange(min=1), default=50, show_default=True)
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True)
@click.option(
    "--out", type=click.Path(path_type=Path), default=RESULTS / "word_times.json", show_default=True
)
def main(bundle: Path, count: int, threads: int, out: Path) -> None:
    """Compare the word times of the voice in the folder BUNDLE with those of a recogniser."""
    voice, recogniser = Voice.load(bundle, threads=threads, provider="cpu"), Recogniser()
    texts = [sentence.text for sentence in take_evenly(read_sentences(), count)]
    compared = [pairs for text in texts if (pairs := compare(voice, recogniser, text))]
    if not compared:
        raise click.ClickException("the recogniser could align no sentence")
    differences = np.array([pair for pairs in compared for pair in pairs])
    result = WordTimes(
        circumstances=circumstances("word_times"),
        voice=bundle.name,
        sentences=len(compared),
        left_out=len(texts) - len(compared),
        words=len(differences),
        starts=errors(differences[:, 0]),
        ends=errors(differences[:, 1]),
    )
    write_result(out, result)
    rows = [["", "median, ms", "95 %, ms", "mean offset, ms"]]
    for name, found in (("starts", result.starts), ("ends", result.ends)):
        rows.append([name, f"{found.median:.1f}", f"{found.percentile_95:.1f}", f"{found.mean_offset:+.1f}"])
    click.echo(f"{result.words} words of {result.sentences} sentences, {result.left_out} left out")
    click.echo(table(rows))


if __name__ == "__main__":
    run(main)
