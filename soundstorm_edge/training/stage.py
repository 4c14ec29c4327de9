"""The interface between the training loop and a stage: model, batches, loss, and held-out scores."""

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
    """The part of a step's batch that one process computes at a time.

    Args:
        seed: of the run.
        step: which.
        batch: samples of the whole batch.
        part: number of this part.
        parts: of the batch.
    """

    seed: int
    step: int
    batch: int
    part: int
    parts: int

    @property
    def rows(self) -> range:
        """The samples of the batch that belong to this part."""
        size = self.batch // self.parts
        return range(self.part * size, (self.part + 1) * size)


class Stage(ABC):
    """A model to train on numbered samples: each is used once an epoch, and a process reads only its own.

    A sample is a function of its number and a random generator only, so that it is the same on one process
    and on many.
    """

    name: str
    model: nn.Module
    config: Any  # a dataclass, which the state keeps beside the weights
    lengths: np.ndarray  # of every training sample; batches have samples of similar lengths
    drop_last = False
    _epochs: Epochs | None = None

    @abstractmethod
    def sample(self, number: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Read one training sample; `rng` chooses its crop."""

    @abstractmethod
    def collate(self, samples: Sequence[tuple[np.ndarray, ...]]) -> tuple[Tensor, ...]:
        """Stack samples to a batch."""

    @abstractmethod
    def loss(self, model: nn.Module, batch: tuple[Tensor, ...]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of a batch, and its parts for the log."""

    @abstractmethod
    def evaluate(self, device: torch.device) -> dict[str, float]:
        """Return the scores of the model, which is on `device`, on held-out data."""

    def share(self, share: Share) -> tuple[Tensor, ...]:
        """Read a part of a step's batch."""
        if self._epochs is None:
            self._epochs = Epochs(self.lengths, share.batch, share.seed, drop_last=self.drop_last)
        numbers = self._epochs.batch(share.step)
        generators = (np.random.default_rng([share.seed, share.step, row]) for row in share.rows)
        return self.collate(
            [self.sample(int(numbers[r]), g) for r, g in zip(share.rows, generators, strict=True)]
        )

    def parameter_groups(self) -> Iterable[Any]:
        """Return what the optimizer trains."""
        return self.model.parameters()

    def audio_examples(self, device: torch.device) -> dict[str, tuple[np.ndarray, int]]:
        """Return audio that shows what the model does: float32 `[samples]` and its sample rate, by name."""
        return {}
