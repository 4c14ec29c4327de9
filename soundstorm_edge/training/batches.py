"""Batches: which samples they have, and how sequences of different lengths are padded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from ..errors import CorpusError

T = TypeVar("T")

POOL = 12  # batches that are sorted by length together: larger pools pad less and mix less


def spread_evenly(items: Sequence[T], count: int) -> list[T]:
    """Return up to `count` of the items, evenly spaced from the first to the last."""
    places = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)
    return [items[place] for place in places.tolist()]


class Epochs:
    """The order of samples: each once an epoch, in batches of samples of similar lengths.

    The batch of any step is computed without those before it, so that nothing has to be saved to resume.
    Samples left over at the end of an epoch begin the first batch of the next one.

    Args:
        lengths: of all samples.
        batch: samples of a batch.
        seed: of the order.
        drop_last: leave out what remains at the end of an epoch.

    Raises:
        CorpusError: there are fewer samples than a batch has.
    """

    def __init__(self, lengths: np.ndarray, batch: int, seed: int, *, drop_last: bool = False) -> None:
        self.lengths, self.size, self.seed = np.asarray(lengths), batch, seed
        self.per_epoch = len(lengths) - (len(lengths) % batch if drop_last else 0)
        if not self.per_epoch:
            raise CorpusError(
                f"there are {len(lengths)} samples for batches of {batch} (of all processes and accumulated "
                "steps), expected at least one batch; add samples, or make batches smaller"
            )
        self._kept: dict[int, np.ndarray] = {}

    def batch(self, step: int) -> np.ndarray:
        """Return the sample numbers of a step, int64 `[batch]`."""
        first, last = step * self.size, (step + 1) * self.size
        epochs = range(first // self.per_epoch, (last - 1) // self.per_epoch + 1)
        parts = [self._order(e)[max(0, first - e * self.per_epoch) :][: self.size] for e in epochs]
        return np.concatenate(parts)[: self.size]

    def _order(self, epoch: int) -> np.ndarray:
        """Return the samples of an epoch: a permutation, sorted by length within pools of batches."""
        if epoch not in self._kept:
            rng = np.random.default_rng([self.seed, epoch])
            drawn = rng.permutation(len(self.lengths))[: self.per_epoch]
            begun = -epoch * self.per_epoch % self.size  # these complete the last batch of the epoch before
            pools = [drawn[:begun]]
            # With a pool of the whole set, a small set would have the same batches in every epoch.
            pool = self.size * min(POOL, max(1, len(drawn) // (4 * self.size)))
            for start in range(begun, len(drawn), pool):
                pools += self._pool(drawn[start : start + pool], rng)
            # A step uses at most two epochs, unless an epoch is shorter than a batch.
            self._kept = {e: order for e, order in self._kept.items() if e == epoch - 1}
            self._kept[epoch] = np.concatenate(pools)
        return self._kept[epoch]

    def _pool(self, numbers: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
        """Sort samples into batches of similar lengths, in random order, an incomplete one last."""
        ordered = numbers[np.argsort(self.lengths[numbers], kind="stable")]
        short = len(ordered) % self.size
        cut = int(rng.integers(len(ordered) - short + 1)) if short else 0
        rest, ordered = ordered[cut : cut + short], np.delete(ordered, np.s_[cut : cut + short])
        whole = ordered.reshape(-1, self.size)
        return [*whole[rng.permutation(len(whole))], rest]


def pad(sequences: Sequence[np.ndarray], value: int = 0) -> tuple[Tensor, Tensor]:
    """Stack sequences of different lengths.

    Args:
        sequences: int64 `[length, ...]` each.
        value: of the padding.

    Returns:
        int64 `[batch, longest, ...]`, and the lengths int64 `[batch]`.
    """
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    tensors = [torch.from_numpy(np.asarray(sequence, dtype=np.int64)) for sequence in sequences]
    return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=value), lengths
