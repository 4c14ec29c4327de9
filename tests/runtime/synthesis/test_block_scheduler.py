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


def scheduler(step, *, budget=0.0, sentence=0.01, latency=8, load=1):
    """Blocks of 15 steps, each of `step` seconds for 100 frames, a third of it whatever the length."""

    def block(frames: int) -> float:
        return 15 * step * (1 / 3 + frames / 150)

    return BlockScheduler(block, sentence, FRAME, latency, budget, lambda: load)


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
@given(st.floats(1e-4, 0.05), st.integers(1, 20), st.lists(st.integers(1, 200), max_size=6))
def test_playback_never_waits(step, load, sentences):
    """Whatever the speed, as long as it lasts, where sentences end early, and after a block of each other."""
    found = scheduler(step, load=load)
    if found._shortest(0.0, load, latency=8) is None:
        return
    first = found.next_block()
    left = (first - 8) * FRAME
    found.add_audio(left)
    for frames in [*itertools.repeat(1000, 5), *sentences]:
        ended_early = frames < 1000
        block = found.next_block()
        takes = load * found._block(block)
        assert ended_early or takes <= left + 1e-9
        if block > BLOCK_FRAMES[0] and takes <= left:
            assert found._block(block) <= SPARE * left + 1e-9
        left = max(0.0, left - takes)
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


def test_streams_that_share_the_machine_begin_with_longer_blocks():
    firsts = [lengths(scheduler(0.01, load=load), 1)[0] for load in (1, 4, 8)]
    assert firsts == sorted(firsts)
    assert firsts[-1] > firsts[0]
    overloaded = lengths(scheduler(0.01, load=200), 4)
    assert overloaded == [BLOCK_FRAMES[-1]] * 4  # what costs least for each frame


def test_two_streams_do_not_stay_at_the_shortest_block_that_keeps_pace():
    """Where most of a block's cost is its context, short blocks take the machine from each other."""

    def frames_computed(load: int, sentence: int = 175) -> int:
        costly = BlockScheduler(lambda frames: 0.0005 * (210 + frames), 0.01, FRAME, 7, load=lambda: load)
        left, computed = sentence, 0
        while left > 0:
            block = min(costly.next_block(), left)
            costly.add_audio((block - (7 if left == sentence else 0)) * FRAME)
            left, computed = left - block, computed + 210 + block
        return computed

    alone = frames_computed(1)
    assert all(frames_computed(load) <= alone for load in (2, 3, 4, 8, 16))
