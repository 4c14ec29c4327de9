"""Lengths of blocks: early, growing, and never later than playback."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import math

from hypothesis import given, settings
from hypothesis import strategies as st

from soundstorm_runtime.decoding.prefix_cache import BLOCK_FRAMES
from soundstorm_runtime.synthesis.block_scheduler import SPARE, BlockScheduler
from soundstorm_runtime.synthesis.calibration import Costs

FRAME = 0.02  # seconds


def scheduler(step, *, budget=0.0, sentence=0.01, latency=8):
    """Blocks of 15 steps, each of `step` seconds for 100 frames, a third of it whatever the length."""
    return BlockScheduler(lambda frames: 15 * step * (1 / 3 + frames / 150), sentence, FRAME, latency, budget)


def lengths(scheduler, count):
    """Take blocks, each played as soon as it is there."""
    found = []
    latency = 8
    for _ in range(count):
        found.append(scheduler.next_block())
        scheduler.add_audio((found[-1] - latency) * FRAME)
        latency = 0
    return found


def test_blocks_grow_from_the_shortest_to_the_longest():
    found = lengths(scheduler(0.004), 8)
    assert found[0] == BLOCK_FRAMES[0]
    assert found == sorted(found)
    assert found[-1] == BLOCK_FRAMES[-1]


def test_a_slower_machine_begins_later_and_with_more():
    firsts = [lengths(scheduler(step), 1)[0] for step in (0.002, 0.02, 0.05)]
    assert firsts == sorted(firsts)
    assert firsts[-1] > firsts[0]


def test_a_budget_is_used_for_a_longer_first_block_unless_it_cannot_be_held(caplog):
    with caplog.at_level(logging.WARNING):
        assert scheduler(0.004, budget=0.2).next_block() > scheduler(0.004).next_block()
        assert not caplog.messages
        assert scheduler(0.02, budget=0.001).next_block() == scheduler(0.02).next_block()
    assert "budget: 1 ms are too few on this machine; the first audio comes after about" in caplog.text


def test_a_machine_that_cannot_keep_up_says_so(caplog):
    with caplog.at_level(logging.WARNING):
        assert scheduler(1.0).next_block() == BLOCK_FRAMES[-1]
    assert "makes speech more slowly than it is played: the stream will have gaps" in caplog.text


@settings(deadline=None)
@given(st.floats(1e-4, 0.05), st.lists(st.integers(1, 200), max_size=6))
def test_playback_never_waits(step, sentences):
    """Whatever the speed, as long as it lasts, and where sentences end early."""
    found = scheduler(step)
    cost = found._block
    if not any(found._can_start_with(frames) for frames in BLOCK_FRAMES):
        return
    first = found.next_block()
    left = (first - 8) * FRAME
    found.add_audio(left)
    for frames in [*sentences, *itertools.repeat(1000, 5)]:
        block = found.next_block()
        if block > BLOCK_FRAMES[0] or left > cost(BLOCK_FRAMES[0]):
            assert cost(block) <= max(SPARE * left, cost(BLOCK_FRAMES[0])) + 1e-9
        left = max(0.0, left - cost(block))
        spoken = min(block, frames) * FRAME
        left += spoken
        found.add_audio(spoken)


def test_costs_are_rounded_up_so_that_blocks_do_not_depend_on_the_moment():
    costs = Costs(0.0101, 0.0, 0.0033, 0.000101, 0.0)
    rounded = costs.rounded()
    for field in dataclasses.fields(Costs):
        exact, coarse = getattr(costs, field.name), getattr(rounded, field.name)
        assert exact <= coarse <= exact * math.sqrt(2) + 1e-12
    nearby = Costs(*(1.02 * value for value in dataclasses.astuple(costs)))
    assert nearby.rounded() == rounded


def test_reading_a_sentence_takes_time_too():
    at_once, after_reading = (scheduler(0.004, sentence=0.2) for _ in range(2))
    for each in (at_once, after_reading):
        each.next_block()
        each.add_audio(0.3)
    after_reading.start_sentence()
    assert after_reading.next_block() < at_once.next_block()


def test_streams_that_share_the_machine_make_longer_blocks_after_the_first():
    def taken(load: int) -> list[int]:
        def block(frames: int) -> float:
            return 15 * 0.01 * (1 / 3 + frames / 150)

        return lengths(BlockScheduler(block, 0.01, FRAME, 8, load=lambda: load), 4)

    alone, crowded, overloaded = taken(1), taken(8), taken(200)
    assert alone[0] == crowded[0] == overloaded[0]  # no stream delays another's first audio
    assert crowded[1] > alone[1]  # the shortest that is made as fast as it is played
    assert overloaded[1:] == [BLOCK_FRAMES[-1]] * 3  # what costs least for each frame
