"""`soundstorm batch`: speak many lines to files."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO

import click

from ..bundle.open_engines import PrecisionChoice, Provider
from ..bundle.prompts import SUFFIX, read_prompt
from ..bundle.reader import read_bundle
from ..errors import OptionError, TextError
from ..tools.batch_jobs import Job, Line, Spoken, read_lines, speak_lines
from .shared_options import (
    bundle_argument,
    engine_options,
    lexicon_option,
    read_utf8,
    speed_option,
    steps_option,
    temperature_option,
)


@click.command()
@bundle_argument
@click.argument("lines", type=click.File("rb"))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder for the WAV files."
)
@click.option("--voice", help="Named voice, or file of 'soundstorm prompt', for the lines that name none.")
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Seed for the lines that have none.",
)
@steps_option
@temperature_option
@speed_option
@lexicon_option
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Processes.")
@engine_options
def batch(
    bundle: Path,
    lines: BinaryIO,
    output: Path,
    voice: str | None,
    seed: int,
    steps: tuple[int, ...] | None,
    temperature: float | None,
    speed: float,
    lexicon: Path | None,
    workers: int,
    threads: int | None,
    provider: Provider,
    precision: PrecisionChoice,
) -> None:
    """Speak every line of the file LINES with the voice in the folder BUNDLE.

    A line is a JSON object with "id" and "text", and "voice" and "seed" if it likes; it is spoken to
    the file OUTPUT/id.wav. Files that are there already stay, so that a run that was stopped goes on:
    remove a file to have it spoken again. LINES may be - for standard input.
    """
    asked = _read(lines)
    _check_voices(bundle, asked, voice)
    output.mkdir(parents=True, exist_ok=True)
    job = Job(bundle, output, voice, seed, steps, temperature, threads, provider, precision, speed, lexicon)
    left = [line for line in asked if not job.file(line).exists()]
    started = time.perf_counter()
    spoken = list(_with_progress(speak_lines(job, left, workers), len(left)))
    _sum_up(output, spoken, len(asked) - len(left), time.perf_counter() - started)


def _read(lines: BinaryIO) -> list[Line]:
    return read_lines(read_utf8(lines), getattr(lines, "name", "the lines"))


def _check_voices(bundle: Path, lines: Iterable[Line], usual: str | None) -> None:
    """Raise `OptionError` for a voice that the bundle lacks: now, and not after hours of work."""
    checked = read_bundle(bundle)
    known = checked.prompts()
    for where, name in [("--voice", usual), *((f"the line {line.id!r}", line.voice) for line in lines)]:
        if name is not None and name.endswith(SUFFIX):
            read_prompt(Path(name), checked.manifest)
        elif name is not None and name not in known:
            has = f"the voices {', '.join(known)}" if known else "no named voices"
            raise OptionError(f"{where} asks for voice {name!r}, but the bundle has {has}; take what it has")


def _with_progress(spoken: Iterator[Spoken], count: int) -> Iterator[Spoken]:
    """Show a bar on standard error where a person watches it; a line that failed is told at once."""
    watched = sys.stderr.isatty() and count > 1
    bar = click.progressbar(length=count, label="lines", file=sys.stderr) if watched else nullcontext()
    with bar as shown:
        for each in spoken:
            if each.problem:
                click.echo(f"{each.id}: {each.problem}", err=True)
            if shown:
                shown.update(1)
            yield each


def _sum_up(output: Path, spoken: list[Spoken], there: int, took: float) -> None:
    seconds = sum(each.seconds for each in spoken)
    failed = [each for each in spoken if each.problem]
    rate = f", RTF {took / seconds:.3f}" if seconds else ""
    click.echo(
        f"{output}: {len(spoken) - len(failed)} files, {seconds:.2f} s of audio in {took:.2f} s{rate}; "
        f"{there} were there already",
        err=True,
    )
    if failed:
        raise TextError(f"{len(failed)} of {len(spoken)} lines could not be spoken; the reasons are above")
