"""`soundstorm prompt`: make a voice of a few seconds of sound."""

from __future__ import annotations

import time
from pathlib import Path

import click

from ..audio.recording import read_recording
from ..bundle.prompts import SUFFIX, write_prompt
from ..bundle.reader import Bundle, read_bundle
from ..errors import OptionError
from ..synthesis.prompt_encoder import PromptEncoder
from .shared_options import bundle_argument, threads_option


@click.command()
@bundle_argument
@click.argument("recording", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="File to write, ending in .npz. In the bundle's own folder prompts it is a voice of that name.",
)
@threads_option
def prompt(bundle: Path, recording: Path, output: Path, threads: int | None) -> None:
    """Make a prompt of the sound file RECORDING, for the voice in the folder BUNDLE to speak like it.

    Three to five seconds of one person are best, in a quiet room, beginning and ending with a pause. What
    was made is a voice for 'say --voice OUTPUT'.
    """
    checked = read_bundle(bundle)
    _check_output(checked, output)
    started = time.perf_counter()
    made = PromptEncoder(checked, threads).make(read_recording(recording))
    write_prompt(output, made)
    took, seconds = time.perf_counter() - started, made.seconds(checked.manifest)
    click.echo(f"{output}: {seconds:.1f} s of speech, made in {took:.2f} s", err=True)


def _check_output(bundle: Bundle, output: Path) -> None:
    """Raise `OptionError` for a name that is none of a prompt, or of a file that the bundle came with."""
    if output.suffix != SUFFIX or output.name.startswith("."):
        raise OptionError(
            f"cannot write {output}: expected a name that ends in {SUFFIX}, such as anna{SUFFIX}"
        )
    if output.resolve() in {(bundle.path / file).resolve() for file in bundle.manifest.files}:
        raise OptionError(f"{output} is a voice that the bundle came with; give the new one another name")
