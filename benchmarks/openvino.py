"""OpenVINO beside ONNX Runtime's own CPU provider: the graphs of a voice and a sentence, in one run.

OpenVINO comes as a plug-in of ONNX Runtime (`pip install 'soundstorm-edge[openvino]'`), so that both run in
one process, in turns, on the same inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import onnxruntime

from soundstorm_runtime import Voice
from soundstorm_runtime.bundle.manifest import Precision
from soundstorm_runtime.bundle.open_engines import Engines, open_engines
from soundstorm_runtime.bundle.precisions import Place
from soundstorm_runtime.bundle.reader import Bundle, read_bundle
from soundstorm_runtime.engines.example_feeds import example_feeds
from soundstorm_runtime.support.command import run
from soundstorm_runtime.support.hardware import default_threads

from .harness import Timing, interleave, timing
from .report import RESULTS, Circumstances, circumstances, table, write_result

PLACES: tuple[Place, ...] = ("cpu", "openvino")
PRECISIONS: tuple[Precision, ...] = ("fp32", "int8")
TEXT = "The quick brown fox jumps over the lazy dog, and the dog sleeps on."
LENGTHS = {"batch": 1, "frames": 250, "samples": 16_000, "phones": 60, "tokens": 250, "past": 40}


@dataclass(frozen=True)
class OpenVino:
    """Times in seconds, by precision, by what is timed and by provider."""

    circumstances: Circumstances
    voice: str
    onnxruntime: str
    threads: int
    audio_seconds: float
    times: dict[str, dict[str, dict[str, Timing]]]


def cases(bundle: Bundle, precision: Precision, threads: int) -> dict[str, dict[str, Callable[[], object]]]:
    """Return what is timed: each graph that the precision has of its own, and a sentence."""
    opened = {
        place: open_engines(bundle, provider=place, precision=precision, threads=threads) for place in PLACES
    }
    manifest = bundle.manifest
    names = manifest.expected_graphs() if precision == "fp32" else manifest.variants[precision].graphs
    found: dict[str, dict[str, Callable[[], object]]] = {name: {} for name in names}
    found["sentence"] = {}
    for place, engines in opened.items():
        for name in names:
            found[name][place] = graph_run(bundle, engines, name)
        voice = Voice(bundle, engines.by_name, in_batches=engines.in_batches, threads=threads)
        found["sentence"][place] = lambda voice=voice: voice.speak(TEXT, seed=0)  # type: ignore[misc]
    return found


def graph_run(bundle: Bundle, engines: Engines, name: str) -> Callable[[], object]:
    """Return a run of one graph on example inputs of 5 s of speech."""
    engine = engines.by_name[name]
    lengths = {symbol: min(LENGTHS.get(symbol, axis.opt), axis.max) for symbol, axis in engine.axes.items()}
    feeds = example_feeds(engine.graph, bundle.manifest.feed_limits, lengths, np.random.default_rng(0))
    return lambda: engine.run(feeds)


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--repeats", type=click.IntRange(min=1), default=20, show_default=True)
@click.option("--threads", type=click.IntRange(min=1), default=default_threads(), show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS / "openvino.json", show_default=True)
def main(path: Path, repeats: int, threads: int, out: Path) -> None:
    """Time the bundle PATH on the CPU provider and on OpenVINO, in fp32 and int8."""
    bundle = read_bundle(path)
    times: dict[str, dict[str, dict[str, Timing]]] = {}
    rows = [["precision, graph", *(f"{place}, ms" for place in PLACES)]]
    for precision in PRECISIONS:
        times[precision] = {}
        for name, runs in cases(bundle, precision, threads).items():
            taken = interleave(runs, repeats, lead_in=1)
            times[precision][name] = {place: timing(seconds) for place, seconds in taken.items()}
            medians = (times[precision][name][place].seconds for place in PLACES)
            rows.append([f"{precision} {name}", *(f"{1000 * seconds:.1f}" for seconds in medians)])
    voice = Voice.load(path, provider="cpu", threads=threads)
    seconds = round(len(voice.speak(TEXT, seed=0)) / voice.sample_rate, 2)
    write_result(
        out,
        OpenVino(
            circumstances("openvino"),
            bundle.manifest.name,
            onnxruntime.__version__,
            threads,
            seconds,
            times,
        ),
    )
    click.echo(table(rows))


if __name__ == "__main__":
    run(main)
