"""`soundstorm-train`: every stage of training, from recorded speech to one checkpoint."""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import click
import torch
from accelerate import PartialState

from soundstorm_runtime.support.command import run, version_option

from .checkpoint import load_voice
from .training import pipeline as stages
from .training.recipe import Recipe, load_recipe
from .training.warm_start import begin as begin_with


def stage_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that all stages have."""
    for option in (
        click.option(
            "--run", "folder", type=click.Path(path_type=Path), help="Folder of the run. [runs/RECIPE]"
        ),
        click.option(
            "--recipe", default="flite-rms", show_default=True, help="Shipped recipe or a TOML file."
        ),
    ):
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@version_option
def main_group() -> None:
    """Train a SoundStorm voice, stage by stage: corpus, codec, units, text, acoustic, assemble.

    A recipe with [hearing] has that stage after text. A run may begin with a voice that is trained.

    Each stage goes on where it was stopped. What it makes lies in the folder of the run.
    """


@main_group.command()
@stage_options
def corpus(recipe: str, folder: Path | None) -> None:
    """Make the corpus: speech of flite, or an LJSpeech or LibriTTS folder read."""
    settings, folder = _settings(recipe, folder)
    made = stages.corpus(settings, folder)
    hours = sum(utterance.seconds for utterance in made.utterances) / 3600
    click.echo(f"{len(made.utterances)} utterances, {hours:.2f} hours, in {made.folder}", err=True)


@main_group.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@stage_options
def begin(checkpoint: Path, recipe: str, folder: Path | None) -> None:
    """Begin a run with the voice in CHECKPOINT: its stages go on from there."""
    settings, folder = _settings(recipe, folder)
    begin_with(settings, folder, load_voice(checkpoint))
    click.echo(f"{folder} goes on from {checkpoint}", err=True)


def _trained(name: str, help_text: str) -> None:
    """Add the command of a stage that takes steps."""

    @main_group.command(name, help=help_text)
    @stage_options
    @click.option(
        "--steps", type=click.IntRange(min=1), help="Stop here, on the recipe's own learning-rate curve."
    )
    @click.option("--seed", type=click.IntRange(min=0), help="Instead of the recipe's.")
    def command(recipe: str, folder: Path | None, steps: int | None, seed: int | None) -> None:
        PartialState()  # a codec that is built must know of the processes beside this one
        settings, folder = _settings(recipe, folder)
        given = {key: value for key, value in (("stop", steps), ("seed", seed)) if value is not None}
        part = getattr(settings, name)
        if part is not None:  # the stage itself says that the recipe lacks it
            part = dataclasses.replace(part, optimization=dataclasses.replace(part.optimization, **given))
        getattr(stages, name)(dataclasses.replace(settings, **{name: part}), folder)


_trained("codec", "Train the codec on the corpus.")


@main_group.command()
@stage_options
def units(recipe: str, folder: Path | None) -> None:
    """Cluster the corpus into semantic tokens."""
    stages.units(*_settings(recipe, folder))


_trained("text", "Train text to semantic tokens; needs units.")
_trained("hearing", "Teach units to hear what the text stage reads; needs text.")
_trained("acoustic", "Train SoundStorm on the codec's codes; needs codec and units, and hearing if there is.")


@main_group.command()
@stage_options
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Where to write. [ckpt.pt in the run]")
@click.option("--precision", type=click.Choice(["fp16", "fp32"]), default="fp16", show_default=True)
def assemble(
    recipe: str, folder: Path | None, output: Path | None, precision: Literal["fp16", "fp32"]
) -> None:
    """Write one checkpoint that holds the whole voice."""
    settings, folder = _settings(recipe, folder)
    path = output or folder / "ckpt.pt"
    stages.assemble(settings, folder, path, precision)
    click.echo(f"{path}: {path.stat().st_size / 1e6:.1f} MB", err=True)


def _settings(recipe: str, folder: Path | None) -> tuple[Recipe, Path]:
    settings = load_recipe(recipe)
    return settings, folder or Path("runs") / settings.name


def main() -> None:
    """Run the command line and exit; of several processes, part from the others first."""
    try:
        run(main_group)
    finally:
        if torch.distributed.is_initialized():
            gc.collect()  # what still holds the group keeps its threads, which may abort Python's end
            torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
