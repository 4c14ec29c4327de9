"""The paper's model on a GPU: every engine that can be had, beside soundstorm-pytorch on the same weights.

`python -m benchmarks.gpu` measures all of it in one run; what cannot be had is named with its reason. The
weights are random, which does not change the times. The paper (arXiv 2305.09636) took 0.5 s for 30 s on a
TPU-v4.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click
import numpy as np
import onnxruntime
import torch

from soundstorm_runtime.decoding.maskgit import DecodeOptions, decode
from soundstorm_runtime.engines.base import Engine
from soundstorm_runtime.engines.timing import TimedEngine
from soundstorm_runtime.support.command import run

from .gpu_contestants import REFERENCE, Contestants, Size, matrix_rate
from .harness import Spans, Timing, interleave, timing
from .report import RESULTS, Circumstances, circumstances, table, write_result

RATE = 50  # frames a second
TINY = Size(dim=32, depth=1, heads=1, levels=3, codes=16, frames=70, first_steps=3, channels=4)


@dataclass(frozen=True)
class Case:
    """One engine and batch; seconds.

    decode: of all codes, semantic tokens given. step: of the engine in one step. host: what the decode loop
    adds to a step. speed: seconds of audio in a second. of_floor: share of the floor reached, where known.
    """

    engine: str
    batch: int
    decode: Timing
    step: float | None
    host: float | None
    speed: float
    of_floor: float | None


@dataclass(frozen=True)
class GpuResult:
    """The result. floor: seconds of the matrix products of a decode at the measured rate, for one sample.

    decoder: SoundStream's, from codes to audio. absent: why an engine was not measured.
    """

    circumstances: Circumstances
    versions: dict[str, str]
    device: str
    size: Size
    matrix_rate: float | None
    floor: float | None
    cases: tuple[Case, ...]
    decoder: dict[str, Timing]
    absent: dict[str, str]
    spans: dict[str, float]


def time_of(case: Callable[[], object], repeats: int) -> Timing:
    """Time one case by itself, after warm-up runs."""
    return timing(interleave({"": case}, repeats, burn_in=3, rest=0)[""])


def decode_case(contestants: Contestants, name: str, engine: Engine, batch: int, repeats: int) -> Case:
    """Time a whole decode on one engine."""
    size, timed = contestants.size, TimedEngine(engine)
    feeds = contestants.feeds(contestants.step, batch)
    tokens, lengths = feeds["semantic_tokens"], feeds["lengths"]
    options = DecodeOptions(steps=size.steps)
    rounds: list[tuple[float, int]] = []

    def whole() -> None:
        timed.reset()
        rng = np.random.default_rng(0)
        decode(timed, tokens, lengths, size.levels, size.codes, options, rng)
        rounds.append((timed.seconds, timed.calls))

    taken = time_of(whole, repeats)
    inside = float(np.median([seconds for seconds, _ in rounds[-repeats:]]))
    calls = rounds[-1][1]
    audio = batch * size.frames / RATE
    host = (taken.seconds - inside) / calls
    return Case(
        name, batch, taken, round(inside / calls, 6), round(host, 6), round(audio / taken.seconds, 1), None
    )


def reference_cases(contestants: Contestants, batches: Sequence[int], repeats: int) -> list[Case]:
    """Time soundstorm-pytorch as it is, and compiled where there is a GPU."""
    cases: list[Case] = []
    if contestants.reference is None:
        return cases
    for compiled in (False, True) if contestants.device == "cuda" else (False,):
        for batch in batches:
            name = f"{REFERENCE}, {'compiled' if compiled else 'eager'}"
            try:
                taken = time_of(contestants.reference_decode(batch, compiled), max(1, repeats // 3))
            except RuntimeError as error:  # out of memory, or nothing to compile with
                contestants.absent[f"{name}, batch {batch}"] = str(error).splitlines()[0]
                continue
            audio = batch * contestants.size.frames / RATE
            cases.append(Case(name, batch, taken, None, None, round(audio / taken.seconds, 1), None))
    return cases


def with_floor(case: Case, floor: float | None) -> Case:
    """Add the share of the floor that a case reached."""
    share = None if floor is None else round(case.batch * floor / case.decode.seconds, 3)
    return Case(case.engine, case.batch, case.decode, case.step, case.host, case.speed, share)


def measure(size: Size, batches: Sequence[int], repeats: int, folder: Path) -> GpuResult:
    """Run all comparisons."""
    spans = Spans()
    with spans("export"):
        contestants = Contestants(size, folder)
    rate = matrix_rate(contestants.device)
    floor = None if rate is None else sum(size.steps) * size.operations / rate
    cases = []
    with spans("decodes"):
        for batch in batches:
            for name, engine in contestants.engines(contestants.step, batch):
                cases.append(decode_case(contestants, name, engine, batch, repeats))
                click.echo(f"{name}, batch {batch}: {cases[-1].decode.seconds:.4f} s", err=True)
                del engine
    with spans(REFERENCE):
        cases += reference_cases(contestants, batches, repeats)
    codes = contestants.feeds(contestants.decoder, 1)
    with spans("decoder"):
        decoder = {}
        for name, engine in contestants.engines(contestants.decoder, 1):
            decoder[name] = time_of(partial(engine.run, codes), repeats)
            del engine
    return GpuResult(
        circumstances=circumstances("gpu"),
        versions={"torch": torch.__version__, "onnxruntime": onnxruntime.__version__},
        device=torch.cuda.get_device_name() if contestants.device == "cuda" else "cpu",
        size=size,
        matrix_rate=rate,
        floor=None if floor is None else round(floor, 5),
        cases=tuple(with_floor(case, floor) for case in cases),
        decoder=decoder,
        absent=contestants.absent,
        spans=spans.seconds,
    )


def show(result: GpuResult) -> str:
    """Format the figures as text."""
    rows = [["", "batch", "decode, ms", "step, ms", "host a step, ms", "s of audio a s", "of the floor"]]
    for case in result.cases:
        step, host = (f"{1000 * part:.2f}" if part is not None else "" for part in (case.step, case.host))
        share = "" if case.of_floor is None else f"{case.of_floor:.0%}"
        decoded = f"{1000 * case.decode.seconds:.1f}"
        rows.append([case.engine, str(case.batch), decoded, step, host, f"{case.speed:g}", share])
    lines = [f"{result.device}, {result.size.frames / RATE:g} s of speech", table(rows), ""]
    decoders = [[name, f"{1000 * taken.seconds:.2f}"] for name, taken in result.decoder.items()]
    lines.append(table([["SoundStream's decoder", "ms"], *decoders]))
    if result.floor is not None:
        lines.append(f"floor: {1000 * result.floor:.1f} ms for one sample")
    return "\n".join([*lines, *(f"absent: {name}: {why}" for name, why in result.absent.items())])


@click.command()
@click.option("--repeats", type=click.IntRange(min=1), default=10, show_default=True)
@click.option("--tiny", is_flag=True, help="A tiny model, to see that it runs; the figures mean nothing.")
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS / "gpu.json", show_default=True)
def main(repeats: int, tiny: bool, out: Path) -> None:
    """Measure the paper's model on this machine's GPU: every engine, beside soundstorm-pytorch."""
    size, batches = (TINY, (1, 2)) if tiny else (Size(), (1, 8, 32))
    with tempfile.TemporaryDirectory() as folder:
        result = measure(size, batches, repeats, Path(folder))
    write_result(out, result)
    click.echo(show(result))


if __name__ == "__main__":
    run(main)
