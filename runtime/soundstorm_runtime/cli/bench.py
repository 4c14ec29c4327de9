"""`soundstorm bench`: measure how fast a voice speaks here."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import click

from ..bundle.open_engines import PrecisionChoice, Provider
from ..support.atomic import write_file
from ..support.command import table
from ..support.serde import to_dict
from ..tools.benchmark import Bench, Case, Other, Run, Setting
from ..tools.benchmark import bench as measure
from .shared_options import bundle_argument, engine_options, steps_option


class Numbers(click.ParamType):
    """Numbers with commas between them."""

    name = "N,N,..."

    def __init__(self, kind: type[int] | type[float]) -> None:
        self.kind = kind

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """Turn '2,5' into (2, 5)."""
        try:
            return tuple(self.kind(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not a list of numbers such as 2,5", param, ctx)


@click.command()
@bundle_argument
@click.option(
    "--seconds",
    type=Numbers(float),
    default="2,5,10",
    show_default=True,
    help="About how long the texts are.",
)
@click.option(
    "--batch", "batches", type=Numbers(int), default="1", show_default=True, help="Texts spoken together."
)
@click.option(
    "--repeats", type=click.IntRange(min=1), default=5, show_default=True, help="After one to warm up."
)
@click.option("--voice", help="Named voice of the bundle.")
@steps_option
@click.option(
    "--against", type=click.Choice(get_args(Other)), help="Measure another engine on the same weights."
)
@click.option("--checkpoint", type=click.Path(path_type=Path), help="The weights, for --against torch.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="File for all figures.")
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
    json_file: Path | None,
    threads: int | None,
    provider: Provider,
    precision: PrecisionChoice,
) -> None:
    """Measure how fast the voice in the folder BUNDLE speaks on this machine.

    RTF is seconds of computing per second of audio. --against onnx measures the fp32 graphs on the CPU
    as well, --against torch PyTorch with the weights of --checkpoint.
    """
    setting = Setting(seconds, batches, repeats, voice, steps, threads, provider, precision)
    command = shlex.join(["soundstorm", *sys.argv[1:]])
    result = measure(bundle, setting, against, checkpoint, lambda line: click.echo(line, err=True), command)
    click.echo("\n".join(_lay_out(result)))
    if json_file:
        write_file(json_file, json.dumps(to_dict(result), indent=1, allow_nan=False) + "\n")


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
