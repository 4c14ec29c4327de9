"""Train the same small model with soundstorm-pytorch and with ours: equal losses, and how fast each is.

Both begin with the same weights. What the reference draws in every step (the samples, their prompts, levels
and masks) is recorded and shown to ours, so that the curves differ by rounding alone. The speeds are taken
apart from that, each drawing for itself, in turns, so that a busy machine slows both.
"""

from __future__ import annotations

import contextlib
import io
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import click
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from soundstorm_edge import SoundStorm, SoundStormTrainer
from soundstorm_edge.interop import from_soundstorm_pytorch
from soundstorm_edge.soundstorm.masking import Hidden
from soundstorm_runtime.support.command import run

from .report import RESULTS, Circumstances, circumstances, table, write_result

# Frames and semantic tokens at 50 Hz, the codes of a small codec.
RATES: dict[str, Any] = {
    "wav2vec_target_sample_hz": 16_000,
    "wav2vec_downsample_factor": 320,
    "codec_target_sample_hz": 16_000,
    "codec_downsample_factor": 320,
}
NET = {"codebook_size": 1024, "num_quantizers": 8}
CONFORMER: dict[str, Any] = {
    "dim": 128,
    "depth": 3,
    "heads": 4,
    "dim_head": 32,
    "ff_mult": 2,
    "conv_kernel_size": 5,
}
MASKING: dict[str, Any] = {"steps": 8, "schedule": "cosine", "no_replace_prob": 0.0, "random_token_prob": 0.0}
VOCABULARY, FRAMES, BATCH, RATE = 100, 100, 8, 1e-3
TURN = 5  # steps that each trains before it is the other's turn


@dataclass(frozen=True)
class Step:
    """The random draws of the reference for a step."""

    codes: Tensor
    tokens: Tensor
    hidden: Hidden


@dataclass(frozen=True)
class Result:
    """losses: of every step, by package; steps_per_second: the median of the turns."""

    circumstances: Circumstances
    parameters: int
    threads: int
    losses: dict[str, list[float]]
    first_step_difference: float
    largest_difference: float
    steps_per_second: dict[str, float]


class Speech(Dataset[Any]):
    """Semantic tokens of some frames each, and codes that follow from them except for some noise."""

    def __init__(self, size: int = 256) -> None:
        rng = np.random.default_rng(0)
        codebook = rng.integers(NET["codebook_size"], size=(VOCABULARY, NET["num_quantizers"]))
        tokens = np.repeat(rng.integers(VOCABULARY, size=(size, FRAMES // 4)), 4, axis=1)
        codes = codebook[tokens]
        noise = rng.integers(NET["codebook_size"], size=codes.shape)
        self.codes = torch.from_numpy(np.where(rng.random(codes.shape) < 0.1, noise, codes))
        self.tokens = torch.from_numpy(tokens)

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        return self.tokens[number], self.codes[number]


def make_models() -> tuple[nn.Module, SoundStorm]:
    """Make a model of soundstorm-pytorch, and ours with its weights."""
    from soundstorm_pytorch import ConformerWrapper
    from soundstorm_pytorch import SoundStorm as Reference

    torch.manual_seed(0)
    net = ConformerWrapper(**NET, conformer=dict(CONFORMER))
    reference = Reference(net, num_semantic_token_ids=VOCABULARY, **RATES, **MASKING)
    ours = from_soundstorm_pytorch(reference, heads=CONFORMER["heads"], **RATES, **MASKING)
    return reference, ours


@contextlib.contextmanager
def trainers(reference: nn.Module, ours: SoundStorm, steps: int) -> Iterator[tuple[Any, SoundStormTrainer]]:
    """Return a trainer of each package, with the same settings."""
    from soundstorm_pytorch import SoundStormTrainer as ReferenceTrainer

    settings: dict[str, Any] = {
        "dataset": Speech(), "num_train_steps": steps, "num_warmup_steps": 0, "batch_size": BATCH, "lr": RATE,
        "save_results_every": steps + 1, "save_model_every": steps + 1, "force_clear_prev_results": False,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        yield (
            ReferenceTrainer(reference, results_folder=f"{folder}/reference", **settings),
            SoundStormTrainer(ours, results_folder=f"{folder}/ours", **settings),
        )


@contextlib.contextmanager
def recording(reference: nn.Module) -> Iterator[list[Step]]:
    """Record the draws of the reference from the masked codes that its network gets."""
    steps: list[Step] = []
    shown: list[Tensor] = []

    def note(_: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any], __: Any) -> None:
        codes, tokens = arguments[0], named["cond_semantic_token_ids"]
        masked = shown.pop().unflatten(1, (-1, NET["num_quantizers"]))
        is_mask = masked == NET["codebook_size"]
        # Finer levels are fully masked, coarser ones not at all; the level is the same for all samples.
        level = is_mask.any(dim=(0, 1)).int().argmax()
        prompt = (is_mask.any(dim=2).cumsum(dim=1) == 0).sum(dim=1)
        hidden = Hidden(masked, is_mask[:, :, level], level.expand(len(codes)), prompt)
        steps.append(Step(codes.clone(), tokens.clone(), hidden))

    hooks = (
        reference.net.register_forward_pre_hook(lambda _, arguments: shown.append(arguments[0].clone())),  # type: ignore[union-attr]
        reference.register_forward_hook(note, with_kwargs=True),
    )
    try:
        yield steps
    finally:
        for hook in hooks:
            hook.remove()


def compare_losses(steps: int) -> dict[str, list[float]]:
    """Train both with the draws of the reference."""
    reference, ours = make_models()
    losses: dict[str, list[float]] = {"soundstorm-pytorch": [], "soundstorm-edge": []}
    with trainers(reference, ours, steps) as (theirs, own), recording(reference) as drawn:
        own.loop.stage.share = lambda share: (drawn[0].codes, torch.empty(0), drawn[0].tokens)  # type: ignore[method-assign]
        for _ in range(steps):
            losses["soundstorm-pytorch"].append(theirs.train_step()["loss"])
            del drawn[1:]  # its own held-out score is a forward pass too
            with mock.patch("soundstorm_edge.soundstorm.model.hide", return_value=drawn[0].hidden):
                losses["soundstorm-edge"].append(own.train_step()["loss"])
            drawn.clear()
    return losses


def compare_speed(steps: int) -> dict[str, float]:
    """Train both by themselves, in turns; return the steps per second of each."""
    with trainers(*make_models(), steps) as (theirs, own):
        seconds: dict[str, list[float]] = {"soundstorm-pytorch": [], "soundstorm-edge": []}
        for turn in range(max(2, steps // TURN)):
            for name, trainer in zip(seconds, (theirs, own), strict=True):
                start = time.perf_counter()
                for _ in range(TURN):
                    trainer.train_step()
                if turn:  # the first one opens files and fills caches
                    seconds[name].append((time.perf_counter() - start) / TURN)
    return {name: 1 / statistics.median(each) for name, each in seconds.items()}


def plot(losses: dict[str, list[float]], path: Path) -> None:
    """Draw the curves, one over the other."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for (name, curve), style in zip(losses.items(), ("-", "--"), strict=True):
        axes.plot(curve, style, label=name)
    axes.set(xlabel="step", ylabel="loss (nats a code)")
    axes.legend()
    figure.savefig(path, dpi=120)


@click.command()
@click.option("--steps", type=click.IntRange(min=1), default=200, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=RESULTS / "training_comparison.json")
def main(steps: int, out: Path) -> None:
    """Compare training with soundstorm-pytorch 0.6.1, which has to be installed."""
    from tests.interop import oracles  # noqa: F401 - stands in for what that package imports and never calls

    losses = compare_losses(steps)
    speeds = compare_speed(steps)
    differences = [abs(a - b) for a, b in zip(*losses.values(), strict=True)]
    size = sum(parameter.numel() for parameter in make_models()[1].parameters())
    result = Result(
        circumstances("training_comparison"), size, torch.get_num_threads(), losses, differences[0],
        max(differences), speeds,
    )  # fmt: skip
    write_result(out, result)
    plot(losses, out.with_suffix(".png"))
    rows = [["", "first loss", "last loss", "steps/s"]]
    rows += [[n, f"{c[0]:.5f}", f"{c[-1]:.5f}", f"{speeds[n]:.2f}"] for n, c in losses.items()]
    click.echo(table(rows))


if __name__ == "__main__":
    run(main)
