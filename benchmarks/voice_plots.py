"""Plots of a voice: spectrograms beside its teacher's, durations, and losses of training."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image

from soundstorm_edge.checkpoint import VoiceModels, load_voice
from soundstorm_edge.data.sources.flite import speak
from soundstorm_edge.nn.mel import LogMel
from soundstorm_edge.text_to_semantic.parallel import ParallelTextToSemantic
from soundstorm_runtime.support.command import run
from soundstorm_runtime.synthesis.text_stage import token_counts
from soundstorm_runtime.text.sentences import normalise

from .pipelines import SOUNDSTORM, TEACHER, TEXT, Pipelines
from .report import RESULTS
from .work import exported

PLOTS = Path("benchmarks/plots")
SENTENCE = "The farmer repaired the old tractor before the harvest began."
MELS, HOP_SECONDS, WINDOW_SECONDS = 80, 0.01, 0.04
STAGES = ("codec", "units", "text", "unit_distillation", "acoustic")
HELD_OUT = "held-out "


def plot_spectrograms(speech: dict[str, np.ndarray], sample_rate: int) -> Figure:
    """Show log-mel spectra one above the other, on one scale of time and of loudness."""
    mel = LogMel(sample_rate, round(HOP_SECONDS * sample_rate), round(WINDOW_SECONDS * sample_rate), MELS)
    spectra = {name: mel(torch.from_numpy(audio)[None])[0].T.numpy() for name, audio in speech.items()}
    top = max(float(spectrum.max()) for spectrum in spectra.values())
    figure = Figure(figsize=(9, 1.9 * len(spectra)), layout="constrained")
    for axes, (name, spectrum) in zip(
        figure.subplots(len(spectra), sharex=True, squeeze=False)[:, 0], spectra.items(), strict=True
    ):
        end = spectrum.shape[1] * HOP_SECONDS
        axes.imshow(spectrum, origin="lower", aspect="auto", extent=(0, end, 0, MELS), vmin=top - 9, vmax=top)
        axes.set_ylabel("mel band")
        axes.set_title(name, loc="left", fontsize=10)
    axes.set_xlabel("seconds")
    axes.set_xlim(0, max(spectrum.shape[1] for spectrum in spectra.values()) * HOP_SECONDS)
    return figure


def plot_durations(taught: Sequence[tuple[str, float]], voice: Sequence[tuple[str, float]]) -> Figure:
    """Show when each phone ends: the teacher's and the voice's, pairs of phone and seconds."""
    figure = Figure(figsize=(9, max(3, 0.12 * len(voice))), layout="constrained")
    axes = figure.subplots()
    for name, pairs in ((TEACHER, taught), (TEXT, voice)):
        ends = np.array([end for _, end in pairs])
        axes.step(ends, np.arange(len(ends)), where="pre", label=name)
    axes.set_yticks(range(len(voice)), [phone for phone, _ in voice], fontsize=6)
    axes.set_xlabel("seconds")
    axes.set_ylabel("phone")
    axes.legend(loc="lower right")
    return figure


def plot_training(logs: dict[str, list[dict[str, Any]]]) -> Figure:
    """Show the losses of each stage over its hours of training; dots are held-out losses."""
    figure = Figure(figsize=(13, 3.4), layout="constrained")
    for axes, (stage, rows) in zip(
        figure.subplots(1, len(logs), squeeze=False)[0], logs.items(), strict=True
    ):
        hours = _hours(rows)
        names = dict.fromkeys(name.removeprefix(HELD_OUT) for row in rows for name in row)
        for number, name in enumerate(name for name in names if name not in ("step", "seconds")):
            for key, style in ((name, "-"), (HELD_OUT + name, ".")):
                points = [(hour, row[key]) for hour, row in zip(hours, rows, strict=True) if key in row]
                label = name if style == "-" else None
                axes.plot(*np.array(points).reshape(-1, 2).T, style, label=label, lw=0.8, color=f"C{number}")
        axes.set_title(stage, loc="left", fontsize=10)
        axes.set_xlabel("hours")
        axes.legend(fontsize=6, loc="upper right")
    return figure


def _hours(rows: Sequence[dict[str, Any]]) -> list[float]:
    """Add up the hours: the clock of a run that was resumed starts at 0 again."""
    hours, before, last = [], 0.0, 0.0
    for row in rows:
        if row["seconds"] < last:
            before += last
        last = row["seconds"]
        hours.append((before + last) / 3600)
    return hours


def predicted_ends(models: VoiceModels, text: str) -> list[tuple[str, float]]:
    """Return the phones of a sentence and their ends in seconds, by the parallel text stage; else nothing."""
    if not isinstance(models.text, ParallelTextToSemantic):
        return []
    ids = {symbol: place for place, symbol in enumerate(models.config.text.symbols)}
    phones = models.lexicon.phones(text)
    with torch.inference_mode():
        _, durations = models.text.encode(
            torch.tensor([[ids[phone] for phone in phones]]), torch.tensor([len(phones)])
        )
    ends = np.cumsum(token_counts(durations[0].numpy())) / models.units.rate
    return list(zip(phones, ends.tolist(), strict=True))


def save(figure: Figure, path: Path) -> None:
    """Write an image with few colours, a third of the size."""
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=80)
    Image.open(drawn).convert("RGB").quantize(64).save(path, optimize=True)


def read_logs(name: str) -> dict[str, list[dict[str, Any]]]:
    """Read the training logs of a voice that are kept, by stage."""
    paths = {stage: RESULTS / "training" / f"{name}-{stage}.jsonl" for stage in STAGES}
    return {
        stage: [json.loads(line) for line in path.read_text().splitlines()]
        for stage, path in paths.items()
        if path.is_file()
    }


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option(
    "--bundle", type=click.Path(path_type=Path), help="Bundle of CHECKPOINT.  [default: export now]"
)
@click.option("--voice", default="rms", show_default=True, help="Voice of flite and of the checkpoint.")
@click.option("--text", default=SENTENCE, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=PLOTS, show_default=True)
def main(checkpoint: Path, bundle: Path | None, voice: str, text: str, out: Path) -> None:
    """Plot the voice in CHECKPOINT."""
    models = load_voice(checkpoint)
    name = models.config.name
    pipelines = Pipelines(models, bundle or exported(models, checkpoint), voice, seed=0)
    spoken = pipelines.speak(text)
    speech = {pipeline: spoken[pipeline].audio for pipeline in (TEACHER, SOUNDSTORM, TEXT)}
    figures = {f"{name}-spectrograms": plot_spectrograms(speech, pipelines.sample_rate)}
    if ends := predicted_ends(models, text):
        taught = speak(normalise(text), voice)
        pairs = list(zip(taught.phones, taught.ends, strict=True))
        figures[f"{name}-durations"] = plot_durations(pairs, ends)
    if logs := read_logs(name):
        figures[f"{name}-training"] = plot_training(logs)
    out.mkdir(parents=True, exist_ok=True)
    for stem, figure in figures.items():
        save(figure, out / f"{stem}.png")
        click.echo(out / f"{stem}.png")


if __name__ == "__main__":
    run(main)
