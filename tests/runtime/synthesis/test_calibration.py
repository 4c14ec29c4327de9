"""Steps that fit a budget."""

from __future__ import annotations

import logging
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundstorm_runtime import DecodeOptions, Voice
from soundstorm_runtime.errors import OptionError
from soundstorm_runtime.synthesis.calibration import Calibration, share_steps

OWN = (8, 3, 1, 1)


@pytest.mark.parametrize(
    ("total", "expected"),
    [
        (13, OWN),
        (99, OWN),
        (12, (7, 3, 1, 1)),
        (8, (4, 2, 1, 1)),
        (5, (2, 1, 1, 1)),
        (4, (1, 1, 1, 1)),
        (-3, (1, 1, 1, 1)),
    ],
)
def test_steps_are_brought_down_in_proportion(total, expected):
    assert share_steps(OWN, total) == expected


@given(st.lists(st.integers(1, 30), min_size=1, max_size=8), st.integers(-5, 300))
def test_as_many_as_are_affordable_and_no_more_than_the_voices_own(own, total):
    steps = share_steps(own, total)
    assert sum(steps) == min(max(total, len(own)), sum(own))
    assert all(1 <= some <= most for some, most in zip(steps, own, strict=True))


def test_levels_that_are_left_out_stay_so():
    assert share_steps((8, 3, 1, 0, 0), 6) == (3, 2, 1, 0, 0)
    assert share_steps((8, 3, 1, 0, 0), 1) == (1, 1, 1, 0, 0)


def test_text_and_codec_are_paid_first():
    calibration = Calibration(text=0.02, step=0.01, codec=0.03)
    assert sum(calibration.steps_within(0.131, OWN)) == 8
    assert calibration.seconds((4, 2, 1, 1)) == pytest.approx(0.13)
    assert calibration.steps_within(0.01, OWN) == (1, 1, 1, 1)


def test_a_voice_picks_and_says_so(make_bundle, caplog):
    voice = Voice.load(make_bundle(options=DecodeOptions((9, 2, 1)), voices={"slt": 6}), threads=1)
    with caplog.at_level(logging.INFO):
        assert voice.steps_within(60_000, "Good morning. Yes.", voice="slt") == (9, 2, 1)
    assert "budget: 60000 ms allow steps 9,2,1, about" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.INFO):
        assert voice.steps_within(0.001, "Good morning.") == (1, 1, 1)
    assert "budget: 0.001 ms cannot be held here; the fewest, steps 1,1,1, about" in caplog.text
    for budget in (0, math.inf, math.nan):
        with pytest.raises(OptionError, match=f"the budget is {budget} ms, expected a number above 0"):
            voice.steps_within(budget, "Good morning.")
    with pytest.raises(OptionError, match="speed is 9"):
        voice.steps_within(10, "Good morning.", speed=9)
