"""The number of decoding steps: quality and speed of one voice at several settings.

The same sentences are spoken with the same seeds at every setting, in turns, and then recognised. Words are a
coarse measure. The mel-cepstral distance from flite, the teacher, is a finer one: it is compared sentence
by sentence.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click
import numpy as np

from soundstorm_edge.checkpoint import load_voice
from soundstorm_runtime.bundle.manifest import FileRecord
from soundstorm_runtime.bundle.open_engines import PrecisionChoice, open_engines
from soundstorm_runtime.bundle.reader import read_bundle
from soundstorm_runtime.support.command import run
from soundstorm_runtime.synthesis.calibration import fewest_steps
from soundstorm_runtime.voice import Voice

from .bootstrap import central, redraw
from .distance import mel_cepstral_distance
from .pipelines import teach
from .recognition import Recogniser, WordErrors, count_errors, reference_words
from .report import RESULTS, Circumstances, circumstances, table, write_result
from .sentences import read_sentences, take_evenly
from .work import exported

# Steps of the coarsest levels; all finer ones take one, or none where the voice leaves them out.
SETTINGS = ((1,), (2,), (4,), (8,), (8, 3), (16,), (16, 4))


@dataclass(frozen=True)
class Setting:
    """One setting: passes of the network for a sentence, RTF, word errors, and the distance from the teacher.

    Intervals hold 95 %; `farther` is by how much the distance, in dB, is larger than at the last setting.
    """

    steps: tuple[int, ...]
    passes: int
    rtf: float
    word_errors: WordErrors
    interval: tuple[float, ...]
    distance: float
    farther: float
    farther_interval: tuple[float, ...]


@dataclass(frozen=True)
class Dial:
    """The result; `checkpoint` is the SHA-256 of what was exported."""

    circumstances: Circumstances
    checkpoint: str
    voice: str
    precision: str
    sentences: int
    settings: tuple[Setting, ...]


def settings_of(own: Sequence[int]) -> list[tuple[int, ...]]:
    """Return `SETTINGS` with a step for each level of a voice that has `own` steps."""
    fewest = fewest_steps(own)
    return [(*coarse, *fewest[len(coarse) :]) for coarse in SETTINGS if len(coarse) <= sum(fewest)]


def measure(
    voice: Voice,
    recogniser: Recogniser,
    texts: Sequence[str],
    settings: Sequence[tuple[int, ...]],
    teach: Callable[[str], np.ndarray],
) -> tuple[Setting, ...]:
    """Speak all texts at every setting, recognise them, and compare them with what `teach` makes of them."""
    voice.speak(texts[0])  # the first run of a graph takes longer
    seconds, length = dict.fromkeys(settings, 0.0), dict.fromkeys(settings, 0)
    heard: dict[tuple[int, ...], list[str]] = {steps: [] for steps in settings}
    apart: dict[tuple[int, ...], list[float]] = {steps: [] for steps in settings}
    for text in texts:
        taught = teach(text)
        spoken = []
        for steps in settings:
            started = time.perf_counter()
            spoken.append(voice.speak(text, steps=steps))
            seconds[steps] += time.perf_counter() - started
        for steps, audio in zip(settings, spoken, strict=True):
            length[steps] += len(audio)
            words = recogniser.hear(audio, voice.sample_rate)
            heard[steps].append(" ".join(word.text for word in words))
            apart[steps].append(mel_cepstral_distance(taught, audio, voice.sample_rate))
    last = np.array(apart[settings[-1]])
    expected = [reference_words(text) for text in texts]
    return tuple(
        Setting(
            steps=steps,
            passes=sum(steps),
            rtf=round(seconds[steps] * voice.sample_rate / length[steps], 4),
            word_errors=count_errors(expected, heard[steps]),
            interval=_interval(expected, heard[steps]),
            distance=round(float(np.mean(apart[steps])), 3),
            farther=round(float(np.mean(apart[steps] - last)), 3),
            farther_interval=central(redraw(apart[steps] - last).mean(axis=1), 3),
        )
        for steps in settings
    )


def _interval(expected: Sequence[str], heard: Sequence[str]) -> tuple[float, ...]:
    """Return the 95 % bootstrap interval of the word error rate, in percent, over sentences."""
    counted = [count_errors([words], [found]) for words, found in zip(expected, heard, strict=True)]
    errors = np.array([c.substitutions + c.deletions + c.insertions for c in counted])
    words = np.array([c.words for c in counted])
    return central(100 * redraw(errors).sum(axis=1) / redraw(words).sum(axis=1))


def show(result: Dial) -> str:
    """Format the figures as text."""
    rows = [
        ["steps", "passes", "RTF", "word error rate, % [95 %]", "dB from the teacher", "more than the last"]
    ]
    for setting in result.settings:
        (low, high), (near, far) = setting.interval, setting.farther_interval
        rows.append([
            ",".join(map(str, setting.steps)),
            str(setting.passes),
            f"{setting.rtf:.3f}",
            f"{setting.word_errors.rate:.1f} [{low:.1f}, {high:.1f}]",
            f"{setting.distance:.2f}",
            f"{setting.farther:+.2f} [{near:+.2f}, {far:+.2f}]",
        ])  # fmt: skip
    return table(rows)


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--sentences", "count", type=click.IntRange(min=1), default=20, show_default=True)
@click.option("--precision", type=click.Choice(["fp32", "int8", "auto"]), default="auto", show_default=True)
@click.option(
    "--teacher", default="rms", show_default=True, help="The voice of flite that it was trained on."
)
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS / "dial.json", show_default=True)
def main(checkpoint: Path, count: int, precision: PrecisionChoice, teacher: str, out: Path) -> None:
    """Measure quality and speed of the voice in CHECKPOINT at several numbers of steps."""
    models = load_voice(checkpoint)
    texts = [sentence.text for sentence in take_evenly(read_sentences(), count)]
    bundle = read_bundle(exported(models, checkpoint))
    engines = open_engines(bundle, provider="cpu", precision=precision)
    voice = Voice(bundle, engines.by_name, in_batches=engines.in_batches)
    settings = settings_of(bundle.manifest.decode.steps)
    result = Dial(
        circumstances=circumstances("dial"),
        checkpoint=FileRecord.of(checkpoint).sha256,
        voice=models.config.name,
        precision=engines.precision,
        sentences=count,
        settings=measure(
            voice, Recogniser(), texts, settings, partial(teach, voice=teacher, sample_rate=voice.sample_rate)
        ),
    )
    write_result(out, result)
    click.echo(show(result))


if __name__ == "__main__":
    run(main)
