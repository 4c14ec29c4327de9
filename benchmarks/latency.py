"""Latency of streams: first audio, the time of each block, and whether playback would ever wait."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any
from unittest import mock

import click
import numpy as np

from soundstorm_runtime.bundle.reader import read_bundle
from soundstorm_runtime.engines.base import Engine
from soundstorm_runtime.support.command import run
from soundstorm_runtime.support.hardware import default_threads
from soundstorm_runtime.voice import Voice

from .report import RESULTS, Circumstances, circumstances, manifest_digest, table, write_result
from .sentences import read_sentences

WORDS = (9, 11)  # of a sentence, about ten
BLOCKS = ("first", "second", "later")


@dataclass(frozen=True)
class Spread:
    """Seconds: the median and the 95th percentile."""

    median: float
    percentile_95: float
    count: int


@dataclass(frozen=True)
class Memory:
    """Resident MiB after each minute of audio of one long text."""

    minutes: tuple[float, ...]

    @property
    def growth(self) -> float:
        """Growth after the first minute."""
        return round(self.minutes[-1] - self.minutes[0], 1)


@dataclass(frozen=True)
class Latency:
    """The result; `bundle` is the SHA-256 of its manifest, which holds those of all files.

    first_audio: until the first chunk, which lasts `first_audio_seconds`. spare: how long before it is needed
    each later chunk is there, where the first is played at once; `waits` counts those that come too late.
    """

    circumstances: Circumstances
    bundle: str
    voice: str
    threads: int
    steps: tuple[int, ...]
    first_audio: Spread
    first_audio_seconds: Spread
    rtf: Spread
    stages: dict[str, Spread]
    spare: Spread
    waits: int
    memory: Memory | None


class Timeline:
    """The time of one stream, chunk by chunk: seconds of each stage, by the number of the block."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, float]] = []
        self.chunks: list[tuple[float, float]] = []  # when it came, and how long it lasts

    def hear(self, chunks: Iterator[np.ndarray], sample_rate: int) -> None:
        """Consume a stream to its end."""
        started = time.perf_counter()
        with self._watched() as spent:
            for chunk in chunks:
                self.chunks.append((time.perf_counter() - started, len(chunk) / sample_rate))
                self._note(spent)
        self.seconds = time.perf_counter() - started

    @property
    def audio(self) -> float:
        """Seconds of audio in all."""
        return sum(seconds for _, seconds in self.chunks)

    @property
    def spare(self) -> list[float]:
        """Seconds between the arrival of each chunk after the first and the time playback needs it."""
        needed = np.cumsum([self.chunks[0][0], *(seconds for _, seconds in self.chunks)])
        return [float(need - came) for need, (came, _) in zip(needed[1:], self.chunks[1:], strict=False)]

    def _note(self, spent: dict[str, float]) -> None:
        block = BLOCKS[min(len(self.chunks), len(BLOCKS)) - 1]
        self.stages += [
            (stage if stage == "text" else f"{stage}, {block} block", s) for stage, s in spent.items()
        ]
        spent.clear()

    @contextmanager
    def _watched(self) -> Iterator[dict[str, float]]:
        spent: defaultdict[str, float] = defaultdict(float)
        function = Engine.run

        def timed(engine: Engine, feeds: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(engine, feeds)
            finally:
                spent[_stage(engine.graph.name)] += time.perf_counter() - started

        with mock.patch.object(Engine, "run", timed):
            yield spent


def _stage(graph: str) -> str:
    return "text" if graph.startswith("text_") else "SoundStorm" if graph == "step" else "codec"


def spread(seconds: Sequence[float]) -> Spread:
    """Summarise."""
    middle, high = np.percentile(seconds, (50, 95))
    return Spread(round(float(middle), 4), round(float(high), 4), len(seconds))


def measure(voice: Voice, sentences: Sequence[str]) -> list[Timeline]:
    """Stream each sentence by itself, after a warm-up."""
    voice.warm_up()
    timelines = []
    for text in (sentences[0], *sentences):
        timelines.append(Timeline())
        timelines[-1].hear(voice.stream(text), voice.sample_rate)
    return timelines[1:]


def measure_memory(voice: Voice, sentences: Sequence[str], minutes: int) -> Memory:
    """Stream one text of so many minutes, and record the memory after each."""
    found: list[float] = []
    samples, minute = 0, 60 * voice.sample_rate
    for chunk in voice.stream(f"{text} " for text in cycle(sentences)):
        samples += len(chunk)
        if samples >= minute * (len(found) + 1):
            found.append(_resident())
        if len(found) == minutes:
            break
    return Memory(tuple(found))


def _resident() -> float:
    """Return resident memory in MiB, of Linux."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * 4096 / 2**20, 1)


def ten_words(count: int) -> list[str]:
    """Return held-out sentences of about ten words; each occurs once before any is repeated."""
    fitting = [s.text for s in read_sentences() if WORDS[0] <= len(s.text.split()) <= WORDS[1]]
    return [text for text, _ in zip(cycle(fitting), range(count), strict=False)]


def summed_up(timelines: Sequence[Timeline]) -> dict[str, Any]:
    """Combine the timelines of all sentences: the fields of `Latency` that follow from them."""
    stages: defaultdict[str, list[float]] = defaultdict(list)
    for timeline in timelines:
        for stage, seconds in timeline.stages:
            stages[stage].append(seconds)
    spare = [seconds for timeline in timelines for seconds in timeline.spare]
    return {
        "first_audio": spread([timeline.chunks[0][0] for timeline in timelines]),
        "first_audio_seconds": spread([timeline.chunks[0][1] for timeline in timelines]),
        "rtf": spread([timeline.seconds / timeline.audio for timeline in timelines]),
        "stages": {stage: spread(stages[stage]) for stage in sorted(stages, key=_order)},
        "spare": spread(spare),
        "waits": sum(seconds < 0 for seconds in spare),
    }


def _order(stage: str) -> tuple[int, int]:
    name, _, block = stage.partition(", ")
    order = ("text", "SoundStorm", "codec").index(name)
    return (0, 0) if not block else (1 + BLOCKS.index(block.split()[0]), order)


def show(result: Latency) -> str:
    """Format the figures as text."""
    rows = [["", "median, ms", "95 %, ms"]]
    shown = {"first audio": result.first_audio, **result.stages, "spare": result.spare}
    for name, found in shown.items():
        rows.append([name, f"{1000 * found.median:.0f}", f"{1000 * found.percentile_95:.0f}"])
    lines = [table(rows), f"RTF {result.rtf.median:.3f}, 95 % below {result.rtf.percentile_95:.3f}"]
    lines.append(f"chunks that playback would have waited for: {result.waits} of {result.spare.count}")
    if result.memory:
        minutes = " ".join(f"{megabytes:.0f}" for megabytes in result.memory.minutes)
        lines.append(f"MiB after each minute: {minutes} ({result.memory.growth:+.1f} after the first)")
    return "\n".join(lines)


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--sentences", type=click.IntRange(min=1), default=50, show_default=True)
@click.option(
    "--minutes", type=click.IntRange(min=0), default=10, show_default=True, help="Length of the long text."
)
@click.option(
    "--threads", type=click.IntRange(min=1), help="Threads within one operator.  [default: processors]"
)
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS / "latency.json", show_default=True)
def main(bundle: Path, sentences: int, minutes: int, threads: int | None, out: Path) -> None:
    """Measure the latency of streams of the voice in the folder BUNDLE."""
    threads = threads or default_threads()
    voice = Voice.load(bundle, threads=threads, provider="cpu")
    texts = ten_words(sentences)
    found = summed_up(measure(voice, texts))
    linux = sys.platform == "linux"
    result = Latency(
        circumstances=circumstances("latency"),
        bundle=manifest_digest(bundle),
        voice=read_bundle(bundle).manifest.name,
        threads=threads,
        steps=voice.options.steps,
        memory=measure_memory(voice, texts, minutes) if minutes and linux else None,
        **found,
    )
    write_result(out, result)
    click.echo(show(result))


if __name__ == "__main__":
    run(main)
