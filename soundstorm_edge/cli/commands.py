"""`soundstorm-train`: every stage of training, from recorded speech to one checkpoint."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import click
from accelerate import PartialState

from soundstorm_runtime.support.command import Group, report, version_option

from ..checkpoint import load_voice
from ..training.pipeline import TrainingRun
from ..training.recipe import load_recipe
from ..training.warm_start import warm_start as start_from_voice


def stage_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that all stages have."""
    for option in (
        click.option(
            "--run",
            "folder",
            type=click.Path(path_type=Path),
            show_default="runs/RECIPE",
            help="Folder of the run, with the results of its stages.",
        ),
        click.option("--recipe", default="flite-rms", help="Name of a shipped recipe, or a TOML file."),
    ):
        command = option(command)
    return command


def training_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of the stages that take optimizer steps."""
    for option in (
        click.option(
            "--seed", type=click.IntRange(min=0), show_default="the recipe's", help="Seed of random numbers."
        ),
        click.option(
            "--stop-at",
            type=click.IntRange(min=1),
            show_default="the recipe's steps",
            help="Stop after this optimizer step; the learning rate follows the recipe's schedule.",
        ),
    ):
        command = option(command)
    return command


@click.group(cls=Group)
@version_option
def main_group() -> None:
    """Train a SoundStorm voice, stage by stage: corpus, codec, units, text, acoustic, assemble.

    A recipe with [unit_distillation] has the stage distill-units after text. A run may start from a trained
    voice: see warm-start.

    Each stage resumes where it was stopped, and writes its results to the folder of the run.
    """


@main_group.command(example="soundstorm-train corpus --recipe flite-multi")
@stage_options
@click.option(
    "--ray",
    "cluster",
    metavar="ADDRESS",
    help="Work on a Ray cluster: HOST:PORT, 'auto' for the one that this machine belongs to, or 'local'. The "
    "folders of the run and of the source must be shared by its nodes.",
)
def corpus(recipe: str, folder: Path | None, cluster: str | None) -> None:
    """Synthesize the corpus, or read one from disk."""
    made = _run(recipe, folder).make_corpus(cluster)
    hours = made.utterances.seconds.sum() / 3600
    report(f"{len(made.utterances)} utterances, {hours:.2f} hours, in {made.folder}")


@main_group.command(
    "warm-start", example="soundstorm-train warm-start voices/flite-multi.pt --recipe flite-multi"
)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@stage_options
def warm_start(checkpoint: Path, recipe: str, folder: Path | None) -> None:
    """Start a run from the weights of the voice in CHECKPOINT."""
    run = _run(recipe, folder)
    start_from_voice(run, load_voice(checkpoint))
    report(f"{run.folder} starts from {checkpoint}")


@main_group.command(example="soundstorm-train codec --recipe flite-multi")
@stage_options
@training_options
def codec(recipe: str, folder: Path | None, stop_at: int | None, seed: int | None) -> None:
    """Train the codec on the corpus."""
    _run(recipe, folder, "codec", stop_at, seed).train_codec()


@main_group.command(example="soundstorm-train units --recipe flite-multi")
@stage_options
def units(recipe: str, folder: Path | None) -> None:
    """Fit the semantic units and tokenize the corpus with them."""
    _run(recipe, folder).fit_units()


@main_group.command(example="soundstorm-train text --recipe flite-multi")
@stage_options
@training_options
def text(recipe: str, folder: Path | None, stop_at: int | None, seed: int | None) -> None:
    """Train the text stage; needs units."""
    _run(recipe, folder, "text", stop_at, seed).train_text()


@main_group.command("distill-units", example="soundstorm-train distill-units --recipe flite-multi")
@stage_options
@training_options
def distill_units(recipe: str, folder: Path | None, stop_at: int | None, seed: int | None) -> None:
    """Distill the units from the text stage's tokens; needs text.

    The recipe must have the section [unit_distillation].
    """
    _run(recipe, folder, "unit_distillation", stop_at, seed).distill_units()


@main_group.command(example="soundstorm-train acoustic --recipe flite-multi")
@stage_options
@training_options
def acoustic(recipe: str, folder: Path | None, stop_at: int | None, seed: int | None) -> None:
    """Train SoundStorm; needs codec and units.

    If the recipe has [unit_distillation], it needs distill-units as well.
    """
    _run(recipe, folder, "acoustic", stop_at, seed).train_acoustic()


@main_group.command(example="soundstorm-train assemble --recipe flite-multi")
@stage_options
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    show_default="ckpt.pt in the folder of the run",
    help="File to write.",
)
@click.option(
    "--precision", type=click.Choice(["fp16", "fp32"]), default="fp16", help="Precision of the weights."
)
def assemble(
    recipe: str, folder: Path | None, output: Path | None, precision: Literal["fp16", "fp32"]
) -> None:
    """Write one checkpoint with the whole voice."""
    run = _run(recipe, folder)
    path = output or run.folder / "ckpt.pt"
    run.assemble(path, precision)
    report(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


def _run(
    recipe: str,
    folder: Path | None,
    stage: str | None = None,
    stop_at: int | None = None,
    seed: int | None = None,
) -> TrainingRun:
    """Return the run of a recipe, with the options of the command line in its stage's optimization."""
    PartialState()  # codecs have to know of the processes beside this one when they are built
    settings = load_recipe(recipe)
    given = {name: value for name, value in (("stop", stop_at), ("seed", seed)) if value is not None}
    if stage is not None and (part := getattr(settings, stage)) is not None:
        optimization = dataclasses.replace(part.optimization, **given)
        settings = dataclasses.replace(
            settings, **{stage: dataclasses.replace(part, optimization=optimization)}
        )
    return TrainingRun(settings, folder or Path("runs") / settings.name)
