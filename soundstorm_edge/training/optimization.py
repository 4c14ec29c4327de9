"""The optimization of a stage: steps, learning rate, precision."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..errors import ConfigError
from ..support.config import check_positive


@dataclass(frozen=True)
class Optimization:
    """Settings of AdamW; the learning rate warms up linearly and decays as a cosine over `steps`.

    Args:
        steps: length of the learning-rate schedule.
        batch: samples of a step, over all processes.
        learning_rate: at its peak.
        warmup: steps until the peak.
        weight_decay: of AdamW.
        gradient_norm: gradients are clipped to this norm.
        bf16, fp16: mixed precision; fp16 needs a GPU.
        seed: of the initial weights, the order of samples and all random numbers.
        save_every: steps between saved states.
        accumulate: parts in which each process computes its share of a batch, to save memory.
        ema: decay of a moving average of the weights, such as 0.999; 0 keeps none.
        stop: end after this step of the schedule; 0 runs all of it.
        trackers: of Accelerate, such as "tensorboard".

    Raises:
        ConfigError: a value is impossible.
    """

    steps: int = 10_000
    batch: int = 16
    learning_rate: float = 5e-4
    warmup: int = 200
    weight_decay: float = 0.01
    gradient_norm: float = 1.0
    bf16: bool = False
    seed: int = 0
    save_every: int = 500
    accumulate: int = 1
    fp16: bool = False
    ema: float = 0.0
    stop: int = 0
    trackers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_positive(self, "steps", "batch", "save_every", "accumulate")
        if self.learning_rate <= 0:
            raise ConfigError(f"learning_rate is {self.learning_rate}, expected above 0")
        if not 0 <= self.ema < 1:
            raise ConfigError(f"ema is {self.ema}, expected 0 (none) or a decay below 1, such as 0.999")
        if self.stop < 0:
            raise ConfigError(f"stop is {self.stop}, expected a number of steps, or 0 for all")
        if self.bf16 and self.fp16:
            raise ConfigError("bf16 and fp16 are both set, expected one at most")

    @property
    def last(self) -> int:
        """The step at which training ends."""
        return self.stop or self.steps

    @property
    def precision(self) -> str:
        """The mixed precision, as Accelerate names it."""
        return "bf16" if self.bf16 else "fp16" if self.fp16 else "no"

    def rate(self, step: int) -> float:
        """Return the learning rate at `step`, relative to `learning_rate`."""
        progress = min(1.0, step / self.steps)
        return min(1.0, (step + 1) / max(1, self.warmup)) * (0.52 + 0.48 * math.cos(math.pi * progress))
