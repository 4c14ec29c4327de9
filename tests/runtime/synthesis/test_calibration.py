"""Steps that fit a budget."""

from __future__ import annotations

import logging
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundstorm_runtime import DecodeOptions, Voice
from soundstorm_runtime.errors import OptionError
from soundstorm_runtime.synthesis import calibration
from soundstorm_runtime.synthesis.calibration import Costs, share_steps, steps_within

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


def test_text_stage_and_codec_are_counted_first(caplog):
    costs = Costs(sentence=0.01, token=0.001, step=0.004, step_frame=0.0001, codec_frame=0.001)
    sentence = {"tokens": 10, "frames": 30, "prompt_frames": 30}  # 20 ms, 10 ms a step, 30 ms
    with caplog.at_level(logging.INFO):
        assert steps_within(0.131, costs, OWN, **sentence) == (4, 2, 1, 1)
    assert "steps 4,2,1,1, about 130 ms (text 20 ms, each step 10.0 ms, codec 30 ms)" in caplog.text
    assert steps_within(0.01, costs, OWN, **sentence) == (1, 1, 1, 1)
    assert steps_within(0.01, Costs(0.0, 0.0, 0.0, 0.0, 0.0), OWN, **sentence) == OWN


def test_streams_and_budgets_share_one_measurement(make_bundle, monkeypatch):
    measured = []
    monkeypatch.setattr(calibration, "measure", lambda *_: measured.append(1) or Costs(0.1, 0, 0.1, 0, 0.1))
    voice = Voice.load(make_bundle(), threads=1)
    assert voice.warm_up() == Costs(0.1, 0, 0.1, 0, 0.1).rounded()
    list(voice.stream("Good morning."))
    voice.steps_within(100, "Good morning.")
    voice.speak("Good morning.", budget_ms=100)
    assert len(measured) == 1


def test_a_budget_takes_steps_from_whole_sentences(make_bundle):
    voice = Voice.load(make_bundle(options=DecodeOptions((9, 2, 1))), threads=1)
    voice.warm_up(Costs(0.0, 0.0, 0.01, 0.0, 0.0))
    few = voice.speak("Good morning.", steps=(3, 1, 1))
    np.testing.assert_array_equal(voice.speak("Good morning.", budget_ms=59), few)
    with pytest.raises(OptionError, match="both steps and budget_ms were given; give one of them"):
        voice.speak("Good morning.", budget_ms=59, steps=(3, 1, 1))


def test_a_voice_picks_and_says_so(make_bundle, caplog):
    voice = Voice.load(make_bundle(options=DecodeOptions((9, 2, 1)), voices={"slt": 6}), threads=1)
    with caplog.at_level(logging.INFO):
        assert voice.steps_within(60_000, "Good morning. Yes.", voice="slt") == (9, 2, 1)
    assert "budget: 60000 ms allow steps 9,2,1, about" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.INFO):
        assert voice.steps_within(0.001, "Good morning.") == (1, 1, 1)
    assert "budget: 0.001 ms are too few on this machine; using the fewest, steps 1,1,1, about" in caplog.text
    for budget in (0, math.inf, math.nan):
        with pytest.raises(OptionError, match=f"the budget is {budget} ms, expected a number above 0"):
            voice.steps_within(budget, "Good morning.")
    with pytest.raises(OptionError, match="speed is 9"):
        voice.steps_within(10, "Good morning.", speed=9)
