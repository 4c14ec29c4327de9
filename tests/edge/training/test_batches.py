"""The order of samples, and padding."""

import numpy as np
import pytest

from soundstorm_edge.errors import CorpusError
from soundstorm_edge.training.batches import Epochs, pad


def test_sequences_of_a_batch_are_about_as_long_as_one_another() -> None:
    lengths = np.random.default_rng(0).integers(10, 500, size=1000)
    epochs = Epochs(lengths, 16, seed=1)
    drawn = [lengths[epochs.batch(step)] for step in range(300)]
    padding = np.mean([1 - batch.mean() / batch.max() for batch in drawn])
    assert padding < 0.12, "half, if they were drawn at random"
    first = [lengths.mean() for lengths in drawn[:12]]
    assert np.argsort(first).tolist() != list(range(12)), "batches are not sorted"


@pytest.mark.parametrize("size", [1, 7, 16, 40])
def test_every_sample_is_drawn_once_an_epoch(size: int) -> None:
    lengths = np.random.default_rng(0).integers(10, 500, size=33)
    epochs = Epochs(lengths, size, seed=1)
    stream = np.concatenate([epochs.batch(step) for step in range(33 * 3)])
    for epoch in stream[: 33 * (len(stream) // 33)].reshape(-1, 33):
        assert sorted(epoch) == list(range(33))
    assert stream[:33].tolist() != stream[33:66].tolist()
    again, other = Epochs(lengths, size, seed=1), Epochs(lengths, size, seed=2)
    assert again.batch(50).tolist() == epochs.batch(50).tolist(), "a step needs none before it"
    assert any(other.batch(step).tolist() != epochs.batch(step).tolist() for step in range(5))


def test_a_small_set_makes_new_batches_in_every_epoch() -> None:
    epochs = Epochs(np.random.default_rng(0).integers(10, 500, size=64), 8, seed=0)
    batches = [frozenset(epochs.batch(step).tolist()) for step in range(8 * 10)]
    assert len(set(batches)) > 70


def test_drop_last_leaves_out_what_is_no_whole_batch() -> None:
    epochs = Epochs(np.ones(10), 4, seed=0, drop_last=True)
    assert len(set(np.concatenate([epochs.batch(0), epochs.batch(1)]))) == 8
    assert len(set(np.concatenate([epochs.batch(2), epochs.batch(3)]))) == 8


@pytest.mark.parametrize(("count", "drop_last"), [(0, False), (3, True)])
def test_less_than_a_batch_is_refused(count: int, drop_last: bool) -> None:
    with pytest.raises(CorpusError, match=f"there are {count} samples for batches of 4 .* smaller"):
        Epochs(np.ones(count), 4, seed=0, drop_last=drop_last)


def test_pad() -> None:
    padded, lengths = pad([np.array([[1, 2]]), np.array([[3, 4], [5, 6]])])
    assert padded.tolist() == [[[1, 2], [0, 0]], [[3, 4], [5, 6]]]
    assert lengths.tolist() == [1, 2]
