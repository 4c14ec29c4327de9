"""`soundstorm bench`: measure how fast a voice speaks here."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import click

from ..bundle.open_engines import PrecisionChoice, Provider
from ..support.command import Command, json_option, report, table
from ..support.serde import to_dict
from ..tools.benchmark import Bench, Case, Other, Run, Setting
from ..tools.benchmark import bench as measure
from .shared_options import (
    Numbers,
    bundle_argument,
    engine_options,
    steps_option,
    voice_option,
)


@click.command(cls=Command, example="soundstorm bench build/voice --seconds 2,5 --against onnx")
@bundle_argument
@click.option(
    "--seconds", type=Numbers(float), default="2,5,10", help="Approximate lengths of the texts in seconds."
)
@click.option("--batch", "batches", type=Numbers(int), default="1", help="Numbers of texts spoken together.")
@click.option(
    "--repeats", type=click.IntRange(min=1), default=5, help="Measurements of each case, after a warm-up."
)
@voice_option
@steps_option
@click.option(
    "--against",
    type=click.Choice(get_args(Other)),
    help="Also measure another engine with the same weights: 'onnx' the fp32 graphs on the CPU, 'torch' "
    "PyTorch.",
)
@click.option(
    "--checkpoint", type=click.Path(path_type=Path), help="Checkpoint of the voice, for --against torch."
)
@json_option
@engine_options
def bench(
    bundle: Path,
    seconds: tuple[float, ...],
    batches: tuple[int, ...],
    repeats: int,
    voice: str | None,
    steps: tuple[int, ...] | None,
    against: Other | None,
    checkpoint: Path | None,
    as_json: bool,
    threads: int | None,
    provider: Provider,
    precision: PrecisionChoice,
) -> None:
    """Measure how fast a voice speaks on this machine.

    The table has, for each length of text and batch size, the RTF (seconds of computation per second of
    audio), the latency of the first audio and the share of each stage. BUNDLE is the folder of the
    voice; without it, an installed one is measured.
    """
    setting = Setting(seconds, batches, repeats, voice, steps, threads, provider, precision)
    command = shlex.join(["soundstorm", *sys.argv[1:]])
    result = measure(bundle, setting, against, checkpoint, report, command)
    if as_json:
        click.echo(json.dumps(to_dict(result), indent=1, allow_nan=False))
    else:
        click.echo("\n".join(_lay_out(result)))


def _lay_out(result: Bench) -> Iterator[str]:
    machine, cold = result.machine, result.cold_start
    yield f"{machine.cpu}, {machine.cores} cores, {result.threads} threads; medians of {result.repeats}"
    yield from _lay_out_run(result.run)
    if result.against:
        yield from _lay_out_run(result.against)
        pairs = zip(result.run.cases, result.against.cases, strict=True)
        yield "times faster: " + ", ".join(f"{other.seconds / own.seconds:.2f}" for own, other in pairs)
    peak = "unknown" if cold.peak_megabytes is None else f"{cold.peak_megabytes:.0f} MB"
    yield (
        f"cold start: first audio after {cold.first_audio:.2f} s, all after {cold.seconds:.2f} s; "
        f"peak memory {peak}"
    )


def _lay_out_run(run: Run) -> Iterator[str]:
    heading = ["audio, s", "batch", "time, s", "RTF", "first audio, ms", "step, ms"]
    stages = ["text, %", "steps, %", "codec, %", "rest, %"]
    yield f"{run.engine}, {run.precision}"
    yield table([heading + stages, *map(_row, run.cases)])


def _row(case: Case) -> list[str]:
    shares = (100 * part / case.seconds for part in (case.text, case.steps, case.codec, case.rest))
    figures = [f"{case.audio:.2f}", str(case.batch), f"{case.seconds:.3f}", f"{case.rtf:.3f}"]
    figures += [f"{1000 * case.first_audio:.0f}", f"{1000 * case.step:.1f}"]
    return figures + [f"{share:.1f}" for share in shares]
