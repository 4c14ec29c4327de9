"""Which samples make a batch, and how sequences of unlike lengths become one tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from ..errors import CorpusError

T = TypeVar("T")

POOL = 12  # batches that are sorted by length together: more pad less, and mix less


def spread_evenly(items: Sequence[T], count: int) -> list[T]:
    """Take up to `count` of the items, from the first to the last, as far from one another as can be."""
    places = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)
    return [items[place] for place in places.tolist()]


class Epochs:
    """The order of samples: each once an epoch, in batches of samples about as long as one another.

    The batch of any step is known without those before it, so nothing of this needs saving. The samples
    that an epoch leaves over begin the first batch of the next one; with `drop_last` they sit it out.
    """

    def __init__(self, lengths: np.ndarray, batch: int, seed: int, *, drop_last: bool = False) -> None:
        self.lengths, self.size, self.seed = np.asarray(lengths), batch, seed
        self.per_epoch = len(lengths) - (len(lengths) % batch if drop_last else 0)
        if not self.per_epoch:
            raise CorpusError(
                f"there are {len(lengths)} samples for batches of {batch} (of all processes and accumulated "
                "steps), expected one batch at least; add some, or make batches smaller"
            )
        self._kept: dict[int, np.ndarray] = {}

    def batch(self, step: int) -> np.ndarray:
        """Give the sample numbers of a step, int64 `[batch]`."""
        first, last = step * self.size, (step + 1) * self.size
        epochs = range(first // self.per_epoch, (last - 1) // self.per_epoch + 1)
        parts = [self._order(e)[max(0, first - e * self.per_epoch) :][: self.size] for e in epochs]
        return np.concatenate(parts)[: self.size]

    def _order(self, epoch: int) -> np.ndarray:
        """Give the samples of an epoch in order: a permutation, sorted by length in pools of batches."""
        if epoch not in self._kept:
            rng = np.random.default_rng([self.seed, epoch])
            drawn = rng.permutation(len(self.lengths))[: self.per_epoch]
            begun = -epoch * self.per_epoch % self.size  # these complete the last epoch's last batch
            pools = [drawn[:begun]]
            # Of a small set, the same batches would come again in every epoch if a pool were all of it.
            pool = self.size * min(POOL, max(1, len(drawn) // (4 * self.size)))
            for start in range(begun, len(drawn), pool):
                pools += self._pool(drawn[start : start + pool], rng)
            # A step needs two epochs at most, unless an epoch is shorter than a batch.
            self._kept = {e: order for e, order in self._kept.items() if e == epoch - 1}
            self._kept[epoch] = np.concatenate(pools)
        return self._kept[epoch]

    def _pool(self, numbers: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
        """Sort samples into batches of like lengths, the batches in random order, a short one last."""
        ordered = numbers[np.argsort(self.lengths[numbers], kind="stable")]
        short = len(ordered) % self.size
        cut = int(rng.integers(len(ordered) - short + 1)) if short else 0
        rest, ordered = ordered[cut : cut + short], np.delete(ordered, np.s_[cut : cut + short])
        whole = ordered.reshape(-1, self.size)
        return [*whole[rng.permutation(len(whole))], rest]


def pad(sequences: Sequence[np.ndarray], value: int = 0) -> tuple[Tensor, Tensor]:
    """Stack int64 sequences `[length, ...]` to `[batch, longest, ...]`, padded with `value`; and lengths."""
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    tensors = [torch.from_numpy(np.asarray(sequence, dtype=np.int64)) for sequence in sequences]
    return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=value), lengths
