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
from .training.pipeline import TrainingRun
from .training.recipe import load_recipe
from .training.warm_start import warm_start as start_from_voice


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


def training_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of the stages that take optimizer steps."""
    for option in (
        click.option("--seed", type=click.IntRange(min=0), help="Instead of the recipe's."),
        click.option(
            "--steps", type=click.IntRange(min=1), help="Stop here, on the recipe's own learning-rate curve."
        ),
    ):
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@version_option
def main_group() -> None:
    """Train a SoundStorm voice, stage by stage: corpus, codec, units, text, acoustic, assemble.

    A recipe with [unit_distillation] has the stage distill-units after text. A run may start from a trained
    voice: see warm-start.

    Each stage resumes where it was stopped, and writes its results to the folder of the run.
    """


@main_group.command()
@stage_options
def corpus(recipe: str, folder: Path | None) -> None:
    """Make the corpus: synthesize speech, or read an LJSpeech or LibriTTS folder."""
    made = _run(recipe, folder).make_corpus()
    hours = made.utterances.seconds.sum() / 3600
    click.echo(f"{len(made.utterances)} utterances, {hours:.2f} hours, in {made.folder}", err=True)


@main_group.command("warm-start")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@stage_options
def warm_start(checkpoint: Path, recipe: str, folder: Path | None) -> None:
    """Start a run from the trained voice in CHECKPOINT: its stages continue from the voice's weights."""
    run = _run(recipe, folder)
    start_from_voice(run, load_voice(checkpoint))
    click.echo(f"{run.folder} starts from {checkpoint}", err=True)


@main_group.command()
@stage_options
@training_options
def codec(recipe: str, folder: Path | None, steps: int | None, seed: int | None) -> None:
    """Train the codec on the corpus."""
    _run(recipe, folder, "codec", steps, seed).train_codec()


@main_group.command()
@stage_options
def units(recipe: str, folder: Path | None) -> None:
    """Fit the semantic units and tokenize the corpus with them."""
    _run(recipe, folder).fit_units()


@main_group.command()
@stage_options
@training_options
def text(recipe: str, folder: Path | None, steps: int | None, seed: int | None) -> None:
    """Train the text stage; needs units."""
    _run(recipe, folder, "text", steps, seed).train_text()


@main_group.command("distill-units")
@stage_options
@training_options
def distill_units(recipe: str, folder: Path | None, steps: int | None, seed: int | None) -> None:
    """Train units on the tokens of the text stage; needs text, and a recipe with [unit_distillation]."""
    _run(recipe, folder, "unit_distillation", steps, seed).distill_units()


@main_group.command()
@stage_options
@training_options
def acoustic(recipe: str, folder: Path | None, steps: int | None, seed: int | None) -> None:
    """Train SoundStorm; needs codec and units, and the distilled units if the recipe has them."""
    _run(recipe, folder, "acoustic", steps, seed).train_acoustic()


@main_group.command()
@stage_options
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Where to write. [ckpt.pt in the run]")
@click.option("--precision", type=click.Choice(["fp16", "fp32"]), default="fp16", show_default=True)
def assemble(
    recipe: str, folder: Path | None, output: Path | None, precision: Literal["fp16", "fp32"]
) -> None:
    """Write one checkpoint with the whole voice."""
    run = _run(recipe, folder)
    path = output or run.folder / "ckpt.pt"
    run.assemble(path, precision)
    click.echo(f"{path}: {path.stat().st_size / 1e6:.1f} MB", err=True)


def _run(
    recipe: str,
    folder: Path | None,
    stage: str | None = None,
    steps: int | None = None,
    seed: int | None = None,
) -> TrainingRun:
    """Return the run of a recipe, with the options of the command line in its stage's optimization."""
    PartialState()  # codecs have to know of the processes beside this one when they are built
    settings = load_recipe(recipe)
    given = {name: value for name, value in (("stop", steps), ("seed", seed)) if value is not None}
    if stage is not None and (part := getattr(settings, stage)) is not None:
        optimization = dataclasses.replace(part.optimization, **given)
        settings = dataclasses.replace(
            settings, **{stage: dataclasses.replace(part, optimization=optimization)}
        )
    return TrainingRun(settings, folder or Path("runs") / settings.name)


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
