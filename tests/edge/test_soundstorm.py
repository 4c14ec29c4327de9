"""SoundStorm: what is masked, what is learned, and how it is sampled."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from soundstorm_edge.conformer import ConformerConfig
from soundstorm_edge.engine import TorchEngine
from soundstorm_edge.soundstorm import Masking, SoundStorm, SoundStormConfig, hide
from soundstorm_runtime.decode import DecodeOptions
from soundstorm_runtime.graphs import step_graph

LEVELS, CODES, UNITS = 3, 16, 10
TINY = SoundStormConfig(LEVELS, CODES, UNITS, ConformerConfig(dim=16, depth=2, heads=2, dim_head=8))


@pytest.fixture
def model() -> SoundStorm:
    torch.manual_seed(0)
    return SoundStorm(TINY).eval()


def example(frames: int = 12, batch: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    codes = torch.randint(CODES, (batch, frames, LEVELS), generator=generator)
    tokens = torch.randint(UNITS, (batch, frames), generator=generator)
    return codes, tokens, torch.full((batch,), frames)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    lengths=st.lists(st.integers(1, 20), min_size=1, max_size=5),
    prompted=st.sampled_from([0.0, 0.5, 1.0]),
    fully=st.sampled_from([0.0, 0.2, 1.0]),
)
def test_masking_follows_the_paper(seed: int, lengths: list[int], prompted: float, fully: float) -> None:
    torch.manual_seed(seed)
    codes = torch.randint(CODES, (len(lengths), 20, LEVELS))
    masking = Masking(prompted=prompted, fully_masked=fully)
    hidden, masked, levels = hide(codes, torch.tensor(lengths), CODES, masking)
    for row, (length, level) in enumerate(zip(lengths, levels.tolist(), strict=True)):
        is_hidden = hidden[row] == CODES
        assert masked[row].any(), "there is something to learn"
        assert not masked[row, length:].any(), "padding is never learned"
        assert not is_hidden[:, :level].any(), "coarser levels are never masked"
        assert (is_hidden[:, level] == masked[row]).all()
        finer = is_hidden[:, level + 1 :].all(dim=1)
        start = int(masked[row].nonzero()[0])
        assert level == LEVELS - 1 or finer[start:length].all(), "finer levels are masked after the prompt"
        if not prompted and level < LEVELS - 1:
            assert finer[:length].all()
        if fully == 1.0 and not prompted:
            assert masked[row, :length].all()
    kept = hidden != CODES
    assert (hidden[kept] == codes[kept]).all()


def test_level_weights_decide_which_level_is_drawn() -> None:
    codes, _, lengths = example()
    for _ in range(10):
        assert hide(codes, lengths, CODES, Masking(level_weights=(0.0, 1.0, 0.0)))[2].tolist() == [1, 1]


def test_untrained_loss_is_that_of_chance(model: SoundStorm) -> None:
    torch.manual_seed(0)
    loss, by_level = model(*example(40, 8))
    assert loss.item() == pytest.approx(np.log(CODES), abs=0.6)
    assert by_level.shape == (LEVELS,)


def test_loss_ignores_padding(model: SoundStorm) -> None:
    codes, tokens, _ = example(12)
    lengths, masking = torch.tensor([7, 7]), Masking(prompted=0.0, fully_masked=1.0)
    torch.manual_seed(3)
    first = model(codes, tokens, lengths, masking)[0]
    codes[:, 7:], tokens[:, 7:] = 1, 2
    torch.manual_seed(3)
    assert model(codes, tokens, lengths, masking)[0].item() == pytest.approx(first.item(), abs=1e-5)


def test_it_learns_codes_that_follow_from_the_tokens() -> None:
    torch.manual_seed(0)
    model = SoundStorm(TINY)
    table = torch.randint(CODES, (UNITS, LEVELS))
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    tokens = torch.randint(UNITS, (16, 20))
    lengths = torch.full((16,), 20)
    for _ in range(120):
        optimizer.zero_grad()
        model(table[tokens], tokens, lengths)[0].backward()
        optimizer.step()
    unseen = torch.randint(UNITS, (2, 30))
    codes = model.eval().generate(unseen, DecodeOptions(steps=(3, 1, 1), temperature=0.1))
    assert (codes == table[unseen]).float().mean() > 0.95


def test_step_samples_from_the_softmax(model: SoundStorm) -> None:
    """A chi-square test of 10,000 draws against the probabilities they are drawn from."""
    codes, tokens, lengths = example(1, 1)
    level = torch.tensor([1])
    with torch.no_grad():
        probabilities = model.logits(codes, level, tokens, lengths).softmax(-1)[0, 0].numpy()
        draws = 10_000
        ids, confidence = model.step(
            codes.expand(draws, -1, -1), level, tokens.expand(draws, -1), lengths.expand(draws),
            torch.from_numpy(np.random.default_rng(0).random((draws, 1), np.float32)), torch.ones(1),
        )  # fmt: skip
    counts = np.bincount(ids[:, 0].numpy(), minlength=CODES)
    chi_square = ((counts - draws * probabilities) ** 2 / (draws * probabilities)).sum()
    assert chi_square < 37.7, "the 99.9 % quantile at 15 degrees of freedom"
    np.testing.assert_allclose(confidence[:, 0], probabilities[ids[:, 0]], atol=1e-5)


def test_temperature_sharpens_but_confidence_stays(model: SoundStorm) -> None:
    codes, tokens, lengths = example(50, 1)
    uniform = torch.rand(1, 50)
    with torch.no_grad():
        probabilities = model.logits(codes, torch.tensor([0]), tokens, lengths).softmax(-1)
        ids, confidence = model.step(codes, torch.tensor([0]), tokens, lengths, uniform, torch.tensor([0.01]))
    assert (ids == probabilities.argmax(-1)).float().mean() > 0.9
    torch.testing.assert_close(confidence, probabilities.gather(2, ids[..., None])[..., 0])


def test_the_largest_uniform_number_is_a_valid_code(model: SoundStorm) -> None:
    codes, tokens, lengths = example()
    with torch.no_grad():
        ids, _ = model.step(
            codes, torch.tensor([2]), tokens, lengths, torch.full((2, 12), 1.0), torch.ones(1)
        )
    assert ids.max() < CODES


def test_generate_keeps_the_prompt_and_repeats_with_the_seed(model: SoundStorm) -> None:
    codes, tokens, _ = example()
    options = DecodeOptions(steps=(4, 2, 1))
    first = model.generate(tokens, options, prompt=codes[:, :5], seed=7)
    assert (first[:, :5] == codes[:, :5]).all()
    assert first.max() < CODES
    assert (first == model.generate(tokens, options, prompt=codes[:, :5], seed=7)).all()
    assert (first != model.generate(tokens, options, prompt=codes[:, :5], seed=8)).any()


def test_only_the_head_of_the_level_counts(model: SoundStorm) -> None:
    codes, tokens, lengths = example()
    with torch.no_grad():
        before = model.logits(codes, torch.tensor([1]), tokens, lengths)
        model.heads.classifier[0] += 1
        model.heads.classifier[2] += 1
        torch.testing.assert_close(model.logits(codes, torch.tensor([1]), tokens, lengths), before)


def test_the_engine_wraps_step(model: SoundStorm) -> None:
    codes, tokens, lengths = example()
    feeds = {
        "codes": codes.numpy(),
        "level": np.array([0]),
        "semantic_tokens": tokens.numpy(),
        "lengths": lengths.numpy(),
        "uniform": np.full((2, 12), 0.5, np.float32),
        "temperature": np.ones(1, np.float32),
    }
    results = TorchEngine(step_graph(LEVELS), model.step).run(feeds)
    assert results["ids"].shape == (2, 12)
    assert results["ids"].dtype == np.int64
    assert results["confidence"].dtype == np.float32
