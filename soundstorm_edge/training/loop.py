"""The training loop of every stage: seeded, resumable at the exact step, on one process or many."""

from __future__ import annotations

import contextlib
import random
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, gather_object
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from soundstorm_runtime.support.command import report

from ..errors import CheckpointError, ConfigError
from ..support.config import to_dict
from ..support.progress import progress_bar
from ..support.tensor_files import save_tensors
from .log import Log
from .optimization import Optimization
from .stage import Share, Stage
from .state import STATE, averaged_state, read_state, trained_weights

__all__ = ["STATE", "Loop", "Optimization", "Stage", "train"]


class Loop:
    """A stage in training: its optimizer, averaged weights and current step.

    The batch of a step is split into parts: one for every process and every accumulation. Each part seeds
    its own random numbers, so a resumed run equals an uninterrupted one, and two processes compute what one
    process does that accumulates two parts.

    Args:
        stage: what is trained.
        options: how.
        accelerator: the device and the processes.

    Raises:
        ConfigError: the batch does not divide into the parts.
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
        self.ema = moving_average(stage.model, options.ema) if options.ema else None

    def update(self) -> dict[str, float]:
        """Take a step; return the loss and its parts, averaged over the batch."""
        return self.mean(self.take_step())

    def take_step(self) -> list[dict[str, Tensor]]:
        """Take a step; return the losses of every part that this process computed."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.options.learning_rate * self.options.rate(self.step)
        found = []
        for index in range(self.options.accumulate):
            part = index * self.accelerator.num_processes + self.accelerator.process_index
            with self.accelerator.accumulate(self.model):
                found.append(self._work_through(part))
        if self.ema is not None:
            self.ema.update_parameters(self.stage.model)
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
        self.optimizer.step()  # Accelerate skips these two until the last part
        self.optimizer.zero_grad()
        return {"loss": loss.detach(), **parts}

    def mean(self, found: Sequence[dict[str, Tensor]]) -> dict[str, float]:
        """Return the losses of a step averaged over parts and processes; every process has to call this."""
        values = gather_object([{name: value.item() for name, value in row.items()} for row in found])
        names = dict.fromkeys(name for row in values for name in row)
        return {name: float(np.mean([row[name] for row in values if name in row])) for name in names}

    def evaluate(self) -> dict[str, float]:
        """Return the held-out scores of the averaged weights, with the same random numbers every time."""
        _seed(self.options.seed)
        with self.evaluating():
            return self.stage.evaluate(self.accelerator.device)

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """Put the model in evaluation mode, with averaged weights where they are kept."""
        model = self.stage.model
        trained = {name: value.clone() for name, value in model.state_dict().items()} if self.ema else {}
        try:
            if self.ema is not None:
                model.load_state_dict(self.ema.module.state_dict())
            model.eval()
            with torch.no_grad():
                yield
        finally:
            if trained:
                model.load_state_dict(trained)
            model.train()

    def save(self, path: Path) -> None:
        """Write all that `load` needs, from the first process."""
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
        """Restore what `save` wrote.

        Args:
            path: of the state.
            restore_optimizer: whether to resume at its step; otherwise training starts at step 0 from its
                weights, as it does from the state of a warm start, which has no optimizer.

        Raises:
            CheckpointError: the state cannot be read, or is of another configuration, model or optimizer.
        """
        state = read_state(path, self.stage.config, "remove it or choose another --run")
        try:
            if not restore_optimizer or "optimizer" not in state:
                self.stage.model.load_state_dict(trained_weights(state))
                return
            self.stage.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            if self.ema is not None and "ema" in state:
                self.ema.load_state_dict(averaged_state(state["ema"]))
        except (RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise CheckpointError(
                f"{path} is of another model or optimizer ({reason}); load its own"
            ) from error
        if self.accelerator.scaler is not None and "scaler" in state:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.step = int(state["step"])


def moving_average(model: nn.Module, decay: float) -> AveragedModel:
    """Create an exponential moving average of the weights of a model.

    Buffers are copied: the codebooks of a quantizer are moving averages themselves, and the mean of two
    vectors of a codebook before and after one of them was replaced is neither.

    Args:
        model: whose weights are averaged; they are the first average.
        decay: share of the average that a step keeps; less in the first steps, which would last too long.
    """

    def average(averaged: Tensor, current: Tensor, updates: Tensor | int) -> Tensor:
        kept = min(decay, (1 + int(updates)) / (10 + int(updates)))
        return torch.lerp(averaged, current, 1 - kept)

    return AveragedModel(model, avg_fn=average)


def _seed(*entropy: int) -> None:
    """Seed all random numbers that a stage may draw."""
    seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
    random.seed(seed)
    np.random.seed(seed)  # a data set of the user may draw from it
    torch.manual_seed(seed)


def train(stage: Stage, options: Optimization, folder: Path) -> None:
    """Train a stage, resuming from `folder/state.pt` where it exists.

    The state is saved every `options.save_every` steps, and at Ctrl-C or SIGTERM before the process ends.

    Args:
        stage: what to train.
        options: how; training ends at step `options.last`.
        folder: holds the state, the log, and audio examples.
    """
    loop = Loop(stage, options, make_accelerator(options, folder))
    state = folder / "state.pt"
    if state.exists():
        loop.load(state)
    log = Log(folder, options, loop.accelerator, loop.step)
    bar = progress_bar(
        range(loop.step, options.last), initial=loop.step, total=options.last, desc=stage.name, unit="step",
        shown=loop.accelerator.is_main_process,
    )  # fmt: skip
    with interrupt_between_steps(loop.accelerator) as interrupted, bar:
        for step in bar:
            found = loop.take_step()
            if step % 20 == 0:
                values = loop.mean(found)
                bar.set_postfix({name: f"{value:.3f}" for name, value in values.items()})
                log.write(step, values)
            if loop.step % options.save_every == 0 or loop.step == options.last:
                log_evaluation(loop, log, step)  # first: a run that is killed between them has neither
                loop.save(state)
            if interrupted():
                loop.save(state)
                bar.close()
                report(f"stopped after step {loop.step}; the same command resumes from here")
                raise KeyboardInterrupt
    log.close()


def make_accelerator(options: Optimization, folder: Path, **settings: Any) -> Accelerator:
    """Create the accelerator for the options.

    Args:
        options: their precision, accumulation and trackers.
        folder: of the trackers' files.
        settings: further arguments of `Accelerator`, in place of those.

    Raises:
        ConfigError: this machine lacks the precision or a tracker.
    """
    # In some steps, weights have no gradient: of a critic, for example, or a frozen codec.
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
    except ValueError as error:  # such as an unknown tracker
        raise ConfigError(f"training cannot start ({error}); change optimization in the recipe") from error
    if accelerator.mixed_precision == "fp16" and accelerator.scaler is None:
        raise ConfigError(f"fp16 is set on {accelerator.device}, expected a GPU; set bf16 instead")
    found = {str(tracker) for tracker in accelerator.log_with}
    if missing := [name for name in options.trackers if name not in found]:
        raise ConfigError(
            f"trackers names {missing[0]!r}, whose package is not installed; run 'pip install {missing[0]}'"
        )
    return accelerator


def log_evaluation(loop: Loop, log: Log, step: int) -> None:
    """Log held-out scores and audio examples of a step on the first process; the others wait."""
    if loop.accelerator.is_main_process:
        scores = loop.evaluate()
        log.write(step, {f"held-out {name}": value for name, value in scores.items()})
        with loop.evaluating():
            log.write_audio(step, loop.stage.audio_examples(loop.accelerator.device))
    loop.accelerator.wait_for_everyone()


@contextlib.contextmanager
def interrupt_between_steps(accelerator: Accelerator) -> Iterator[Callable[[], bool]]:
    """Defer Ctrl-C and SIGTERM to the end of a step, so that no half step is saved.

    Yields:
        A function that returns whether any process was interrupted. A second signal kills the process.
    """
    noted = threading.Event()
    before: dict[int, Any] = {}

    def note(number: int, _: object) -> None:
        noted.set()
        signal.signal(number, signal.default_int_handler)

    def interrupted() -> bool:
        if accelerator.num_processes > 1:  # all stop after the same step
            return any(gather_object([noted.is_set()]))
        return noted.is_set()

    if threading.current_thread() is threading.main_thread():  # only the main thread receives signals
        before = {name: signal.signal(name, note) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupted
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
