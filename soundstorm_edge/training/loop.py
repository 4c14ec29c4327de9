"""The training loop of every stage: seeded, resumable at the exact step, on one process or many."""

from __future__ import annotations

import contextlib
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, gather_object
from ema_pytorch import EMA
from torch import Tensor
from tqdm import tqdm

from ..errors import CheckpointError, ConfigError
from ..support.config import to_dict
from ..support.tensor_files import save_tensors
from .log import Log
from .optimization import Optimization
from .stage import Share, Stage
from .state import STATE, read_state, trained_weights

__all__ = ["STATE", "Loop", "Optimization", "Stage", "train"]


class Loop:
    """A stage being trained: its optimizer, its averaged weights, and the step it is at.

    The batch of a step is cut into parts, one after another for every process and every accumulation.
    Each part seeds its own random numbers, so a run that was stopped and resumed is the run that was not,
    and two processes compute what one does that accumulates two parts.
    """

    def __init__(self, stage: Stage, options: Optimization, accelerator: Accelerator) -> None:
        self.stage, self.options, self.accelerator = stage, options, accelerator
        self.step = 0
        self.parts = options.accumulate * accelerator.num_processes
        if options.batch % self.parts:
            raise ConfigError(
                f"a batch of {options.batch} does not divide among {accelerator.num_processes} processes "
                f"with {options.accumulate} parts each; make batch a multiple of {self.parts}"
            )
        stage.model.train()
        optimizer = torch.optim.AdamW(
            stage.parameter_groups(),
            lr=options.learning_rate,
            weight_decay=options.weight_decay,
            betas=(0.9, 0.99),
        )
        self.model, self.optimizer = accelerator.prepare(stage.model, optimizer)
        self.ema = EMA(stage.model, beta=options.ema, include_online_model=False) if options.ema else None

    def update(self) -> dict[str, float]:
        """Take a step; give the loss and its parts, the mean over the batch."""
        return self.mean(self.take_step())

    def take_step(self) -> list[dict[str, Tensor]]:
        """Take a step; give the loss of every part that this process worked through."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.options.learning_rate * self.options.rate(self.step)
        found = []
        for index in range(self.options.accumulate):
            part = index * self.accelerator.num_processes + self.accelerator.process_index
            with self.accelerator.accumulate(self.model):
                found.append(self._work_through(part))
        if self.ema is not None:
            self.ema.update()
        self.step += 1
        return found

    def _work_through(self, part: int) -> dict[str, Tensor]:
        options = self.options
        _seed(options.seed, self.step, part)
        share = Share(options.seed, self.step, options.batch, part, self.parts)
        batch = tuple(tensor.to(self.accelerator.device) for tensor in self.stage.share(share))
        with self.accelerator.autocast():
            loss, parts = self.stage.loss(self.model, batch)
        self.accelerator.backward(loss)
        if self.accelerator.sync_gradients:
            self.accelerator.clip_grad_norm_(self.model.parameters(), options.gradient_norm)
        self.optimizer.step()  # Accelerate passes over these two until the last part
        self.optimizer.zero_grad()
        return {"loss": loss.detach(), **parts}

    def mean(self, found: Sequence[dict[str, Tensor]]) -> dict[str, float]:
        """Average the losses of a step over its parts, and over all processes: each has to call this."""
        values = gather_object([{name: value.item() for name, value in row.items()} for row in found])
        names = dict.fromkeys(name for row in values for name in row)
        return {name: float(np.mean([row[name] for row in values if name in row])) for name in names}

    def evaluate(self) -> dict[str, float]:
        """Score the weights that would be spoken with, with the same random numbers every time."""
        _seed(self.options.seed)
        with self.speaking():
            return self.stage.evaluate(self.accelerator.device)

    @contextlib.contextmanager
    def speaking(self) -> Iterator[None]:
        """Put the model in evaluation mode, with averaged weights where there are any."""
        model = self.stage.model
        trained = {name: value.clone() for name, value in model.state_dict().items()} if self.ema else {}
        try:
            if self.ema is not None:
                model.load_state_dict(self.ema.ema_model.state_dict())
            model.eval()
            with torch.no_grad():
                yield
        finally:
            if trained:
                model.load_state_dict(trained)
            model.train()

    def save(self, path: Path) -> None:
        """Write all that `load` needs; the first process does."""
        if not self.accelerator.is_main_process:
            return
        state: dict[str, Any] = {
            "config": to_dict(self.stage.config),
            "step": self.step,
            "model": self.stage.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        if self.ema is not None:
            state["ema"] = self.ema.state_dict()
        if self.accelerator.scaler is not None:
            state["scaler"] = self.accelerator.scaler.state_dict()
        save_tensors(path, STATE, state)

    def load(self, path: Path, *, restore_optimizer: bool = True) -> None:
        """Go on from what `save` wrote; without its optimizer, begin at step 0 with its weights.

        A run that began with a voice has none. What an older state lacks begins anew: the averages with the
        weights of the next step.
        """
        state = read_state(path, self.stage.config, "remove it or choose another --run")
        try:
            if not restore_optimizer or "optimizer" not in state:
                self.stage.model.load_state_dict(trained_weights(state))
                return
            self.stage.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            if self.ema is not None and "ema" in state:
                self.ema.load_state_dict(state["ema"])
        except (RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise CheckpointError(
                f"{path} is of another model or optimizer ({reason}); load its own"
            ) from error
        if self.accelerator.scaler is not None and "scaler" in state:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.step = int(state["step"])


def _seed(*entropy: int) -> None:
    """Seed whatever a stage may draw from."""
    seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
    random.seed(seed)
    np.random.seed(seed)  # somebody's data set may use it
    torch.manual_seed(seed)


def train(stage: Stage, options: Optimization, folder: Path) -> None:
    """Train `stage` up to `options.last`, going on from `folder/state.pt` if it is there.

    Ctrl-C and the signal to terminate save and stop.
    """
    loop = Loop(stage, options, make_accelerator(options, folder))
    state = folder / "state.pt"
    if state.exists():
        loop.load(state)
    log = Log(folder, options, loop.accelerator)
    bar = tqdm(
        range(loop.step, options.last), initial=loop.step, total=options.last, desc=stage.name, unit="step",
        disable=not loop.accelerator.is_main_process,
    )  # fmt: skip
    with interrupt_between_steps(loop.accelerator) as interrupted, bar:
        for step in bar:
            found = loop.take_step()
            if step % 20 == 0:
                values = loop.mean(found)
                bar.set_postfix({name: f"{value:.3f}" for name, value in values.items()})
                log.write(step, values)
            if loop.step % options.save_every == 0 or loop.step == options.last:
                loop.save(state)
                judge(loop, log, step)
            if interrupted():
                loop.save(state)
                bar.close()
                print(f"stopped after step {loop.step}; the same command goes on from here", file=sys.stderr)
                raise KeyboardInterrupt
    log.close()


def make_accelerator(options: Optimization, folder: Path, **settings: Any) -> Accelerator:
    """Make the accelerator that the options ask for; `settings` are more of its arguments.

    Raises `ConfigError` for a precision or a tracker that this machine lacks.
    """
    # A stage may leave weights without a gradient in a step: a critic, say, or a frozen codec.
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    given: dict[str, Any] = {
        "mixed_precision": options.precision,
        "gradient_accumulation_steps": options.accumulate,
        "log_with": list(options.trackers) or None,
        "project_dir": folder,
        "kwargs_handlers": [unused],
    }
    try:
        accelerator = Accelerator(**given | settings)
    except ValueError as error:  # such as a tracker that nobody knows
        raise ConfigError(f"training cannot begin ({error}); change optimization in the recipe") from error
    if accelerator.mixed_precision == "fp16" and accelerator.scaler is None:
        raise ConfigError(f"fp16 was asked for on {accelerator.device}, expected a GPU; set bf16 instead")
    found = {str(tracker) for tracker in accelerator.log_with}
    if missing := [name for name in options.trackers if name not in found]:
        raise ConfigError(
            f"trackers names {missing[0]!r}, whose package is not installed; run 'pip install {missing[0]}'"
        )
    return accelerator


def judge(loop: Loop, log: Log, step: int) -> None:
    """Note the held-out score and audio of a step; the first process does, while the others wait."""
    if loop.accelerator.is_main_process:
        scores = loop.evaluate()
        log.write(step, {f"held-out {name}": value for name, value in scores.items()})
        with loop.speaking():
            log.listen(step, loop.stage.listen(loop.accelerator.device))
    loop.accelerator.wait_for_everyone()


@contextlib.contextmanager
def interrupt_between_steps(accelerator: Accelerator) -> Iterator[Callable[[], bool]]:
    """Note Ctrl-C or the signal to terminate, and let the step end: what is saved is never half of one.

    Gives a function that tells whether any process was interrupted. The second signal kills.
    """
    noted = threading.Event()
    before: dict[int, Any] = {}

    def note(number: int, _: object) -> None:
        noted.set()
        signal.signal(number, signal.default_int_handler)

    def interrupted() -> bool:
        if accelerator.num_processes > 1:  # all of them stop after the same step, or none
            return any(gather_object([noted.is_set()]))
        return noted.is_set()

    if threading.current_thread() is threading.main_thread():  # signals reach the main thread alone
        before = {name: signal.signal(name, note) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupted
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
