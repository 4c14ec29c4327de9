"""The text stages, around engines that are a few lines of NumPy."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundstorm_runtime.engines.base import Engine
from soundstorm_runtime.engines.graphs import AXES, Axis, autoregressive_text_graphs, parallel_text_graphs
from soundstorm_runtime.errors import EngineError
from soundstorm_runtime.synthesis.text_stage import (
    AutoregressiveText,
    ParallelText,
    TooLongError,
    token_counts,
)

VOCABULARY, DIM = 10, 4


class Function(Engine):
    """An engine from a function of the feeds; keeps them."""

    def __init__(self, graph, function, axes=AXES):
        super().__init__(graph, axes)
        self.function = function
        self.seen = []

    def _run(self, feeds):
        self.seen.append(dict(feeds))
        return self.function(**feeds)


def parallel(durations, max_tokens=100, axes=AXES):
    """A stage whose tokens are the places of their phones."""
    encoder_graph, decoder_graph = parallel_text_graphs(DIM)

    def encode(phones, lengths):
        hidden = np.zeros((*phones.shape, DIM), np.float32)
        return {"hidden": hidden, "durations": np.array([durations], np.float32)}

    def decode(hidden, phone_index, progress, lengths):
        return {"semantic_tokens": phone_index}

    decoder = Function(decoder_graph, decode, axes)
    return ParallelText(Function(encoder_graph, encode, axes), decoder, max_tokens), decoder


def speak(stage, phones, seed=0, **options):
    return stage.semantic_tokens(np.zeros(phones, np.int64), np.random.default_rng(seed), **options)


@given(st.lists(st.floats(0.01, 20), min_size=1, max_size=60))
def test_rounding_errors_carry_over_instead_of_adding_up(durations):
    counts = token_counts(np.array(durations))
    assert counts.min() >= 1
    ends, exact = np.cumsum(counts), np.cumsum(durations)
    # A phone ends where its duration says, to half a token, unless short phones pushed it on.
    expected = 0
    for end, at in zip(ends, exact, strict=True):
        expected = max(round(at), expected + 1)
        assert end == expected


def test_many_half_tokens_keep_their_total():
    assert token_counts(np.full(1000, 2.4)).sum() == 2400
    assert token_counts(np.array([0.1, 0.1, 3.8])).tolist() == [1, 1, 2]


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_impossible_durations_are_refused(bad):
    with pytest.raises(EngineError, match="duration that is not a positive number"):
        token_counts(np.array([1.0, bad]))


def test_every_phone_is_spoken_in_order():
    stage, decoder = parallel([2.0, 0.2, 3.0])
    assert speak(stage, 3).tolist() == [0, 0, 1, 2, 2]
    np.testing.assert_allclose(decoder.seen[0]["progress"], [[0, 0.5, 0, 0, 0.5]])
    assert decoder.seen[0]["lengths"].tolist() == [5]


def test_durations_stretch():
    stage, _ = parallel([2.0, 3.0])
    assert len(speak(stage, 2, stretch=2.0)) == 10
    assert len(speak(stage, 2, stretch=0.4)) == 2


def test_less_room_is_kept_to():
    assert len(speak(parallel([2.0, 3.0])[0], 2, room=5)) == 5
    with pytest.raises(TooLongError, match="5 semantic tokens, expected at most 4"):
        speak(parallel([2.0, 3.0])[0], 2, room=4)
    with pytest.raises(TooLongError, match="more than 4 semantic tokens, expected at most 4"):
        speak(autoregressive(lambda made: one_hot(1))[0], 4, room=4)


def test_too_many_tokens_or_phones_are_refused():
    with pytest.raises(TooLongError, match="101 semantic tokens, expected at most 100; shorten it"):
        speak(parallel([50.0, 51.0])[0], 2)
    axes = {**AXES, "phones": Axis(1, 2, 3)}
    with pytest.raises(TooLongError, match="4 phones, expected at most 3"):
        speak(parallel([1.0] * 4, axes=axes)[0], 4)


def autoregressive(choose, max_tokens=3000, temperature=0.0):
    """A stage whose logits are `choose(tokens made so far)`; its cache holds the tokens themselves."""
    encoder_graph, step_graph = autoregressive_text_graphs(1, 1, 1, VOCABULARY)

    def encode(phones, lengths):
        cross = phones[None, :, None, :, None].astype(np.float32)
        return {"cross_keys": cross, "cross_values": -cross}

    def step(token, lengths, cross_keys, cross_values, keys, values):
        keys = np.concatenate([keys, token.astype(np.float32)[None, :, None, None, None]], axis=3)
        logits = np.asarray(choose(keys[0, 0, 0, 1:, 0].astype(int).tolist()), np.float32)
        return {"logits": logits[None], "next_keys": keys, "next_values": -keys}

    engine = Function(step_graph, step)
    stage = AutoregressiveText(
        Function(encoder_graph, encode), engine, max_tokens, VOCABULARY, rate=50, temperature=temperature
    )
    return stage, engine


def one_hot(token):
    return 9.0 * (np.arange(VOCABULARY + 1) == token)


def test_tokens_come_from_the_cache_and_stop_at_the_end():
    stage, engine = autoregressive(lambda made: one_hot(len(made) + 3 if len(made) < 5 else VOCABULARY))
    assert speak(stage, 4).tolist() == [3, 4, 5, 6, 7]
    assert [int(feeds["token"][0]) for feeds in engine.seen] == [VOCABULARY, 3, 4, 5, 6, 7]
    assert [feeds["keys"].shape[3] for feeds in engine.seen] == list(range(6))
    np.testing.assert_array_equal(engine.seen[5]["values"], -engine.seen[5]["keys"])
    assert engine.seen[0]["lengths"].tolist() == [4]


@pytest.mark.parametrize(
    ("stretch", "spoken"),
    [(2.0, [3, 3, 4, 4, 5, 5, 6, 6]), (1.5, [3, 3, 4, 5, 5, 6]), (0.5, [3, 5]), (0.6, [3, 4, 6]), (0.1, [3])],
)
def test_tokens_made_one_by_one_are_said_twice_or_left_out(stretch, spoken):
    stage, engine = autoregressive(lambda made: one_hot(len(made) + 3 if len(made) < 4 else VOCABULARY))
    assert speak(stage, 4, stretch=stretch).tolist() == spoken
    assert len(engine.seen) == 5, "the pace does not change what is read"
    assert speak(stage, 4, stretch=stretch, room=len(spoken)).tolist() == spoken
    if len(spoken) > 1:
        with pytest.raises(TooLongError, match="shorten it"):
            speak(stage, 4, stretch=stretch, room=len(spoken) - 1)


def test_an_end_at_once_still_gives_a_token():
    stage, _ = autoregressive(lambda made: one_hot(VOCABULARY))
    assert len(speak(stage, 4)) == 1


def test_a_decoder_that_does_not_end_is_cut_with_a_warning(caplog):
    stage, _ = autoregressive(lambda made: one_hot(1))
    with caplog.at_level(logging.WARNING):
        assert len(speak(stage, 4)) == 80
    assert "a sentence of 4 phones did not end within 80 semantic tokens" in caplog.text


def test_as_many_tokens_as_fit_are_taken_and_no_more():
    def ends_after(count):
        return autoregressive(lambda made: one_hot(VOCABULARY if len(made) == count else 1), max_tokens=7)[0]

    assert len(speak(ends_after(7), 4)) == 7
    with pytest.raises(TooLongError, match="more than 7 semantic tokens, expected at most 7"):
        speak(ends_after(8), 4)


def test_sampling_follows_the_logits_and_the_seed():
    chances = np.array([0.5, 0.3, 0.2])
    logits = np.full(VOCABULARY + 1, -np.inf)
    logits[:3] = np.log(chances)
    stage, _ = autoregressive(lambda made: logits, temperature=1.0)
    tokens = speak(stage, 100, seed=3)
    np.testing.assert_allclose(np.bincount(tokens, minlength=3) / len(tokens), chances, atol=0.04)
    np.testing.assert_array_equal(tokens, speak(stage, 100, seed=3))
    assert (tokens != speak(stage, 100, seed=4)).any()
