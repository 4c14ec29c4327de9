"""Batches of sequences of unlike lengths, with little padding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def draw_alike(lengths: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw `size` indices of sequences about as long as one another.

    Twelve times as many are drawn with equal chance and sorted; a run of them is taken, so that over
    many batches every sequence is drawn alike.
    """
    drawn = rng.integers(len(lengths), size=12 * size)
    ordered = drawn[np.argsort(lengths[drawn], kind="stable")]
    start = rng.integers(12) * size
    return ordered[start : start + size]


def pad(sequences: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Stack int64 sequences `[length, ...]` to `[batch, longest, ...]`, filled with 0, and their lengths."""
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    tensors = [torch.from_numpy(np.asarray(sequence, dtype=np.int64)) for sequence in sequences]
    return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True), lengths
