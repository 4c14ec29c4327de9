"""How fast a voice speaks: real-time factor, first audio, each stage, cold start and memory."""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Literal

from ..bundle.manifest import FileRecord
from ..bundle.open_engines import Engines, PrecisionChoice, Provider, open_engines
from ..bundle.reader import MANIFEST_FILE, Bundle, read_bundle
from ..engines.base import Engine
from ..engines.timing import TimedEngine
from ..errors import EngineError, OptionError
from ..support.hardware import Machine, default_threads, this_machine
from ..voice import Voice

Other = Literal["onnx", "torch"]

ENTRY_POINTS = "soundstorm.engines"  # of engines in other packages, which the runtime does not import
COLD_TEXT = "The kettle is on the stove."
WORDS_A_SECOND = 2.6

# The sentences of the texts, in this order, and again from the first one.
SENTENCES = (
    "The night train crosses the valley a little after ten.",
    "From the kitchen window one sees its lights, and then hears it on the bridge.",
    "Nobody in the house remembers when it was ever late.",
    "The old clock in the hall is set by it, and so is the baker's oven.",
    "One winter it did not come, because snow had closed the pass, and the whole street slept badly.",
)


@dataclass(frozen=True)
class Case:
    """One length of text and batch size: medians over the repeats, in seconds.

    Attributes:
        batch: Texts spoken together.
        audio: Length of the audio of all texts.
        seconds: Time for all texts.
        rtf: Seconds of computation per second of audio.
        first_audio: Time until the first sentence of one such text by itself.
        text, steps, codec, rest: Time of each stage for the whole batch.
        step: Time of one decoding step.
    """

    batch: int
    audio: float
    seconds: float
    rtf: float
    first_audio: float
    text: float
    steps: float
    step: float
    codec: float
    rest: float


@dataclass(frozen=True)
class ColdStart:
    """`soundstorm say` in a new process: medians in seconds, and the peak of resident memory."""

    text: str
    first_audio: float
    seconds: float
    peak_megabytes: float | None


@dataclass(frozen=True)
class Run:
    """The measurements of one engine."""

    engine: str
    precision: str
    cases: tuple[Case, ...]


@dataclass(frozen=True)
class Bench:
    """The result; `bundle` is the SHA-256 of the bundle's manifest."""

    command: str
    date: str
    machine: Machine
    bundle: str
    voice: str
    decode_steps: tuple[int, ...]
    threads: int
    repeats: int
    run: Run
    cold_start: ColdStart
    against: Run | None


@dataclass(frozen=True)
class Setting:
    """What is measured: every length of text, in seconds, with every batch size."""

    seconds: tuple[float, ...] = (2.0, 5.0, 10.0)
    batches: tuple[int, ...] = (1,)
    repeats: int = 5
    voice: str | None = None
    steps: tuple[int, ...] | None = None
    threads: int | None = None
    provider: Provider = "auto"
    precision: PrecisionChoice = "auto"

    def __post_init__(self) -> None:
        lengths = all(0 < seconds < math.inf for seconds in self.seconds)
        if not (self.seconds and lengths and self.batches and min(self.batches) > 0):
            raise OptionError(
                f"seconds are {list(self.seconds)} and batches {list(self.batches)}, expected some above 0"
            )


def bench(
    path: Path,
    setting: Setting,
    against: Other | None = None,
    checkpoint: Path | None = None,
    report: Callable[[str], None] = lambda line: None,
    command: str = "",
) -> Bench:
    """Measure a bundle, and optionally another engine with the same weights.

    Args:
        path: Folder of the bundle.
        setting: What is measured, and how often.
        against: 'onnx' for the fp32 graphs on the CPU, 'torch' for PyTorch with `checkpoint`.
        report: Called with lines of progress.
        command: The command line, which the result states.
    """
    bundle = read_bundle(path)
    opened = open_engines(
        bundle, provider=setting.provider, precision=setting.precision, threads=setting.threads
    )
    other = _other_engines(bundle, against, checkpoint, setting.threads or default_threads())
    run = _run(bundle, opened, setting, report)
    return Bench(
        command=command,
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        machine=this_machine(),
        bundle=FileRecord.of(path / MANIFEST_FILE).sha256,
        voice=bundle.manifest.name,
        decode_steps=setting.steps or bundle.manifest.decode.steps,
        threads=setting.threads or default_threads(),
        repeats=setting.repeats,
        run=run,
        cold_start=cold_start(path, setting, opened),
        against=_run(bundle, other, setting, report) if other else None,
    )


def text_of(seconds: float) -> str:
    """Return a text that takes about this many seconds to speak."""
    words = max(1, round(seconds * WORDS_A_SECOND))
    chosen: list[str] = []
    place = 0
    while words > 0:
        sentence = SENTENCES[place % len(SENTENCES)].split()[:words]
        chosen.append(" ".join(sentence).rstrip(",.") + ".")
        words -= len(sentence)
        place += 1
    return " ".join(chosen)


def cold_start(path: Path, setting: Setting, opened: Engines) -> ColdStart:
    """Run `soundstorm say` in new processes, up to three times."""
    say = [sys.executable, "-m", "soundstorm_runtime.cli", "say", str(path), COLD_TEXT, "-o", "-"]
    say += ["--provider", opened.provider, "--precision", opened.precision]
    say += ["--threads", str(setting.threads or default_threads())]
    say += ["--voice", setting.voice] if setting.voice else []
    say += ["--steps", ",".join(map(str, setting.steps))] if setting.steps else []
    found = [_cold_run(say) for _ in range(min(3, setting.repeats))]
    peaks = [one["peak_megabytes"] for one in found if one["peak_megabytes"] is not None]
    return ColdStart(
        text=COLD_TEXT,
        first_audio=round(statistics.median(one["first_audio_seconds"] for one in found), 3),
        seconds=round(statistics.median(one["seconds"] for one in found), 3),
        peak_megabytes=round(max(peaks), 1) if peaks else None,
    )


def _cold_run(command: Sequence[str]) -> dict[str, float]:
    wrapper = [sys.executable, "-m", "soundstorm_runtime.tools.cold_start", *command]
    done = subprocess.run(wrapper, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    if found["code"] != 0:
        raise EngineError(
            f"soundstorm say ended with {found['code']}, expected 0 ({done.stderr.strip()[-200:]})"
        )
    return found


def _other_engines(
    bundle: Bundle, against: Other | None, checkpoint: Path | None, threads: int
) -> Engines | None:
    if against is None:
        return None
    if against == "onnx":
        return open_engines(bundle, provider="cpu", precision="fp32", threads=threads)
    if checkpoint is None:
        raise OptionError("--against torch was given, expected --checkpoint with the weights of this bundle")
    found = list(metadata.entry_points(group=ENTRY_POINTS, name=against))
    if not found:
        raise EngineError(
            f"no engine '{against}' is registered by an installed package; "
            "pip install 'soundstorm-edge[train]'"
        )
    graphs = bundle.manifest.expected_graphs()
    try:
        by_name: dict[str, Engine] = found[0].load()(checkpoint, graphs, threads=threads)
    except ImportError as error:
        raise EngineError(
            f"engine '{against}' cannot be loaded ({error}); pip install 'soundstorm-edge[train]'"
        ) from error
    return Engines(by_name, "cpu", "fp32", "asked for")


def _run(bundle: Bundle, engines: Engines, setting: Setting, report: Callable[[str], None]) -> Run:
    timed = {name: TimedEngine(engine) for name, engine in engines.by_name.items()}
    voice = Voice(bundle, timed, in_batches=engines.in_batches)
    name = str(next(iter(engines.by_name.values())))
    cases = []
    for seconds in setting.seconds:
        for batch in setting.batches:
            report(f"{name}, {engines.precision}: {seconds:g} s, batch {batch}")
            cases.append(_case(voice, timed, seconds, batch, setting))
    return Run(name, engines.precision, tuple(cases))


def _case(voice: Voice, timed: dict[str, TimedEngine], seconds: float, batch: int, setting: Setting) -> Case:
    texts, seeds = [text_of(seconds)] * batch, list(range(batch))
    same = {"voice": setting.voice, "steps": setting.steps}
    totals, firsts, stages = [], [], []
    for repeat in range(1 + setting.repeats):  # the first one warms up
        for engine in timed.values():
            engine.reset()
        started = time.perf_counter()
        audio = voice.speak_many(texts, seed=seeds, **same)  # type: ignore[arg-type]
        total = time.perf_counter() - started
        stage = {name: engine.seconds for name, engine in timed.items()}
        calls = timed["step"].calls
        started = time.perf_counter()
        next(voice.speak_sentences(texts[0], **same))  # type: ignore[arg-type]
        if repeat:
            totals.append(total)
            firsts.append(time.perf_counter() - started)
            stages.append(stage)
    middle = {name: statistics.median(stage[name] for stage in stages) for name in timed}
    text = sum(spent for name, spent in middle.items() if name.startswith("text_"))
    length = sum(map(len, audio)) / voice.sample_rate
    whole = statistics.median(totals)
    return Case(
        batch=batch,
        audio=round(length, 3),
        seconds=round(whole, 4),
        rtf=round(whole / length, 4),
        first_audio=round(statistics.median(firsts), 4),
        text=round(text, 4),
        steps=round(middle["step"], 4),
        step=round(middle["step"] / calls, 5),
        codec=round(middle["decoder"], 4),
        rest=round(whole - text - middle["step"] - middle["decoder"], 4),
    )
