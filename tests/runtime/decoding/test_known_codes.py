"""Codes that are known between others."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given as examples
from hypothesis import settings
from hypothesis import strategies as st

from soundstorm_runtime.decoding.maskgit import DecodeOptions, decode
from soundstorm_runtime.engines.base import Engine
from soundstorm_runtime.engines.graphs import step_next_graph
from soundstorm_runtime.errors import OptionError

from .test_maskgit import CODES, Sampler, plain


def masked(frames=12, levels=2):
    return np.full((1, frames, levels), CODES)


@settings(max_examples=60, deadline=None)
@examples(st.sets(st.integers(3, 11), max_size=8), st.booleans(), st.integers(0, 100))
def test_given_codes_stay_and_are_shown_up_to_the_level(places, revise, seed):
    random = np.random.default_rng(seed)
    known, places = random.integers(CODES, size=(1, 12, 2)), sorted(places)
    given = masked()
    given[0, places] = known[0, places]
    engine = Sampler(2)
    options = DecodeOptions((4, 2), noise=1.0, can_mask_prev_unmasked=revise)
    task = plain(options=options, prompt=known[:, :3], given=given)
    codes = decode(engine, rng=np.random.default_rng(seed), **task)
    np.testing.assert_array_equal(codes[0, :3], known[0, :3])
    np.testing.assert_array_equal(codes[0, places], known[0, places])
    assert codes.max() < CODES
    for feeds in engine.seen:
        level = feeds["level"][0]
        np.testing.assert_array_equal(feeds["codes"][0, :3], known[0, :3])
        np.testing.assert_array_equal(feeds["codes"][0, places, : level + 1], known[0, places, : level + 1])
        assert (feeds["codes"][0, 3:, level + 1 :] == CODES).all()
    count = 9 - len(places)
    first = engine.seen[0]["codes"][0, 3:, 0] if engine.seen else np.zeros(0)
    assert (first == CODES).sum() == count


def test_nothing_given_is_as_without():
    seed = 3
    task = plain(prompt=np.zeros((1, 2, 2), np.int64))
    expected = decode(Sampler(2), rng=np.random.default_rng(seed), **task)
    found = decode(Sampler(2), rng=np.random.default_rng(seed), **task, given=masked())
    np.testing.assert_array_equal(found, expected)


def test_all_given_needs_no_step():
    engine, given = Sampler(2), np.random.default_rng(0).integers(CODES, size=(1, 12, 2))
    codes = decode(engine, rng=np.random.default_rng(0), **plain(given=given))
    np.testing.assert_array_equal(codes, given)
    assert engine.seen == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda given: given[:, 1:], r"shape \[1, 11, 2\], expected \[1, 12, 2\]"),
        (lambda given: given * [1, 0], "some levels of a frame, expected all or none"),
        (lambda given: given + 1, "outside 0 to 7"),
    ],
)
def test_given_codes_that_do_not_fit_are_refused(change, message):
    with pytest.raises(OptionError, match=message):
        decode(Sampler(2), rng=np.random.default_rng(0), **plain(given=change(masked())))


class WholeStep(Engine):
    """The graph `step_next` around the sampler, in NumPy; pads frames to a multiple of eight."""

    def __init__(self, levels):
        super().__init__(step_next_graph(levels))
        self.sampler = Sampler(levels)

    def padded(self, frames):
        return -(-frames // 8) * 8

    def _run(self, feeds):
        names = [tensor.name for tensor in self.sampler.graph.inputs]
        results = self.sampler.run({name: feeds[name] for name in names})
        codes, level = feeds["codes"].copy(), int(feeds["level"][0])
        within = np.arange(codes.shape[1]) < feeds["lengths"][:, None]
        of_level = codes[..., level]
        masked = (of_level == CODES) & within
        fresh = (feeds["start"][..., level] == CODES) & within
        of_level[masked] = results["ids"][masked]
        scores = results["confidence"]
        if feeds["noisy"][0]:
            scores = np.log(scores.clip(np.finfo(np.float32).tiny)) + feeds["noise"]
        candidates = fresh if feeds["revise"][0] else masked
        for row, stay in enumerate(feeds["stay"]):
            (places,) = np.nonzero(candidates[row])
            of_level[row, places[np.argsort(scores[row, places], kind="stable")[:stay]]] = CODES
        return {"next_codes": codes}


@pytest.mark.parametrize("revise", [False, True])
def test_whole_steps_on_the_device_see_the_same_codes(revise):
    random = np.random.default_rng(1)
    given = masked()
    given[0, [4, 8, 9]] = random.integers(CODES, size=(3, 2))
    options = DecodeOptions((4, 3), noise=1.0, can_mask_prev_unmasked=revise)
    prompt = random.integers(CODES, size=(1, 2, 2))
    task = plain(options=options, prompt=prompt, given=given)
    host, device = Sampler(2), WholeStep(2)
    expected = decode(host, rng=np.random.default_rng(3), **task)
    found = decode(device, rng=np.random.default_rng(3), **task)
    np.testing.assert_array_equal(found, expected)
    for one, other in zip(host.seen, device.sampler.seen, strict=True):
        np.testing.assert_array_equal(other["codes"][:, :12], one["codes"])
