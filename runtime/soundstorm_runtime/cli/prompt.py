"""`soundstorm prompt`: make a voice from a few seconds of recorded speech."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import click
import numpy as np

from ..audio.recording import Recording, read_recording
from ..bundle.prompts import SUFFIX, Prompt, write_prompt
from ..bundle.reader import Bundle, read_bundle
from ..errors import OptionError
from ..support.command import Command, report
from ..synthesis.prompt_check import prompt_warnings
from ..synthesis.prompt_encoder import PromptEncoder
from ..voice import Voice
from .shared_options import bundle_and_file, threads_option

_log = logging.getLogger(__name__)


@click.command(cls=Command, example="soundstorm prompt build/voice anna.wav -o build/voice/prompts/anna.npz")
@bundle_and_file("recording", click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="File to write, ending in .npz. In the bundle's folder 'prompts' it becomes a voice of that name.",
)
@threads_option
def prompt(bundle: Path, recording: Path, output: Path, threads: int | None) -> None:
    """Make a voice from a few seconds of recorded speech.

    RECORDING is best three to five seconds of one speaker in a quiet room, beginning and ending with a pause.
    The voice in the folder BUNDLE, or an installed one, then speaks like it: soundstorm say BUNDLE TEXT
    --voice OUTPUT. It speaks a sentence, and warnings say where that is not as high as the recording, or
    where the recording may have several speakers.
    """
    checked = read_bundle(bundle)
    _check_output(checked, output)
    started = time.perf_counter()
    audio = read_recording(recording)
    made = PromptEncoder(checked, threads).make(audio)
    write_prompt(output, made)
    took, seconds = time.perf_counter() - started, made.seconds(checked.manifest)
    report(f"{output}: {seconds:.1f} s of speech, made in {took:.2f} s")
    for warning in _warnings(checked, audio, made, threads):
        _log.warning("warning: %s", warning)


def _warnings(bundle: Bundle, recording: Recording, made: Prompt, threads: int | None) -> list[str]:
    def speak(text: str) -> np.ndarray:
        return Voice.load(bundle, threads=threads, provider="cpu").speak(text, voice=made)

    manifest = bundle.manifest
    return prompt_warnings(recording, speak if manifest.text else None, manifest.audio.sample_rate)


def _check_output(bundle: Bundle, output: Path) -> None:
    """Raise `OptionError` for a name without .npz, or a file that is part of the exported bundle."""
    if output.suffix != SUFFIX or output.name.startswith("."):
        raise OptionError(
            f"cannot write {output}: expected a name that ends in {SUFFIX}, such as anna{SUFFIX}"
        )
    if output.resolve() in {(bundle.path / file).resolve() for file in bundle.manifest.files}:
        raise OptionError(f"{output} is a voice of the exported bundle; give the new one another name")
