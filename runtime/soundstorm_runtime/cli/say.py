"""`soundstorm say`: speak a text to a file or a stream."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO

import click

from ..audio import Write, audio_file, wav_stream
from ..engines import PrecisionChoice, Provider
from ..errors import TextError
from ..text import split_sentences
from ..voice import Voice
from .options import bundle_argument, engine_options, steps_option, temperature_option


@click.command()
@bundle_argument
@click.argument("text", required=False)
@click.option("-f", "--file", type=click.File("rb"), help="Read the text from a UTF-8 file.")
@click.option(
    "-o",
    "--output",
    default="out.wav",
    show_default=True,
    help="File to write, .wav or .flac; - streams a WAV to standard output.",
)
@click.option("--voice", help="Named voice of the bundle, as 'soundstorm voices' lists them.")
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the sampling."
)
@steps_option
@click.option(
    "--budget-ms",
    type=float,
    help="Take as many steps as let the first sentence be ready in this time, after a short calibration.",
)
@temperature_option
@click.option("--duration", type=float, help="Seconds that all of it lasts.  [default: as it likes]")
@engine_options
def say(
    bundle: Path,
    text: str | None,
    file: BinaryIO | None,
    output: str,
    voice: str | None,
    seed: int,
    steps: tuple[int, ...] | None,
    budget_ms: float | None,
    temperature: float | None,
    duration: float | None,
    threads: int | None,
    provider: Provider,
    precision: PrecisionChoice,
) -> None:
    """Speak TEXT with the voice in the folder BUNDLE.

    The text is read from standard input where it is not given, or is -.
    """
    if steps is not None and budget_ms is not None:
        raise click.UsageError("both --steps and --budget-ms were given; give one of them")
    text = _read_text(text, file)
    count = len(split_sentences(text))  # before the voice is loaded: a bad text fails at once
    loaded = Voice.load(bundle, threads=threads, provider=provider, precision=precision)
    if budget_ms is not None:
        steps = loaded.steps_within(budget_ms, text, voice=voice)
    sentences = loaded.speak_sentences(
        text, voice=voice, seed=seed, steps=steps, temperature=temperature, duration=duration
    )
    samples, started = 0, time.perf_counter()
    with _open_output(output, loaded.sample_rate) as write:
        for audio in _with_progress(sentences, count):
            write(audio)
            samples += len(audio)
    took, seconds = time.perf_counter() - started, samples / loaded.sample_rate
    name = "standard output" if output == "-" else output
    click.echo(f"{name}: {seconds:.2f} s of audio in {took:.2f} s, RTF {took / seconds:.3f}", err=True)


def _read_text(text: str | None, file: BinaryIO | None) -> str:
    if text is not None and file is not None:
        raise click.UsageError("both TEXT and --file were given; give one of them")
    if file is None and text is not None and text != "-":
        return text
    source = file or sys.stdin.buffer
    try:
        return source.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        name = getattr(source, "name", "the text")
        raise TextError(
            f"{name} is not UTF-8 text ({error.reason} at byte {error.start}); convert it"
        ) from error


def _open_output(output: str, sample_rate: int) -> AbstractContextManager[Write]:
    if output == "-":
        return wav_stream(sys.stdout.buffer, sample_rate)
    return audio_file(Path(output), sample_rate)


def _with_progress(sentences: Iterator[Any], count: int) -> Iterator[Any]:
    """Show a bar on standard error where a person watches it and there is something to wait for."""
    if count == 1 or not sys.stderr.isatty():
        yield from sentences
        return
    with click.progressbar(sentences, length=count, label="sentences", file=sys.stderr) as bar:
        yield from bar
