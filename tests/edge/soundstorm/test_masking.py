"""What of the codes is hidden in training, and what is asked for."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from soundstorm_edge.errors import ConfigError
from soundstorm_edge.nn.conformer import frame_mask
from soundstorm_edge.soundstorm.masking import Masking, draw_blocks, hide, of_numbers
from soundstorm_runtime.decoding.prefix_cache import BLOCK_FRAMES

CODES, LEVELS, FRAMES = 16, 4, 20


def draw(batch: int = 1) -> torch.Tensor:
    return torch.randint(CODES, (batch, FRAMES, LEVELS))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    lengths=st.lists(st.integers(1, FRAMES), min_size=1, max_size=5),
    prompted=st.sampled_from([0.0, 0.5, 1.0]),
    fully=st.sampled_from([0.0, 0.2, 1.0]),
    groups=st.sampled_from([1, 2]),
)
def test_masking_follows_the_paper(
    seed: int, lengths: list[int], prompted: float, fully: float, groups: int
) -> None:
    torch.manual_seed(seed)
    codes, masking = draw(len(lengths)), Masking(prompted=prompted, fully_masked=fully)
    shown, asked, levels, _ = hide(codes, frame_mask(torch.tensor(lengths), FRAMES), CODES, masking, groups)
    order = [0, 1, 2, 3] if groups == 1 else [0, 2, 1, 3]
    for row, (length, level) in enumerate(zip(lengths, levels.tolist(), strict=True)):
        is_hidden = shown[row] == CODES
        coarser, finer = order[: order.index(level)], order[order.index(level) + 1 :]
        assert asked[row].any(), "there is something to learn"
        assert not asked[row, length:].any(), "padding is never learned"
        assert not is_hidden[:, coarser].any(), "coarser levels are never masked"
        assert (is_hidden[:, level] == asked[row]).all()
        start = int(asked[row].nonzero()[0])
        assert is_hidden[start:length, finer].all(), "finer levels are masked after the prompt"
        if not prompted:
            assert is_hidden[:length, finer].all()
        if fully == 1.0 and not prompted:
            assert asked[row, :length].all()
    kept = shown != CODES
    assert (shown[kept] == codes[kept]).all()


def test_a_mask_may_have_gaps() -> None:
    mask = torch.rand(50, FRAMES) < 0.3
    mask[:, 5] = True
    for masking in (Masking(), Masking(prompted=0.0, fully_masked=1.0)):
        shown, asked, _, _ = hide(draw(50), mask, CODES, masking)
        assert not asked[~mask].any()
        assert not (shown[~mask] == CODES).any()
        assert asked.any(dim=1).all()


def test_level_weights_decide_which_level_is_drawn() -> None:
    mask = frame_mask(torch.tensor([FRAMES] * 2), FRAMES)
    for _ in range(10):
        assert hide(draw(2), mask, CODES, Masking((0.0, 1.0, 0.0, 0.0))).level.tolist() == [1, 1]
    # With groups, the second level in the order of decoding is the first one of the second group.
    assert hide(draw(2), mask, CODES, Masking((0.0, 1.0, 0.0, 0.0)), groups=2).level.tolist() == [2, 2]
    with pytest.raises(
        ConfigError, match="level_weights has 2 numbers, but the codes 4 levels; give one for each"
    ):
        hide(draw(2), mask, CODES, Masking((1.0, 1.0)))


@pytest.mark.parametrize(
    ("schedule", "share"),
    [("cosine", 2 / math.pi), ("linear", 0.5), (lambda progress: 1 - progress**2, 2 / 3)],
)
def test_the_schedule_decides_how_many_are_masked(schedule, share: float) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    mask = torch.ones(3000, FRAMES, dtype=torch.bool)
    asked = hide(draw(3000), mask, CODES, Masking(prompted=0.0, schedule=schedule)).asked
    assert asked.float().mean().item() == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize(
    "schedule", [lambda t: torch.cos(t * math.pi / 2), lambda t: math.cos(t * math.pi / 2)]
)
def test_a_schedule_of_tensors_is_one_of_numbers(schedule) -> None:  # type: ignore[no-untyped-def]
    adapted = of_numbers(schedule)
    assert callable(adapted)
    assert adapted(0.5) == pytest.approx(math.cos(math.pi / 4))
    assert of_numbers("linear") == "linear"


def test_some_masked_codes_are_shown_and_asked_for_all_the_same() -> None:
    torch.manual_seed(0)
    codes, mask = draw(500), torch.ones(500, FRAMES, dtype=torch.bool)
    everything = {"level_weights": (0.0, 1.0, 0.0, 0.0), "prompted": 0.0, "fully_masked": 1.0}
    shown, asked, _, _ = hide(
        codes, mask, CODES, Masking(**everything, no_replace_prob=0.3, random_token_prob=0.2)
    )
    assert asked.all()
    masked = (shown[..., 1] == CODES).float().mean().item()
    same = (shown[..., 1] == codes[..., 1]).float().mean().item()
    assert masked == pytest.approx(0.5, abs=0.03)
    assert same == pytest.approx(0.3 + 0.2 / CODES, abs=0.03)
    assert (shown[..., 0] == codes[..., 0]).all()
    assert (shown[..., 2:] == CODES).all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"prompted": 1.5}, "prompted is 1.5, expected a share from 0 to 1"),
        ({"no_replace_prob": 0.7, "random_token_prob": 0.5}, "add up to more than 1; lower one of them"),
    ],
)
def test_impossible_shares_are_refused(fields: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Masking(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("given", [None, 40])
def test_blocks_are_a_prompt_and_those_of_a_stream(given: int | None) -> None:
    torch.manual_seed(0)
    known = torch.randint(0, 320, (300,))
    prompt = None if given is None else torch.full((300,), given)
    blocks, whole = draw_blocks(known, 320, prompt), 0
    for row, count in zip(blocks, known.tolist(), strict=True):
        _, lengths = row.unique_consecutive(return_counts=True)
        *finished, last = lengths.tolist()
        assert row[0] == 0
        assert last == 320 - count, "what is to be predicted is one block"
        if given is not None and count:
            assert finished[0] == min(given, count), "the prompt is one block"
        assert set(finished[1:-1]) <= set(BLOCK_FRAMES)
        assert len(finished) < 2 or finished[-1] <= max(BLOCK_FRAMES)
        whole += len(finished) == 1
    assert given is not None or 0.4 < whole / 300 < 0.7, "half of the sentences are spoken as a whole"


def test_what_is_known_is_returned() -> None:
    torch.manual_seed(0)
    shown, _, level, known = hide(draw(50), frame_mask(torch.full((50,), 15), FRAMES), CODES, Masking())
    for row in range(50):
        finer = shown[row, :15, int(level[row]) + 1 :]
        assert (finer[: known[row]] != CODES).all()
        assert (finer[known[row] :] == CODES).all()


def test_a_prompt_may_be_given() -> None:
    torch.manual_seed(0)
    mask, given = frame_mask(torch.full((400,), 15), FRAMES), torch.tensor([3, -1, 0, 99] * 100)
    found = hide(draw(400), mask, CODES, Masking(), prompt=given).known.view(100, 4)
    assert found[:, 0].min() == 3
    assert 0.4 < (found[:, 0] == 3).float().mean() < 0.7, "half of them are followed by known frames"
    assert found[:, 0].max() > 10
    assert (found[:, 3] == 14).all(), "one frame is left"


def test_given_frames_are_shown_up_to_the_level_and_never_asked_for():
    mask = frame_mask(torch.full((200,), FRAMES), FRAMES)
    given = torch.zeros_like(mask)
    given[:, 6:9] = True
    codes = draw(200)
    shown, asked, level, known = hide(codes, mask, CODES, Masking(fully_masked=1.0), given=given)
    assert not (asked & given).any()
    assert asked.any(dim=1).all()
    for row in range(200):
        for frame in range(6, 9):
            hidden = (
                torch.arange(codes.shape[2]) > level[row] if frame >= known[row] else torch.zeros(4).bool()
            )
            assert ((shown[row, frame] == CODES) == hidden).all()
