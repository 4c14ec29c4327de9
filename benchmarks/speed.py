"""How fast a voice speaks: real-time factor, where the time goes, cold start, and memory."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import click

from soundstorm_runtime import acoustics as acoustics_module
from soundstorm_runtime import voice as voice_module
from soundstorm_runtime.audio import audio_file
from soundstorm_runtime.bundle import MANIFEST_FILE, read_bundle
from soundstorm_runtime.command import run
from soundstorm_runtime.engine import Engine
from soundstorm_runtime.errors import EngineError
from soundstorm_runtime.lexicon import Lexicon
from soundstorm_runtime.manifest import FileFacts
from soundstorm_runtime.onnx_engine import default_threads
from soundstorm_runtime.voice import Voice

from .report import RESULTS, Circumstances, circumstances, table, write_result

TEXTS = {
    "short": "The kettle is boiling.",
    "medium": "The gardener planted three rows of beans behind the old stone wall.",
    "long": (
        "When the ferry finally reached the island, the passengers gathered their bags, thanked the captain, "
        "and walked up the narrow road to the village before the rain began."
    ),
    "paragraph": (
        "The mill by the river has not turned for many years. Its wheel is broken, and grass grows between "
        "the stones of the yard. In summer the children of the village climb through a window and play there "
        "until somebody calls them home. Nobody minds. An old man once offered to repair it, but the work "
        "would have cost more than a new house. So it stands as it is, a little lower every winter, and the "
        "water passes it without doing anything."
    ),
}
STAGES = ("front end", "text stage", "step", "decoder", "inverse STFT", "rest")

# A process of its own, as small as can be: the peak that the system reports for a child counts what
# its parent held when it was started.
_WRAPPER = """
import resource, subprocess, sys, time
started = time.perf_counter()
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
print(time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, code)
"""


@dataclass(frozen=True)
class TextSpeed:
    """One text: medians of seconds and RTF over all repeats; `stages` are shares of the whole time."""

    audio_seconds: float
    seconds: float
    rtf: float
    step_calls: int
    seconds_per_step: float
    stages: dict[str, float]


@dataclass(frozen=True)
class ColdStart:
    """`soundstorm say` from start to exit: median seconds, and the peak of resident memory."""

    text: str
    seconds: float
    peak_megabytes: float


@dataclass(frozen=True)
class Speed:
    """The result; `bundle` is the SHA-256 of its manifest, which holds those of all files."""

    circumstances: Circumstances
    bundle: str
    voice: str
    steps: tuple[int, ...]
    threads: int
    repeats: int
    texts: dict[str, TextSpeed]
    cold_start: ColdStart


class Stopwatch:
    """Adds up seconds and calls by stage while `running`."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.calls: Counter[str] = Counter()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Time every stage of every voice that speaks within."""
        with (
            self._timed(voice_module, "split_sentences", lambda *_: "front end"),
            self._timed(Lexicon, "phones", lambda *_: "front end"),
            self._timed(acoustics_module, "inverse_stft", lambda *_: "inverse STFT"),
            self._timed(Engine, "run", lambda engine, *_: _stage(engine.graph.name)),
        ):
            yield

    def _timed(self, owner: Any, name: str, stage: Callable[..., str]) -> Any:
        function = getattr(owner, name)

        def timed(*arguments: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*arguments)
            finally:
                self.seconds[stage(*arguments)] += time.perf_counter() - started
                self.calls[stage(*arguments)] += 1

        return mock.patch.object(owner, name, timed)


def _stage(graph: str) -> str:
    return "text stage" if graph.startswith("text_") else graph


def measure_text(voice: Voice, text: str, wav: Path, repeats: int) -> TextSpeed:
    """Speak `text` to a WAV file `repeats` times, after once to warm up."""
    samples = _speak(voice, text, wav)
    stopwatch, taken = Stopwatch(), []
    for _ in range(repeats):
        started = time.perf_counter()
        with stopwatch.running():
            _speak(voice, text, wav)
        taken.append(time.perf_counter() - started)
    audio_seconds, seconds = samples / voice.sample_rate, statistics.median(taken)
    spent = dict(stopwatch.seconds)
    spent["rest"] = sum(taken) - sum(spent.values())
    return TextSpeed(
        audio_seconds=round(audio_seconds, 3),
        seconds=round(seconds, 4),
        rtf=round(seconds / audio_seconds, 4),
        step_calls=stopwatch.calls["step"] // repeats,
        seconds_per_step=round(spent["step"] / stopwatch.calls["step"], 5),
        stages={stage: round(spent.get(stage, 0.0) / sum(taken), 4) for stage in STAGES},
    )


def _speak(voice: Voice, text: str, wav: Path) -> int:
    samples = 0
    with audio_file(wav, voice.sample_rate) as write:
        for audio in voice.speak_sentences(text):
            write(audio)
            samples += len(audio)
    return samples


def measure_cold_start(bundle: Path, text: str, wav: Path, threads: int, repeats: int) -> ColdStart:
    """Run `soundstorm say` in a process of its own, `repeats` times."""
    say = [sys.executable, "-m", "soundstorm_runtime.cli", "say", str(bundle), text, "-o", str(wav)]
    taken, peaks = [], []
    for _ in range(repeats):
        command = [sys.executable, "-c", _WRAPPER, *say, "--threads", str(threads), "--provider", "cpu"]
        result = subprocess.run(command, capture_output=True, text=True)
        seconds, kilobytes, code = result.stdout.split()
        if code != "0":
            raise EngineError(
                f"soundstorm say ended with {code}, expected 0 ({result.stderr.strip()[-200:]})"
            )
        taken.append(float(seconds))
        peaks.append(int(kilobytes) / 1024)
    return ColdStart(text, round(statistics.median(taken), 3), round(max(peaks), 1))


def show(result: Speed) -> str:
    """Lay out the figures for people."""
    rows = [["text", "audio, s", "time, s", "RTF", "steps", "s/step", *(f"{s}, %" for s in STAGES)]]
    for name, text in result.texts.items():
        shares = [f"{100 * text.stages[stage]:.1f}" for stage in STAGES]
        figures = [f"{text.audio_seconds:.2f}", f"{text.seconds:.3f}", f"{text.rtf:.3f}"]
        rows.append([name, *figures, str(text.step_calls), f"{text.seconds_per_step:.4f}", *shares])
    cold = result.cold_start
    return (
        f"{table(rows)}\n"
        f"soundstorm say, cold, to its exit: {cold.seconds:.2f} s, {cold.peak_megabytes:.0f} MB at most"
    )


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--repeats", type=click.IntRange(min=1), default=5, show_default=True)
@click.option("--threads", type=click.IntRange(min=1), help="Within one operator.  [default: processors]")
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS / "speed.json", show_default=True)
def main(bundle: Path, repeats: int, threads: int | None, out: Path) -> None:
    """Measure how fast the voice in the folder BUNDLE speaks."""
    checked = read_bundle(bundle)
    threads = threads or default_threads()
    voice = Voice.load(bundle, threads=threads, provider="cpu")
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "speech.wav"
        texts = {name: measure_text(voice, text, wav, repeats) for name, text in TEXTS.items()}
        cold = measure_cold_start(bundle, TEXTS["short"], wav, threads, repeats)
    manifest = checked.manifest
    result = Speed(
        circumstances=circumstances("speed"),
        bundle=FileFacts.of(bundle / MANIFEST_FILE).sha256,
        voice=manifest.name,
        steps=manifest.decode.steps,
        threads=threads,
        repeats=repeats,
        texts=texts,
        cold_start=cold,
    )
    write_result(out, result)
    click.echo(show(result))


if __name__ == "__main__":
    run(main)
