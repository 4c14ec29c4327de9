"""`soundstorm say`: speak a text to a file or a stream."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, TypeVar

import click
import numpy as np

from ..audio.playback import open_player, playing
from ..audio.writers import Write, check_audio_path
from ..bundle.open_engines import PrecisionChoice, Provider
from ..bundle.reader import MANIFEST_FILE, Bundle, read_bundle
from ..errors import AudioError, TextError
from ..support.command import Command, report, shows_progress
from ..synthesis.options import PAUSE_SECONDS, SynthesisOptions
from ..synthesis.word_times import TimedAudio, WordTime
from ..text.markup import MarkedText
from ..text.sentences import OnDropped, check_length, log_dropped, refuse_dropped
from ..text.ssml import read_ssml
from ..text.words import PAUSES
from ..tools.dubbing import Cue, fit_cues, read_cues
from ..tools.timing_files import check_times_path, write_times
from ..voice import Voice
from .shared_options import (
    STANDARD_OUTPUT,
    arguments_argument,
    bundle_of,
    engine_options,
    lexicon_option,
    open_output,
    read_utf8,
    seed_option,
    shown_output,
    speed_option,
    steps_option,
    temperature_option,
    voice_option,
    voice_pack_option,
    volume_option,
)

FILE = "out.wav"  # where speech goes if there is a terminal and no sound device

T = TypeVar("T")

_log = logging.getLogger(__name__)
_EXAMPLE = """
soundstorm say "Good morning."
soundstorm say build/voice "Good morning." -o morning.wav
soundstorm say build/voice "Good morning." --times morning.srt
soundstorm say build/voice --fit film.srt -o film.wav
soundstorm say build/voice --file letter.txt --stream --raw | aplay -t raw -f S16_LE -r 16000
"""


@click.command(cls=Command, example=_EXAMPLE)
@arguments_argument("[BUNDLE] [TEXT]")
@voice_pack_option
@click.option("-f", "--file", type=click.File("rb"), help="Read the text from a UTF-8 file.")
@click.option(
    "-o",
    "--output",
    show_default=f"the sound device if standard output is a terminal, and {FILE} if there is none; else "
    "standard output",
    help="File to write, ending in .wav or .flac; - writes a WAV to standard output.",
)
@click.option(
    "--stream",
    is_flag=True,
    help="Write the audio block by block, before the first sentence is complete, as speech is played.",
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
@click.option(
    "--mark-pause",
    "mark_pauses",
    type=(click.Choice(PAUSES), float),
    multiple=True,
    help="Mark and seconds of silence after it, such as --mark-pause , 0.3; may be given several times.",
)
@volume_option
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
    "--fit",
    metavar="SUBTITLES",
    type=click.Path(path_type=Path),
    help="Speak the subtitles of a file, .srt or .vtt, each from its start to its end, in place of TEXT.",
)
@click.option(
    "--times",
    type=click.Path(path_type=Path),
    help="File for the times of the words: .json or .TextGrid, with phones, or subtitles, .srt or .vtt.",
)
@engine_options
def say(
    arguments: tuple[str, ...],
    voice_pack: str | None,
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
    mark_pauses: tuple[tuple[str, float], ...],
    volume: float,
    lexicon: Path | None,
    ssml: bool,
    strict: bool,
    duration: float | None,
    fit: Path | None,
    times: Path | None,
    threads: int | None,
    provider: Provider,
    precision: PrecisionChoice,
) -> None:
    """Speak a text: play it, or write a sound file.

    The voice is the one in the folder BUNDLE, or an installed one. Plays if standard output is a terminal,
    and otherwise writes a WAV to it. TEXT is read from standard input if it is not given, or if it is -.

    A single argument is TEXT, unless it is the folder of a bundle, has a slash and no spaces, or comes with
    --file; with --voice-pack it is always TEXT.
    """
    output = STANDARD_OUTPUT if output is None and (raw or not sys.stdout.isatty()) else output
    _check_usage(output, stream, raw, steps, budget_ms, duration)
    spoken: str | MarkedText | list[Cue]
    opened: Bundle | None = None
    if fit is None:
        bundle, text = _bundle_and_text(arguments, voice_pack, file)
        if file is None and text in (None, "-"):
            opened = read_bundle(bundle_of(bundle, voice_pack))  # before a terminal waits for the text
        text = _read_text(text, file)
        _check_text(text)
        spoken = read_ssml(text) if ssml else text
    else:
        bundle, text = _only_bundle(arguments), ""
        _check_fit(file, ssml, stream, duration, budget_ms, times)
        spoken = read_cues(fit)
    if output not in (None, STANDARD_OUTPUT):
        check_audio_path(Path(output))
    if times is not None:
        check_times_path(times)
    options = SynthesisOptions(
        voice=voice, seed=seed, speed=speed, pause=pause, paragraph_pause=paragraph_pause,
        mark_pauses=dict(mark_pauses), volume=volume, duration=duration, budget_ms=budget_ms, steps=steps,
        temperature=temperature,
    )  # fmt: skip
    found = opened or bundle_of(bundle, voice_pack)
    loaded = Voice.load(found, threads=threads, provider=provider, precision=precision, lexicon=lexicon)
    words: list[WordTime] | None = None if times is None else []
    with ExitStack() as stack:
        write = _open_device(stack, loaded.sample_rate) if output is None else None
        plays, output = write is not None, output or FILE
        stream = stream or (plays and duration is None and fit is None)
        audio = _speak(loaded, spoken, options, refuse_dropped if strict else log_dropped, stream, words)
        write = write or stack.enter_context(open_output(output, loaded.sample_rate, raw=raw))
        seconds, took, begun = _write(audio, write, loaded.sample_rate)
    if times is not None:
        write_times(times, text, words or [], seconds)
    place = "played" if plays else shown_output(output)
    rate = "" if plays else f" in {took:.2f} s, RTF {took / seconds:.3f}"
    first = f", first audio after {1000 * begun:.0f} ms" if stream else ""
    report(f"{place}: {seconds:.2f} s of audio{rate}{first}")


def _speak(
    voice: Voice,
    spoken: str | MarkedText | list[Cue],
    options: SynthesisOptions,
    on_dropped: OnDropped,
    stream: bool,
    words: list[WordTime] | None,
) -> Iterator[np.ndarray]:
    """Speak subtitles or a text, or stream it; where `words` is a list, add the times of its words to it."""
    if isinstance(spoken, list):
        return fit_cues(voice, spoken, options)
    sentences = voice.sentences(spoken, on_dropped)
    if stream:
        voice.warm_up()
        coming = _with_progress(sentences, len(sentences))
        if words is None:
            return voice.stream(coming, options)
        return _timed(voice.stream_timed(coming, options), words)
    if words is None:
        return _with_progress(voice.speak_sentences(sentences, options), len(sentences))
    return _timed([voice.speak_timed(sentences, options)], words)


def _bundle_and_text(
    arguments: Sequence[str], voice_pack: str | None, file: BinaryIO | None
) -> tuple[str | None, str | None]:
    """Return which of the arguments is BUNDLE and which TEXT, as the help of the command says."""
    if len(arguments) > 2:
        raise click.UsageError(
            f"{len(arguments)} arguments were given, expected [BUNDLE] [TEXT]; put the text in quotes"
        )
    if len(arguments) == 2:
        return arguments[0], arguments[1]
    if not arguments:
        return None, None
    (only,) = arguments
    is_path = os.sep in only and not any(map(str.isspace, only))
    if file is not None and voice_pack is None and not is_path and not os.path.isdir(only):
        raise click.UsageError(f"--file gives the text, and {only!r} is no folder of a bundle; leave one out")
    is_bundle = is_path or file is not None or os.path.isfile(os.path.join(only, MANIFEST_FILE))
    return (only, None) if is_bundle and voice_pack is None else (None, only)


def _only_bundle(arguments: Sequence[str]) -> str | None:
    """Return BUNDLE, where the text comes from subtitles."""
    if len(arguments) > 1:
        raise click.UsageError("--fit speaks the text of subtitles, and TEXT was given; give one of them")
    return arguments[0] if arguments else None


def _check_fit(file: BinaryIO | None, ssml: bool, stream: bool, *others: object) -> None:
    if stream or ssml or file is not None or any(other is not None for other in others):
        raise click.UsageError(
            "--fit takes none of --file, --ssml, --stream, --duration, --budget-ms, --times"
        )


def _check_usage(
    output: str | None,
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
    if raw and output != STANDARD_OUTPUT:
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


def _open_device(stack: ExitStack, sample_rate: int) -> Write | None:
    """Return a function that plays audio; None where there is no sound device, which is said."""
    try:
        return stack.enter_context(playing(open_player(sample_rate)))
    except AudioError as error:
        _log.warning("%s; writing %s", error, FILE)
        return None


def _with_progress(pieces: Iterable[T], count: int) -> Iterator[T]:
    """Show a progress bar of sentences if standard error is a terminal and there are several."""
    if count == 1 or not sys.stderr.isatty() or not shows_progress():
        yield from pieces
        return
    with click.progressbar(pieces, length=count, label="sentences", file=sys.stderr) as bar:
        yield from bar
