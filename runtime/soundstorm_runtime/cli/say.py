"""`soundstorm say`: speak a text to a file or a stream."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO

import click
import numpy as np

from ..audio.writers import Write, audio_file, check_audio_path, wav_stream
from ..bundle.open_engines import PrecisionChoice, Provider
from ..errors import TextError
from ..support.command import Command, report, shows_progress
from ..synthesis.options import PAUSE_SECONDS, SynthesisOptions
from ..synthesis.word_times import TimedAudio, WordTime
from ..text.sentences import check_length, ignore_dropped, refuse_dropped
from ..text.ssml import read_ssml
from ..tools.timing_files import check_times_path, write_times
from ..voice import Voice
from .shared_options import (
    bundle_argument,
    engine_options,
    lexicon_option,
    read_utf8,
    seed_option,
    speed_option,
    steps_option,
    temperature_option,
    voice_option,
)

_EXAMPLE = """
soundstorm say build/voice "Good morning." -o morning.wav
soundstorm say build/voice "Good morning." --times morning.srt
soundstorm say build/voice --file letter.txt --stream --raw | aplay -t raw -f S16_LE -r 16000
"""


@click.command(cls=Command, example=_EXAMPLE)
@bundle_argument
@click.argument("text", required=False)
@click.option("-f", "--file", type=click.File("rb"), help="Read the text from a UTF-8 file.")
@click.option(
    "-o",
    "--output",
    show_default="out.wav; with --stream or --raw standard output",
    help="File to write, ending in .wav or .flac; - writes a WAV to standard output.",
)
@click.option(
    "--stream", is_flag=True, help="Write the audio block by block, before the first sentence is complete."
)
@click.option(
    "--raw",
    is_flag=True,
    help="Write samples without a header to standard output: mono, signed 16-bit, little-endian.",
)
@voice_option
@seed_option
@steps_option
@click.option(
    "--budget-ms",
    type=float,
    help="Choose the largest number of steps with which the first sentence is ready within this time, after "
    "a short calibration; with --stream, the longest first block.",
)
@temperature_option
@speed_option
@click.option(
    "--pause",
    "--sentence-pause",
    "pause",
    type=float,
    default=PAUSE_SECONDS,
    help="Seconds of silence between sentences.",
)
@click.option(
    "--paragraph-pause",
    type=float,
    show_default="as --pause",
    help="Seconds of silence where a blank line separates two sentences.",
)
@lexicon_option
@click.option("--ssml", is_flag=True, help="TEXT is an SSML document.")
@click.option("--strict", is_flag=True, help="Refuse text with characters that cannot be spoken.")
@click.option(
    "--duration",
    type=float,
    show_default="as the voice predicts",
    help="Length of the whole speech in seconds.",
)
@click.option(
    "--times",
    type=click.Path(path_type=Path),
    help="File for the times of the words: .json or .TextGrid, with phones, or subtitles, .srt or .vtt.",
)
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
    paragraph_pause: float | None,
    lexicon: Path | None,
    ssml: bool,
    strict: bool,
    duration: float | None,
    times: Path | None,
    threads: int | None,
    provider: Provider,
    precision: PrecisionChoice,
) -> None:
    """Speak a text with the voice in the folder BUNDLE.

    TEXT is read from standard input if it is not given, or if it is -.
    """
    output = output or ("-" if stream or raw else "out.wav")
    _check_usage(output, stream, raw, steps, budget_ms, duration)
    text = _read_text(text, file)
    _check_text(text)
    marked = read_ssml(text) if ssml else text
    if output != "-":
        check_audio_path(Path(output))
    if times is not None:
        check_times_path(times)
    options = SynthesisOptions(
        voice=voice, seed=seed, speed=speed, pause=pause, paragraph_pause=paragraph_pause, duration=duration,
        budget_ms=budget_ms, steps=steps, temperature=temperature,
    )  # fmt: skip
    loaded = Voice.load(bundle, threads=threads, provider=provider, precision=precision, lexicon=lexicon)
    sentences = loaded.sentences(marked, refuse_dropped if strict else ignore_dropped)
    words: list[WordTime] = []
    if stream:
        loaded.warm_up()
        audio = (
            _timed(loaded.stream_timed(marked, options), words) if times else loaded.stream(marked, options)
        )
    elif times:
        audio = _timed([loaded.speak_timed(marked, options)], words)
    else:
        audio = _with_progress(loaded.speak_sentences(marked, options), len(sentences))
    with _open_output(output, loaded.sample_rate, raw) as write:
        seconds, took, begun = _write(audio, write, loaded.sample_rate)
    if times is not None:
        write_times(times, text, words, seconds)
    said = f"{seconds:.2f} s of audio in {took:.2f} s, RTF {took / seconds:.3f}"
    said += f", first audio after {1000 * begun:.0f} ms" if stream else ""
    report(f"{'standard output' if output == '-' else output}: {said}")


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
    """Write chunks of audio as they come.

    Returns:
        The length of the audio, the time until its end and the time until its first chunk, in seconds.
    """
    samples, begun, started = 0, 0.0, time.perf_counter()
    for chunk in audio:
        write(chunk)
        begun = begun or time.perf_counter() - started
        samples += len(chunk)
    return samples / sample_rate, time.perf_counter() - started, begun


def _timed(pieces: Iterable[TimedAudio], words: list[WordTime]) -> Iterator[np.ndarray]:
    """Yield the audio of pieces, and add their words to a list."""
    for piece in pieces:
        words.extend(piece.words)
        yield piece.audio


def _check_text(text: str) -> None:
    """Raise `TextError` for a text that no voice can speak, before one is loaded."""
    check_length(text)
    if not text.strip():
        raise TextError("text is empty; give some words to speak")


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
    """Show a progress bar if standard error is a terminal and there are several sentences."""
    if count == 1 or not sys.stderr.isatty() or not shows_progress():
        yield from sentences
        return
    with click.progressbar(sentences, length=count, label="sentences", file=sys.stderr) as bar:
        yield from bar
