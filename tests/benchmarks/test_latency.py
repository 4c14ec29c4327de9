"""The measures of streams: of time on made-up timelines, of seams on sounds with a click."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.latency import Latency, Memory, Timeline, measure, show, spread, summed_up, ten_words
from benchmarks.latency_plot import plot_latency
from benchmarks.report import circumstances
from benchmarks.seams import COSTS, delay, seams
from soundstorm_runtime import Voice
from soundstorm_runtime.bundle.reader import read_bundle
from soundstorm_runtime.support.serde import to_dict

RATE = 16_000
SHIPPED = Path(__file__).parents[2] / "build/voice"


def test_sentences_have_about_ten_words_and_come_again_when_all_had_their_turn():
    found = ten_words(60)
    assert {len(text.split()) for text in found} == {9, 10, 11}
    assert len(ten_words(2)) == 2


def test_a_stream_is_told_apart_by_stage_and_block(tiny_bundle):
    voice = Voice.load(tiny_bundle, threads=1)
    timelines = measure(voice, ["Good morning, and good night to all of you."])
    found = summed_up(timelines)
    assert list(found["stages"])[:3] == ["text", "SoundStorm, first block", "codec, first block"]
    assert found["first_audio"].count == 1
    took = sum(seconds for _, seconds in timelines[0].stages)
    assert 0 < took <= timelines[0].seconds
    result = Latency(
        circumstances("latency"), "0", "tiny", 1, (1, 1), memory=Memory((50.0, 51.0, 50.5)), **found
    )
    assert result.memory is not None
    assert result.memory.growth == 0.5
    assert "MiB after each minute: 50 51 50 (+0.5 after the first)" in show(result)
    assert plot_latency(to_dict(result)).axes


def test_what_is_played_before_the_next_chunk_comes_is_spare():
    timeline = Timeline()
    timeline.chunks = [(0.1, 0.2), (0.15, 1.0), (1.5, 0.5)]
    assert timeline.spare == pytest.approx([0.15, -0.2])
    assert spread([1.0, 2.0, 3.0]).median == 2.0


def test_a_click_and_a_change_of_sound_are_found_where_they_are():
    rng = np.random.default_rng(0)
    smooth = np.convolve(rng.normal(size=RATE), np.hanning(20), mode="same").astype(np.float32) * 0.01
    borders = list(range(1000, 15_000, 1000))
    clicking, changing = smooth.copy(), smooth.copy()
    for border in borders[::2]:
        clicking[border : border + 20] += 0.2
        changing[border : border + 1000] = rng.normal(size=1000) * 0.05
    plain = seams([(smooth, borders)], RATE)
    assert plain.borders == len(borders)
    assert plain.jump == pytest.approx(0.5, abs=0.2)
    assert plain.flux == pytest.approx(0.5, abs=0.2)
    assert seams([(clicking, borders[::2])], RATE).jump > 0.95
    assert seams([(changing, borders[::2])], RATE).flux > 0.9


@pytest.mark.skipif(
    not (SHIPPED / "bundle.json").is_file(), reason="no build/voice: make demo-export makes it"
)
def test_borders_of_blocks_go_on_as_the_rest_does():
    """By the shipped voice; what its blocks say is another matter, which `benchmarks.seams` counts."""
    voice = Voice.load(SHIPPED, threads=1)
    voice.warm_up(COSTS)
    facts = read_bundle(SHIPPED).manifest.audio
    at_chunks, at_blocks, cut = [], [], []
    for seed, text in enumerate(ten_words(8)):
        chunks = list(voice.stream(text, seed=seed))
        audio, ends = np.concatenate(chunks), np.cumsum([len(chunk) for chunk in chunks])[:-1].tolist()
        at_chunks.append((audio, ends))
        at_blocks.append((audio, [end + delay(facts) for end in ends]))
        cut.append((audio + np.float32(0.3) * (np.arange(len(audio)) >= ends[0]), ends[:1]))
    found, blocks = seams(at_chunks, voice.sample_rate), seams(at_blocks, voice.sample_rate)
    assert min(found.borders, blocks.borders) >= 8
    assert max(found.jump, found.flux, blocks.jump, blocks.flux) < 0.75
    assert seams(cut, voice.sample_rate).jump > 0.95
