"""`soundstorm batch`: speak many lines to files."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, get_args

import click

from ..bundle.open_engines import PrecisionChoice, Provider
from ..bundle.prompts import SUFFIX, read_prompt
from ..bundle.reader import read_bundle
from ..errors import OptionError, TextError
from ..support.command import Command, needs_extra, printable, report, shows_progress
from ..support.interrupt import uninterrupted
from ..synthesis.options import mixture
from ..tools.batch_jobs import Job, Line, Spoken, read_lines, speak_lines
from ..tools.shards import Form
from .shared_options import (
    bundle_and_file,
    engine_options,
    lexicon_option,
    read_utf8,
    seed_option,
    speed_option,
    steps_option,
    temperature_option,
    voice_option,
    workers_option,
)

if TYPE_CHECKING:
    from ..tools.ray_batch import Shard

MOST_BYTES = 1 << 30  # of the lines, which are all in memory


@click.command(cls=Command, example="soundstorm batch build/voice lines.jsonl -o speech --workers 2")
@bundle_and_file("lines", click.File("rb"))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder to write the WAV files to."
)
@voice_option
@seed_option
@steps_option
@temperature_option
@speed_option
@lexicon_option
@workers_option
@click.option(
    "--ray",
    "cluster",
    metavar="ADDRESS",
    help="Speak on a Ray cluster: HOST:PORT, 'auto' for the one that this machine belongs to, or 'local'.",
)
@click.option(
    "--form",
    type=click.Choice(get_args(Form)),
    default="tar",
    help="With --ray, the form of the shards: WebDataset (tar) or Parquet.",
)
@click.option(
    "--shard-size", type=click.IntRange(min=1), default=64, help="With --ray, the lines of one shard."
)
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
    cluster: str | None,
    form: Form,
    shard_size: int,
    threads: int | None,
    provider: Provider,
    precision: PrecisionChoice,
) -> None:
    """Speak many lines to files.

    The voice is the one in the folder BUNDLE, or an installed one.

    Each line of the file LINES is a JSON object with "id" and "text", and optionally "voice" and "seed",
    which take precedence over the options. It is spoken to the file OUTPUT/id.wav. Existing files are kept,
    so that an interrupted run can be continued: remove a file to have it spoken again. LINES may be - for
    standard input.

    With --ray, OUTPUT gets shards of many lines each, which the nodes of the cluster write: it must be a
    folder that they share, and so must BUNDLE. An interrupted run can be continued there, too.
    """
    asked = _read(lines)
    _check_voices(bundle, asked, voice)
    output.mkdir(parents=True, exist_ok=True)
    job = Job(bundle, output, voice, seed, steps, temperature, threads, provider, precision, speed, lexicon)
    if cluster is not None:
        if workers > 1:
            raise OptionError(
                "both --ray and --workers were given; a cluster has an actor for each processor"
            )
        _speak_on_cluster(job, asked, cluster, form, shard_size)
        return
    left = [line for line in asked if not job.file(line).exists()]
    started = time.perf_counter()
    spoken = list(_with_progress(speak_lines(job, left, workers), len(left)))
    _sum_up(output, spoken, len(asked) - len(left), time.perf_counter() - started)


def _read(lines: BinaryIO) -> list[Line]:
    return read_lines(read_utf8(lines, MOST_BYTES), getattr(lines, "name", "the lines"))


def _check_voices(bundle: Path, lines: Iterable[Line], usual: str | None) -> None:
    """Raise `OptionError` for a voice that the bundle does not have, before any line is spoken."""
    checked = read_bundle(bundle)
    known = checked.prompts()
    for where, name in [("--voice", usual), *((f"the line {line.id!r}", line.voice) for line in lines)]:
        names = [] if name is None else [name]
        if name is not None and name not in known:
            names = [own for _, own in mixture(name)] or names
        for own in names:
            if own.endswith(SUFFIX):
                read_prompt(Path(own), checked.manifest)
            elif own not in known:
                has = f"the voices {', '.join(known)}" if known else "no named voices"
                raise OptionError(
                    f"{where} asks for voice {own!r}, but the bundle has {has}; take what it has"
                )


def _with_progress(spoken: Iterator[Spoken], count: int) -> Iterator[Spoken]:
    """Print the lines that failed, and show a progress bar if standard error is a terminal."""
    watched = sys.stderr.isatty() and count > 1 and shows_progress()
    bar = click.progressbar(length=count, label="lines", file=sys.stderr) if watched else nullcontext()
    with bar as shown:
        for each in spoken:
            if each.problem:
                click.echo(printable(f"{each.id}: {each.problem}"), err=True)
            if shown:
                shown.update(1)
            yield each


def _speak_on_cluster(job: Job, lines: list[Line], address: str, form: Form, size: int) -> None:
    with needs_extra("ray"), uninterrupted():
        from ..support.cluster import connect
        from ..tools.ray_batch import speak_on_cluster
    connect(address)
    job = replace(job, bundle=job.bundle.resolve(), folder=job.folder.resolve())
    started = time.perf_counter()
    shards: list[Shard] = []
    watched = sys.stderr.isatty() and shows_progress()
    bar = click.progressbar(length=len(lines), label="lines", file=sys.stderr) if watched else nullcontext()
    with bar as shown:
        for shard in speak_on_cluster(job, lines, form, size):
            shards.append(shard)
            for name, problem in shard.problems.items():
                click.echo(printable(f"{name}: {problem}"), err=True)
            if shown:
                shown.update(shard.lines + len(shard.problems))
    _sum_up_nodes(job.folder, shards, len(lines), time.perf_counter() - started)


def _sum_up_nodes(folder: Path, shards: Sequence[Shard], asked: int, took: float) -> None:
    for node in sorted({shard.node for shard in shards}):
        own = [shard for shard in shards if shard.node == node]
        seconds, worked = sum(shard.seconds for shard in own), sum(shard.took for shard in own)
        report(f"node {node}: {sum(s.lines for s in own)} lines, {seconds:.2f} s of audio in {worked:.2f} s")
    seconds, spoken = sum(shard.seconds for shard in shards), sum(shard.lines for shard in shards)
    failed = sum(len(shard.problems) for shard in shards)
    report(
        f"{folder}: {len(shards)} shards, {spoken} lines, {seconds:.2f} s of audio in {took:.2f} s; "
        f"{asked - spoken - failed} existed already"
    )
    if failed:
        raise TextError(f"{failed} of {asked} lines could not be spoken; the reasons are above")


def _sum_up(output: Path, spoken: list[Spoken], there: int, took: float) -> None:
    seconds = sum(each.seconds for each in spoken)
    failed = [each for each in spoken if each.problem]
    rate = f", RTF {took / seconds:.3f}" if seconds else ""
    report(
        f"{output}: {len(spoken) - len(failed)} files, {seconds:.2f} s of audio in {took:.2f} s{rate}; "
        f"{there} existed already"
    )
    if failed:
        raise TextError(f"{len(failed)} of {len(spoken)} lines could not be spoken; the reasons are above")
