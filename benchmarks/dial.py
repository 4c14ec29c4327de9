"""Steps as a dial between quality and speed: word errors and RTF of one voice at several steps.

The same sentences are spoken with the same seeds at every setting, in turns, and then recognised.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from soundstorm_edge.checkpoint import load_voice
from soundstorm_runtime.bundle import read_bundle
from soundstorm_runtime.command import run
from soundstorm_runtime.engines import PrecisionChoice, open_engines
from soundstorm_runtime.manifest import FileFacts
from soundstorm_runtime.voice import Voice

from .recognition import Recogniser, WordErrors, count_errors, reference_words
from .report import RESULTS, Circumstances, circumstances, table, write_result
from .sentences import read_sentences, take_evenly
from .work import exported

# Steps of the coarsest levels; all finer ones take one.
SETTINGS = ((1,), (2,), (4,), (8,), (8, 3), (16,), (16, 4))
DRAWS = 2000


@dataclass(frozen=True)
class Setting:
    """One setting: passes of the network for a sentence, RTF, and word errors with their 95 % interval."""

    steps: tuple[int, ...]
    passes: int
    rtf: float
    word_errors: WordErrors
    interval: tuple[float, ...]


@dataclass(frozen=True)
class Dial:
    """The result; `checkpoint` is the SHA-256 of what was exported."""

    circumstances: Circumstances
    checkpoint: str
    voice: str
    precision: str
    sentences: int
    settings: tuple[Setting, ...]


def settings_of(levels: int) -> list[tuple[int, ...]]:
    """Fill up `SETTINGS` for a voice of so many levels."""
    return [(*coarse, *(1,) * (levels - len(coarse))) for coarse in SETTINGS if len(coarse) <= levels]


def measure(
    voice: Voice, recogniser: Recogniser, texts: Sequence[str], settings: Sequence[tuple[int, ...]]
) -> tuple[Setting, ...]:
    """Speak all texts at every setting, and recognise them."""
    voice.speak(texts[0])  # the first run of a graph takes longer
    seconds, length = dict.fromkeys(settings, 0.0), dict.fromkeys(settings, 0)
    heard: dict[tuple[int, ...], list[str]] = {steps: [] for steps in settings}
    for text in texts:
        spoken = []
        for steps in settings:
            started = time.perf_counter()
            spoken.append(voice.speak(text, steps=steps))
            seconds[steps] += time.perf_counter() - started
        for steps, audio in zip(settings, spoken, strict=True):
            length[steps] += len(audio)
            words = recogniser.hear(audio, voice.sample_rate)
            heard[steps].append(" ".join(word.text for word in words))
    expected = [reference_words(text) for text in texts]
    return tuple(
        Setting(
            steps=steps,
            passes=sum(steps),
            rtf=round(seconds[steps] * voice.sample_rate / length[steps], 4),
            word_errors=count_errors(expected, heard[steps]),
            interval=_interval(expected, heard[steps]),
        )
        for steps in settings
    )


def _interval(expected: Sequence[str], heard: Sequence[str]) -> tuple[float, ...]:
    """Give the 95 % interval of the word error rate, in percent, by drawing the sentences anew."""
    counted = [count_errors([words], [found]) for words, found in zip(expected, heard, strict=True)]
    errors = np.array([c.substitutions + c.deletions + c.insertions for c in counted])
    words = np.array([c.words for c in counted])
    drawn = np.random.default_rng(0).integers(len(counted), size=(DRAWS, len(counted)))
    rates = 100 * errors[drawn].sum(axis=1) / words[drawn].sum(axis=1)
    return tuple(np.percentile(rates, (2.5, 97.5)).round(2).tolist())


def show(result: Dial) -> str:
    """Lay out the figures for people."""
    rows = [["steps", "passes", "RTF", "word error rate, % [95 %]"]]
    for setting in result.settings:
        low, high = setting.interval
        errors = f"{setting.word_errors.rate:.1f} [{low:.1f}, {high:.1f}]"
        rows.append([",".join(map(str, setting.steps)), str(setting.passes), f"{setting.rtf:.3f}", errors])
    return table(rows)


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--sentences", "count", type=click.IntRange(min=1), default=20, show_default=True)
@click.option("--precision", type=click.Choice(["fp32", "int8", "auto"]), default="auto", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS / "dial.json", show_default=True)
def main(checkpoint: Path, count: int, precision: PrecisionChoice, out: Path) -> None:
    """Measure what the steps of the voice in CHECKPOINT cost, and what they give."""
    models = load_voice(checkpoint)
    texts = [sentence.text for sentence in take_evenly(read_sentences(), count)]
    bundle = read_bundle(exported(models, checkpoint))
    engines = open_engines(bundle, provider="cpu", precision=precision)
    voice = Voice(bundle, engines.by_name, in_batches=engines.in_batches)
    settings = settings_of(bundle.manifest.audio.levels)
    result = Dial(
        circumstances=circumstances("dial"),
        checkpoint=FileFacts.of(checkpoint).sha256,
        voice=models.config.name,
        precision=engines.precision,
        sentences=count,
        settings=measure(voice, Recogniser(), texts, settings),
    )
    write_result(out, result)
    click.echo(show(result))


if __name__ == "__main__":
    run(main)
