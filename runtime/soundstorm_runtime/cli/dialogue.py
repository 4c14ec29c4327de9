"""`soundstorm dialogue`: speak a script of several speakers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import click
import numpy as np

from ..audio.writers import check_audio_path
from ..bundle.open_engines import PrecisionChoice, Provider
from ..support.command import Command, report
from ..synthesis.dialogue.timeline import DialogueAudio, TurnTime
from ..synthesis.dialogue.turns import read_script
from ..synthesis.options import SynthesisOptions
from ..text.ssml import read_ssml
from ..tools.timing_files import check_json_path, write_json
from ..voice import Voice
from .shared_options import (
    STANDARD_OUTPUT,
    bundle_and_file,
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
)


@click.command(
    cls=Command, example="soundstorm dialogue build/voice script.txt -o talk.wav --times talk.json"
)
@bundle_and_file("script", click.File("rb"))
@click.option(
    "-o",
    "--output",
    default=STANDARD_OUTPUT,
    show_default="standard output",
    help="File to write, ending in .wav or .flac.",
)
@click.option(
    "--stream", is_flag=True, help="Write the audio block by block, before the first turn is complete."
)
@click.option(
    "--times",
    type=click.Path(path_type=Path),
    help="JSON file for the times of the turns and of their words.",
)
@voice_option
@seed_option
@steps_option
@temperature_option
@speed_option
@lexicon_option
@engine_options
def dialogue(
    bundle: Path,
    script: BinaryIO,
    output: str,
    stream: bool,
    times: Path | None,
    voice: str | None,
    seed: int,
    steps: tuple[int, ...] | None,
    temperature: float | None,
    speed: float,
    lexicon: Path | None,
    threads: int | None,
    provider: Provider,
    precision: PrecisionChoice,
) -> None:
    """Speak a script of several speakers.

    They are voices of the folder BUNDLE, or of an installed one. SCRIPT has a line for each turn, "anna: Good
    morning.", where anna is a name that 'soundstorm voices' lists or a file made by 'soundstorm prompt'. A
    turn may start with [gap 0.5s] or [overlap 0.3s], its distance from the turn before. SCRIPT may also be
    JSON lines with "voice", "text" and "gap", or SSML with <voice>; - is standard input.
    """
    text = read_utf8(script)
    is_ssml = text.lstrip().startswith("<")
    turns = read_ssml(text) if is_ssml else read_script(text)
    if output != STANDARD_OUTPUT:
        check_audio_path(Path(output))
    check_json_path(times)
    options = SynthesisOptions(voice=voice, seed=seed, speed=speed, steps=steps, temperature=temperature)
    loaded = Voice.load(bundle, threads=threads, provider=provider, precision=precision, lexicon=lexicon)
    spoken: list[TurnTime] = []
    samples, started = 0, time.perf_counter()
    made = loaded.stream_dialogue(turns, options) if stream else iter([loaded.dialogue(turns, options)])
    with open_output(output, loaded.sample_rate) as write:
        for audio in _collected(made, spoken):
            write(audio)
            samples += len(audio)
    took, seconds = time.perf_counter() - started, samples / loaded.sample_rate
    if times is not None:
        turns_of = [turn.to_json(text if is_ssml else None) for turn in spoken]
        write_json(times, {"duration": round(seconds, 4), "turns": turns_of})
    rate = f"{seconds:.2f} s of audio in {took:.2f} s, RTF {took / seconds:.3f}"
    report(f"{shown_output(output)}: {len(spoken)} turns, {rate}")


def _collected(made: Iterator[DialogueAudio], turns: list[TurnTime]) -> Iterator[np.ndarray]:
    """Yield the audio of chunks, and add their turns to a list."""
    for chunk in made:
        turns.extend(chunk.turns)
        yield chunk.audio
