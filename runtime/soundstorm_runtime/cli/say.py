"""`soundstorm say`: speak a text to a file or a stream."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO

import click
import numpy as np

from ..audio.writers import Write, audio_file, wav_stream
from ..bundle.open_engines import PrecisionChoice, Provider
from ..synthesis.options import PAUSE_SECONDS
from ..voice import Voice
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
@click.argument("text", required=False)
@click.option("-f", "--file", type=click.File("rb"), help="Read the text from a UTF-8 file.")
@click.option(
    "-o",
    "--output",
    help="File to write, .wav or .flac; - writes a WAV to standard output.  [default: out.wav; - to stream]",
)
@click.option(
    "--stream", is_flag=True, help="Begin before the first sentence is ready, and go on without gaps."
)
@click.option(
    "--raw",
    is_flag=True,
    help="Write bare samples to standard output: mono, signed, 16 bits, little-endian.",
)
@click.option(
    "--voice", help="Named voice, as 'soundstorm voices' lists them, or a file of 'soundstorm prompt'."
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the sampling."
)
@steps_option
@click.option(
    "--budget-ms",
    type=float,
    help="Take as many steps as let the first sentence be ready in this time, after a short calibration; "
    "with --stream, as long a first block.",
)
@temperature_option
@speed_option
@click.option(
    "--pause", type=float, default=PAUSE_SECONDS, show_default=True, help="Seconds between sentences."
)
@lexicon_option
@click.option("--duration", type=float, help="Seconds that all of it lasts.  [default: as it likes]")
@engine_options
def say(
    bundle: Path,
    text: str | None,
    file: BinaryIO | None,
    output: str | None,
    stream: bool,
    raw: bool,
    voice: str | None,
    seed: int,
    steps: tuple[int, ...] | None,
    budget_ms: float | None,
    temperature: float | None,
    speed: float,
    pause: float,
    lexicon: Path | None,
    duration: float | None,
    threads: int | None,
    provider: Provider,
    precision: PrecisionChoice,
) -> None:
    """Speak TEXT with the voice in the folder BUNDLE.

    The text is read from standard input where it is not given, or is -.
    """
    output = output or ("-" if stream or raw else "out.wav")
    _check_usage(output, stream, raw, steps, budget_ms, duration)
    text = _read_text(text, file)
    loaded = Voice.load(bundle, threads=threads, provider=provider, precision=precision, lexicon=lexicon)
    how: dict[str, Any] = {"voice": voice, "seed": seed, "speed": speed, "temperature": temperature}
    how["pause"] = pause
    if stream:
        loaded.warm_up()
        audio = loaded.stream(text, steps=steps, budget_ms=budget_ms, **how)
    else:
        if budget_ms is not None:
            steps = loaded.steps_within(budget_ms, text, voice=voice, speed=speed)
        sentences = loaded.speak_sentences(text, steps=steps, duration=duration, **how)
        audio = _with_progress(sentences, len(loaded.sentences(text)))
    with _open_output(output, loaded.sample_rate, raw) as write:
        seconds, took, begun = _write(audio, write, loaded.sample_rate)
    said = f"{seconds:.2f} s of audio in {took:.2f} s, RTF {took / seconds:.3f}"
    said += f", begun after {1000 * begun:.0f} ms" if stream else ""
    click.echo(f"{'standard output' if output == '-' else output}: {said}", err=True)


def _check_usage(
    output: str,
    stream: bool,
    raw: bool,
    steps: tuple[int, ...] | None,
    budget_ms: float | None,
    duration: float | None,
) -> None:
    if stream and duration is not None:
        raise click.UsageError("both --stream and --duration were given; give one of them")
    if not stream and steps is not None and budget_ms is not None:
        raise click.UsageError("both --steps and --budget-ms were given; give one of them")
    if raw and output != "-":
        raise click.UsageError(f"--raw writes to standard output, but -o {output} was given; leave it out")


def _write(audio: Iterator[np.ndarray], write: Write, sample_rate: int) -> tuple[float, float, float]:
    """Write audio as it is made; gives the seconds that it lasts, that it took, and until the first of it."""
    samples, begun, started = 0, 0.0, time.perf_counter()
    for chunk in audio:
        write(chunk)
        begun = begun or time.perf_counter() - started
        samples += len(chunk)
    return samples / sample_rate, time.perf_counter() - started, begun


def _read_text(text: str | None, file: BinaryIO | None) -> str:
    if text is not None and file is not None:
        raise click.UsageError("both TEXT and --file were given; give one of them")
    if file is None and text is not None and text != "-":
        return text
    return read_utf8(file or sys.stdin.buffer)


def _open_output(output: str, sample_rate: int, raw: bool) -> AbstractContextManager[Write]:
    if output == "-":
        return wav_stream(sys.stdout.buffer, sample_rate, header=not raw)
    return audio_file(Path(output), sample_rate)


def _with_progress(sentences: Iterator[Any], count: int) -> Iterator[Any]:
    """Show a bar on standard error where a person watches it and there is something to wait for."""
    if count == 1 or not sys.stderr.isatty():
        yield from sentences
        return
    with click.progressbar(sentences, length=count, label="sentences", file=sys.stderr) as bar:
        yield from bar
