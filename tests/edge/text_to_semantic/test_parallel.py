"""The parallel text stage: durations spread phones over time."""

import pytest
import torch

from soundstorm_edge.errors import ConfigError
from soundstorm_edge.nn.conformer import ConformerConfig
from soundstorm_edge.text_to_semantic.parallel import (
    ParallelTextConfig,
    ParallelTextToSemantic,
    spread_over_time,
)

SIZES = ConformerConfig(dim=16, depth=1, heads=2, dim_head=8, conv_kernel_size=5, num_residual_streams=1)
TINY = ParallelTextConfig(symbols=("pau", "aa", "b", "k"), vocabulary=10, encoder=SIZES, decoder=SIZES)


def test_spread_over_time() -> None:
    index, progress = spread_over_time(torch.tensor([[2, 1, 4, 0]]), 9)
    assert index.tolist() == [[0, 0, 1, 2, 2, 2, 2, 3, 3]]
    assert progress[0, :7].tolist() == [0, 0.5, 0, 0, 0.25, 0.5, 0.75]


def test_a_phone_without_a_token_is_passed_over() -> None:
    assert spread_over_time(torch.tensor([[1, 0, 2]]), 3)[0].tolist() == [[0, 2, 2]]


def test_it_reads_at_a_given_pace() -> None:
    torch.manual_seed(0)
    model = ParallelTextToSemantic(TINY).eval()
    phones, lengths = torch.tensor([[0, 2, 1], [1, 2, 0]]), torch.tensor([3, 2])
    durations = torch.tensor([[3, 0, 4], [2, 2, 0]])
    tokens = model.predict(phones, lengths, durations)
    assert tokens.shape == (2, 7)
    for row, length in enumerate(lengths.tolist()):  # as each is read alone
        own = durations[row : row + 1, :length]
        total = int(own.sum())
        hidden, _ = model.encode(phones[row : row + 1, :length], lengths[row : row + 1])
        expected = model.decode(hidden, *spread_over_time(own, total), torch.tensor([total]))
        assert tokens[row, :total].tolist() == expected[0].tolist()


def test_it_learns_tokens_and_durations() -> None:
    torch.manual_seed(0)
    model = ParallelTextToSemantic(TINY)
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    phones = torch.randint(4, (16, 6))
    durations = phones + 1
    lengths = durations.sum(dim=1)
    tokens = torch.zeros(16, int(lengths.max()), dtype=torch.long)
    for row in range(16):
        tokens[row, : lengths[row]] = torch.repeat_interleave(phones[row] * 2, durations[row])
    for _ in range(150):
        optimizer.zero_grad()
        cross_entropy, error = model(phones, torch.full((16,), 6), durations, tokens, lengths)
        (cross_entropy + error).backward()
        optimizer.step()
    model.eval()
    hidden, predicted = model.encode(phones, torch.full((16,), 6))
    assert (predicted - durations).abs().mean() < 0.4
    index, progress = spread_over_time(durations, tokens.shape[1])
    spoken = model.decode(hidden, index, progress, lengths)
    real = torch.arange(tokens.shape[1]) < lengths[:, None]
    assert (spoken == tokens)[real].float().mean() > 0.95


def test_padding_changes_nothing() -> None:
    torch.manual_seed(0)
    model = ParallelTextToSemantic(TINY).eval()
    phones = torch.randint(4, (1, 5))
    padded = torch.cat((phones, torch.zeros(1, 3, dtype=torch.long)), dim=1)
    hidden, durations = model.encode(phones, torch.tensor([5]))
    padded_hidden, padded_durations = model.encode(padded, torch.tensor([5]))
    torch.testing.assert_close(padded_hidden[:, :5], hidden, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(padded_durations[:, :5], durations, atol=1e-5, rtol=1e-5)


def test_unequal_sizes_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"encoder\.dim 16 and decoder\.dim 32 must be equal"):
        ParallelTextConfig(encoder=SIZES, decoder=ConformerConfig(dim=32, depth=1))
