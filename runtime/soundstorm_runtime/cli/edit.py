"""`soundstorm edit`: replace words of finished speech, and leave the rest as it is."""

from __future__ import annotations

import time
from pathlib import Path

import click

from ..audio.recording import read_samples
from ..audio.writers import audio_file, check_audio_path
from ..bundle.open_engines import PrecisionChoice, Provider
from ..errors import OptionError
from ..support.command import Command, report
from ..synthesis.options import SynthesisOptions
from ..synthesis.word_times import TimedAudio
from ..tools.timing_files import check_json_path, read_times, write_json
from ..voice import Voice
from .shared_options import (
    bundle_and_file,
    engine_options,
    lexicon_option,
    seed_option,
    steps_option,
    temperature_option,
    voice_option,
)

_EXAMPLE = """
soundstorm edit in.wav --times in.json --replace "Tuesday=Thursday" -o out.wav
soundstorm edit in.wav --times in.json --retake "We meet" --seed 3 -o again.wav
soundstorm edit noisy.wav --times noisy.json --fill "1.2,1.9=on Tuesday" -o filled.wav
"""
_FILL = "1.2,1.9=on Tuesday"


@click.command(cls=Command, example=_EXAMPLE)
@bundle_and_file("speech", click.Path(path_type=Path))
@click.option(
    "--times",
    type=click.Path(path_type=Path),
    required=True,
    help="JSON file with the times of the words, as of 'soundstorm say --times', or of an aligner: "
    '{"words": [{"word": ..., "start": ..., "end": ...}, ...]}.',
)
@click.option("-o", "--output", required=True, help="File to write, ending in .wav or .flac.")
@click.option(
    "--new-times",
    type=click.Path(path_type=Path),
    help="JSON file for the times of the words afterwards, such as for another edit.",
)
@click.option(
    "--replace",
    "replaced",
    metavar="OLD=NEW",
    multiple=True,
    help="Words to speak in place of others, which occur once; none to remove them. May be given several "
    "times.",
)
@click.option(
    "--retake",
    metavar="WORDS",
    multiple=True,
    help="Words to speak again in the same time; give another --seed.",
)
@click.option(
    "--fill",
    metavar="START,END=WORDS",
    multiple=True,
    help="Words to speak in a gap from START to END, in seconds.",
)
@voice_option
@seed_option
@steps_option
@temperature_option
@lexicon_option
@engine_options
def edit(
    bundle: Path,
    speech: Path,
    times: Path,
    output: str,
    new_times: Path | None,
    replaced: tuple[str, ...],
    retake: tuple[str, ...],
    fill: tuple[str, ...],
    voice: str | None,
    seed: int,
    steps: tuple[int, ...] | None,
    temperature: float | None,
    lexicon: Path | None,
    threads: int | None,
    provider: Provider,
    precision: PrecisionChoice,
) -> None:
    """Replace words of a sound file; the rest stays as it is.

    SPEECH is the file: speech of the voice in the folder BUNDLE, or of an installed one, or a recording at
    its sample rate. Gaps are filled first, then words are replaced, then spoken again. Samples of a 16-bit
    file before and after what is edited are not changed.
    """
    if not (replaced or retake or fill):
        raise click.UsageError("nothing is to be edited; give --replace, --retake or --fill")
    pairs = [_divided(text, "--replace", "Tuesday=Thursday") for text in replaced]
    if len(dict(pairs)) < len(pairs):
        raise click.UsageError("--replace has the same words twice; give words beside them, too")
    gaps = [(*_seconds(span), words) for span, words in (_divided(text, "--fill", _FILL) for text in fill)]
    check_audio_path(Path(output))
    check_json_path(new_times)
    audio, rate = read_samples(speech)
    words = read_times(times, len(audio) / rate)
    options = SynthesisOptions(voice=voice, seed=seed, steps=steps, temperature=temperature)
    loaded = Voice.load(bundle, threads=threads, provider=provider, precision=precision, lexicon=lexicon)
    if rate != loaded.sample_rate:
        raise OptionError(
            f"{speech} has {rate} samples a second, expected {loaded.sample_rate}, as the voice has; convert "
            "it"
        )
    made, seconds, started = TimedAudio(audio, words), len(audio) / rate, time.perf_counter()
    for start, end, text in gaps:
        made = loaded.fill(made, start, end, text, options)
    made = loaded.edit(made, dict(pairs), options=options)
    for text in retake:
        made = loaded.retake(made, text, options)
    took = time.perf_counter() - started
    with audio_file(Path(output), loaded.sample_rate) as write:
        write(made.audio)
    lasts = len(made.audio) / loaded.sample_rate
    if new_times is not None:
        found = [{"word": w.word, "start": round(w.start, 4), "end": round(w.end, 4)} for w in made.words]
        write_json(new_times, {"duration": round(lasts, 4), "words": found})
    report(f"{output}: {lasts:.2f} s of audio, {lasts - seconds:+.2f} s, edited in {took:.2f} s")


def _divided(text: str, option: str, example: str) -> tuple[str, str]:
    """Return what is before and after the first equals sign."""
    before, equals, after = text.partition("=")
    if not (equals and before.strip() and (after.strip() or option == "--replace")):
        raise click.UsageError(f"{option} is {text!r}, expected such as {example!r}")
    return before, after


def _seconds(span: str) -> tuple[float, float]:
    try:
        start, end = map(float, span.split(","))
    except ValueError:
        raise click.UsageError(f"--fill has {span!r}, expected two times such as in {_FILL!r}") from None
    return start, end
