"""The training loop of every stage: seeded, resumable at the exact step, on one process or many."""

from __future__ import annotations

import contextlib
import json
import math
import signal
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from tqdm import tqdm

from ..config import check_positive, to_plain
from ..errors import CheckpointError
from ..files import load_tensors, save_tensors

STATE = "training state"


@dataclass(frozen=True)
class Optimization:
    """How long and how fast a stage learns; the rate warms up linearly and decays as a cosine."""

    steps: int = 10_000
    batch: int = 16
    learning_rate: float = 5e-4
    warmup: int = 200
    weight_decay: float = 0.01
    gradient_norm: float = 1.0
    bf16: bool = False
    seed: int = 0
    save_every: int = 500

    def __post_init__(self) -> None:
        check_positive(self, "steps", "batch", "save_every")
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate is {self.learning_rate}, expected above 0")

    def rate(self, step: int) -> float:
        """Give the learning rate at `step`, as a share of `learning_rate`."""
        progress = min(1.0, step / self.steps)
        return min(1.0, (step + 1) / max(1, self.warmup)) * (0.52 + 0.48 * math.cos(math.pi * progress))


class Stage(ABC):
    """What the loop needs to know of a stage: its model, batches, loss, and held-out score."""

    name: str
    model: nn.Module
    config: Any  # a dataclass; written beside the weights

    @abstractmethod
    def batch(self, size: int, rng: np.random.Generator) -> tuple[Tensor, ...]:
        """Draw a training batch."""

    @abstractmethod
    def loss(self, model: nn.Module, batch: tuple[Tensor, ...]) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss of a batch, and its parts for the log."""

    @abstractmethod
    def evaluate(self, device: torch.device) -> dict[str, float]:
        """Score the model, which is on `device`, on held-out data."""


def train(stage: Stage, options: Optimization, folder: Path) -> None:
    """Train `stage` up to `options.steps`, going on from `folder/state.pt` if it is there.

    Every step seeds its own random numbers, so a run that was stopped and resumed is the run that
    was not. Ctrl-C saves and stops.
    """
    accelerator = Accelerator(mixed_precision="bf16" if options.bf16 else "no")
    optimizer = torch.optim.AdamW(
        stage.model.parameters(),
        lr=options.learning_rate,
        weight_decay=options.weight_decay,
        betas=(0.9, 0.99),
    )
    first = _resume(stage, optimizer, folder)
    model, prepared = accelerator.prepare(stage.model, optimizer)
    bar = tqdm(
        range(first, options.steps), initial=first, total=options.steps, desc=stage.name, unit="step",
        disable=not accelerator.is_main_process,
    )  # fmt: skip
    log = _Log(folder, options)
    with _interrupt_between_steps() as interrupted, bar:
        for step in bar:
            parts = _update(accelerator, stage, model, prepared, options, step)
            if step % 20 == 0:
                bar.set_postfix({name: f"{value.item():.3f}" for name, value in parts.items()})
                log.write(step, {name: value.item() for name, value in parts.items()})
            if (step + 1) % options.save_every == 0 or step + 1 == options.steps:
                _save(stage, optimizer, step + 1, folder, accelerator)
                scores = _evaluate(stage, accelerator.device)
                log.write(step, {f"held-out {name}": value for name, value in scores.items()})
            if interrupted.is_set():
                _save(stage, optimizer, step + 1, folder, accelerator)
                bar.close()
                print(f"stopped after step {step + 1}; the same command goes on from here", file=sys.stderr)
                raise KeyboardInterrupt


@contextlib.contextmanager
def _interrupt_between_steps() -> Iterator[threading.Event]:
    """Note a Ctrl-C and let the step end: what is saved is then never half of one. The second one kills."""
    interrupted = threading.Event()

    def note(*_: object) -> None:
        interrupted.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    if threading.current_thread() is not threading.main_thread():  # signals reach the main thread alone
        yield interrupted
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)


def _update(
    accelerator: Accelerator, stage: Stage, model: nn.Module, optimizer: Any, options: Optimization, step: int
) -> dict[str, Tensor]:
    seed = np.random.SeedSequence([options.seed, step, accelerator.process_index])
    torch.manual_seed(int(seed.generate_state(1)[0]))
    batch = tuple(t.to(accelerator.device) for t in stage.batch(options.batch, np.random.default_rng(seed)))
    for group in optimizer.param_groups:
        group["lr"] = options.learning_rate * options.rate(step)
    with accelerator.autocast():
        loss, parts = stage.loss(model, batch)
    optimizer.zero_grad()
    accelerator.backward(loss)
    accelerator.clip_grad_norm_(model.parameters(), options.gradient_norm)
    optimizer.step()
    return {"loss": loss.detach(), **parts}


def _evaluate(stage: Stage, device: torch.device) -> dict[str, float]:
    stage.model.eval()
    with torch.no_grad():
        scores = stage.evaluate(device)
    stage.model.train()
    return scores


def _save(stage: Stage, optimizer: Any, step: int, folder: Path, accelerator: Accelerator) -> None:
    if accelerator.is_main_process:
        state = {
            "config": to_plain(stage.config),
            "step": step,
            "model": stage.model.state_dict(),
            "optimizer": optimizer.state_dict(),
        }
        save_tensors(folder / "state.pt", STATE, state)


def _resume(stage: Stage, optimizer: torch.optim.Optimizer, folder: Path) -> int:
    stage.model.train()
    if not (folder / "state.pt").exists():
        return 0
    state = load_tensors(folder / "state.pt", STATE, ("config", "step", "model", "optimizer"))
    if state["config"] != to_plain(stage.config):
        raise CheckpointError(
            f"{folder} holds the stage '{stage.name}' of another recipe; remove it or choose another --run"
        )
    stage.model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])


class _Log:
    """One JSON line for every few steps, and one for the held-out score at every save."""

    def __init__(self, folder: Path, options: Optimization) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "log.jsonl"
        self.start = time.monotonic()

    def write(self, step: int, values: dict[str, float]) -> None:
        row = {"step": step, "seconds": round(time.monotonic() - self.start, 1)}
        row |= {name: round(value, 4) for name, value in values.items()}
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
