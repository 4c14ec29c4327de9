"""What the training loop needs to know of a stage: its model, batches, loss, and held-out score."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .batches import Epochs


@dataclass(frozen=True)
class Share:
    """The part of a step's batch that one process works through at once: number `part` of `parts`."""

    seed: int
    step: int
    batch: int
    part: int
    parts: int

    @property
    def rows(self) -> range:
        """The samples of the batch that are meant."""
        size = self.batch // self.parts
        return range(self.part * size, (self.part + 1) * size)


class Stage(ABC):
    """A model to train on numbered samples: each is drawn once an epoch, and a process reads only its own.

    A sample is a function of its number and a random generator alone, so that it is the same on one
    process and on many.
    """

    name: str
    model: nn.Module
    config: Any  # a dataclass; written beside the weights
    lengths: np.ndarray  # of every training sample: batches are of like ones
    drop_last = False
    _epochs: Epochs | None = None

    @abstractmethod
    def sample(self, number: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Read one training sample; `rng` is for its crop."""

    @abstractmethod
    def collate(self, samples: Sequence[tuple[np.ndarray, ...]]) -> tuple[Tensor, ...]:
        """Make a batch of samples."""

    @abstractmethod
    def loss(self, model: nn.Module, batch: tuple[Tensor, ...]) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss of a batch, and its parts for the log."""

    @abstractmethod
    def evaluate(self, device: torch.device) -> dict[str, float]:
        """Score the model, which is on `device`, on held-out data."""

    def share(self, share: Share) -> tuple[Tensor, ...]:
        """Read a share of a step's batch."""
        if self._epochs is None:
            self._epochs = Epochs(self.lengths, share.batch, share.seed, drop_last=self.drop_last)
        numbers = self._epochs.batch(share.step)
        generators = (np.random.default_rng([share.seed, share.step, row]) for row in share.rows)
        return self.collate(
            [self.sample(int(numbers[r]), g) for r, g in zip(share.rows, generators, strict=True)]
        )

    def parameter_groups(self) -> Iterable[Any]:
        """Give what the optimizer trains."""
        return self.model.parameters()

    def listen(self, device: torch.device) -> dict[str, tuple[np.ndarray, int]]:
        """Give audio to judge the model by ear: float32 `[samples]` and its sample rate, by name."""
        return {}
