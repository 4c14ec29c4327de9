"""The decode loop, around an engine that is a few lines of NumPy."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soundstorm_runtime.decoding.maskgit import COLDEST, SCHEDULES, DecodeOptions, decode, level_order
from soundstorm_runtime.engines.base import Engine
from soundstorm_runtime.engines.graphs import quantizer_graph, step_graph
from soundstorm_runtime.errors import EngineError, OptionError

CODES = 8


class Sampler(Engine):
    """Samples from a table of the semantic token, the level and the frame's codes; keeps its feeds."""

    def __init__(self, levels):
        super().__init__(step_graph(levels))
        random = np.random.default_rng(7)
        self.of_token = random.normal(size=(10, CODES))
        self.of_level = random.normal(size=(levels, CODES))
        self.of_code = random.normal(size=(CODES + 1, CODES))
        self.seen = []

    def _run(self, feeds):
        self.seen.append({name: array.copy() for name, array in feeds.items()})
        logits = self.of_token[feeds["semantic_tokens"]] + self.of_level[feeds["level"][0]]
        logits = (logits + self.of_code[feeds["codes"]].sum(2)) / feeds["temperature"][0]
        p = np.exp(logits - logits.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        ids = (p.cumsum(-1) < feeds["uniform"][..., None]).sum(-1).clip(max=CODES - 1)
        chance = np.take_along_axis(p, ids[..., None], -1)[..., 0]
        return {"ids": ids, "confidence": chance.astype(np.float32)}


@st.composite
def tasks(draw):
    """A batch with lengths and a prompt, and options."""
    levels, batch = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    start = draw(st.integers(0, 5))
    lengths = draw(st.lists(st.integers(max(start, 1), 20), min_size=batch, max_size=batch))
    frames = max(lengths) + draw(st.integers(0, 3))
    random = np.random.default_rng(draw(st.integers(0, 1000)))
    options = DecodeOptions(
        tuple(draw(st.lists(st.integers(1, 6), min_size=levels, max_size=levels))),
        schedule=draw(st.sampled_from(["cosine", "linear"])),
        noise=draw(st.sampled_from([0.0, 4.5])),
        can_mask_prev_unmasked=draw(st.booleans()),
    )
    return {
        "semantic_tokens": random.integers(10, size=(batch, frames)),
        "lengths": np.array(lengths),
        "levels": levels,
        "codebook_size": CODES,
        "options": options,
        "prompt": random.integers(CODES, size=(batch, start, levels)),
    }


def run(task, seed=0):
    engine = Sampler(task["levels"])
    return decode(engine, rng=np.random.default_rng(seed), **task), engine.seen


@settings(max_examples=150, deadline=None)
@given(tasks())
def test_prompt_is_untouched_and_no_mask_is_left(task):
    codes, seen = run(task)
    start = task["prompt"].shape[1]
    assert codes.dtype == np.int64
    assert codes.shape == (*task["semantic_tokens"].shape, task["levels"])
    assert codes.min() >= 0
    assert codes.max() < CODES
    np.testing.assert_array_equal(codes[:, :start], task["prompt"])
    for feeds in seen:
        np.testing.assert_array_equal(feeds["codes"][:, :start], task["prompt"])
    for row, length in zip(codes, task["lengths"], strict=True):
        assert not row[length:].any()


@settings(max_examples=150, deadline=None)
@given(tasks())
def test_the_number_of_masked_codes_follows_the_schedule(task):
    _, seen = run(task)
    options, start = task["options"], task["prompt"].shape[1]
    for level, steps in enumerate(options.steps):
        for row, length in enumerate(task["lengths"]):
            masked = [
                int((f["codes"][row, start:length, level] == CODES).sum())
                for f in seen
                if f["level"][0] == level
            ]
            total = expected = length - start
            for step, found in enumerate(masked):
                assert found == expected
                share = SCHEDULES[options.schedule]((step + 1) / steps)
                expected = max(0, min(math.floor(share * total), found - 1))


@settings(max_examples=150, deadline=None)
@given(tasks())
def test_levels_go_from_coarse_to_fine_and_kept_codes_stay(task):
    codes, seen = run(task)
    levels = [int(feeds["level"][0]) for feeds in seen]
    assert levels == sorted(levels)
    for feeds, level in zip(seen, levels, strict=True):
        within = np.arange(codes.shape[1]) < task["lengths"][:, None]
        within[:, : task["prompt"].shape[1]] = False
        np.testing.assert_array_equal(feeds["codes"][..., :level][within], codes[..., :level][within])
        assert (feeds["codes"][..., level + 1 :][within] == CODES).all()
        current = feeds["codes"][..., level]
        if not task["options"].can_mask_prev_unmasked:
            kept = within & (current != CODES)
            np.testing.assert_array_equal(current[kept], codes[..., level][kept])


@settings(max_examples=50, deadline=None)
@given(tasks(), st.integers(0, 2**32))
def test_same_seed_same_codes(task, seed):
    np.testing.assert_array_equal(run(task, seed)[0], run(task, seed)[0])


@settings(max_examples=100, deadline=None)
@given(tasks(), st.integers(1, 9))
def test_a_sample_depends_neither_on_padding_nor_on_those_after_it(task, more):
    codes, _ = run(task)
    padded = {**task, "semantic_tokens": np.pad(task["semantic_tokens"], ((0, 0), (0, more)))}
    np.testing.assert_array_equal(run(padded)[0][:, : codes.shape[1]], codes)
    first = {name: value[:1] if isinstance(value, np.ndarray) else value for name, value in task.items()}
    np.testing.assert_array_equal(run(first)[0], codes[:1])


def plain(**changes):
    """One sample of 12 frames, 2 levels."""
    return {
        "semantic_tokens": np.arange(12)[None] % 10,
        "lengths": np.array([12]),
        "levels": 2,
        "codebook_size": CODES,
        "options": DecodeOptions((4, 1)),
        **changes,
    }


def test_other_seeds_give_other_codes():
    assert (run(plain(), 1)[0] != run(plain(), 2)[0]).any()


def test_the_least_confident_codes_stay_masked():
    _, seen = run(plain(options=DecodeOptions((2, 1), schedule="linear")))
    sampler = Sampler(2)
    confidence = sampler.run(seen[0])["confidence"][0]
    masked = seen[1]["codes"][0, :, 0] == CODES
    assert masked.sum() == 6
    assert confidence[masked].max() <= confidence[~masked].min()


def test_noise_changes_which_codes_are_kept_but_not_the_last_step():
    def masks(noise):
        seen = run(plain(options=DecodeOptions((2, 1), schedule="linear", noise=noise)))[1]
        return seen[1]["codes"][0, :, 0] == CODES

    assert masks(50.0).sum() == masks(0.0).sum()
    assert (masks(50.0) != masks(0.0)).any()


def test_kept_codes_are_masked_again_where_allowed():
    def remasked(allowed):
        options = DecodeOptions((6, 1), schedule="linear", noise=50.0, can_mask_prev_unmasked=allowed)
        first = [f["codes"][0, :, 0] == CODES for f in run(plain(options=options))[1] if not f["level"][0]]
        return any((after & ~before).any() for before, after in itertools.pairwise(first))

    assert remasked(True)
    assert not remasked(False)


def test_more_steps_than_codes_end_when_all_are_kept():
    codes, seen = run(plain(options=DecodeOptions((1000, 1), schedule=lambda progress: 1.0)))
    assert len(seen) == 12 + 1
    assert codes.max() < CODES


def test_a_small_temperature_takes_the_likeliest_codes():
    options = DecodeOptions((1, 1), temperature=0.01)
    np.testing.assert_array_equal(run(plain(options=options), 1)[0], run(plain(options=options), 2)[0])


class ExpectingSampler(Sampler):
    """Returns the expected vectors, too: those of a table, and for a code that is known its own."""

    LATENT = 5

    def __init__(self, levels):
        super().__init__(levels)
        self.graph = step_graph(levels, latent=self.LATENT)
        self.codebooks = np.random.default_rng(8).normal(size=(levels, CODES, self.LATENT))
        self.codebooks *= (0.3 ** np.arange(levels))[:, None, None]  # finer levels are smaller

    def _run(self, feeds):
        found, level = super()._run(feeds), feeds["level"][0]
        p = np.random.default_rng(level).dirichlet(np.ones(CODES), size=found["ids"].shape)
        given = feeds["codes"][..., level]
        own = self.codebooks[level][np.where(given == CODES, 0, given)]
        mean = np.where(given[..., None] == CODES, p @ self.codebooks[level], own)
        return {**found, "expected": mean.astype(np.float32)}


class Nearest(Engine):
    """Quantizes latents level by level, and keeps them."""

    def __init__(self, codebooks):
        super().__init__(quantizer_graph(len(codebooks), codebooks.shape[-1]))
        self.codebooks, self.latents = codebooks, []

    def _run(self, feeds):
        self.latents.append(feeds["latents"])
        return {"codes": self.nearest(feeds["latents"].astype(float))}

    def nearest(self, rest):
        codes = []
        for codebook in self.codebooks:
            codes.append(((rest[..., None, :] - codebook) ** 2).sum(-1).argmin(-1))
            rest = rest - codebook[codes[-1]]
        return np.stack(codes, axis=-1)


def expecting(task, seed=0):
    engine = ExpectingSampler(task["levels"])
    quantizer = Nearest(engine.codebooks)
    codes = decode(engine, rng=np.random.default_rng(seed), **task, quantizer=quantizer)
    return codes, engine, quantizer


@settings(max_examples=60, deadline=None)
@given(tasks(), st.booleans())
def test_expected_codes_are_those_nearest_to_the_sum_of_the_last_vectors(task, leave_out):
    levels = task["levels"]
    steps = task["options"].steps
    if leave_out and levels > 1:
        steps = (*steps[:-1], 0)
    task["options"] = replace(task["options"], expected=True, steps=steps)
    codes, engine, quantizer = expecting(task)
    start, used = task["prompt"].shape[1], [level for level in range(levels) if steps[level]]
    np.testing.assert_array_equal(codes[:, :start, used], task["prompt"][..., used])
    if not engine.seen:
        return  # nothing was to be decoded
    last = {int(feeds["level"][0]): feeds for feeds in engine.seen}
    assert list(last) == used
    total = sum(ExpectingSampler(levels)._run(feeds)["expected"] for feeds in last.values())
    (latents,) = quantizer.latents
    np.testing.assert_allclose(latents, total, rtol=1e-5)
    nearest = quantizer.nearest(latents.astype(float))
    for row, length in enumerate(task["lengths"]):
        np.testing.assert_array_equal(codes[row, start:length, used], nearest[row, start:length, used])


def test_a_frame_of_which_coarse_codes_are_given_is_sampled():
    prompt = np.random.default_rng(0).integers(CODES, size=(1, 5, 1))
    options = DecodeOptions((1, 1), temperature=0.01)
    sampled = run(plain(options=options, prompt=prompt))[0]
    found, _, _ = expecting(plain(options=replace(options, expected=True), prompt=prompt))
    np.testing.assert_array_equal(found[:, :5], sampled[:, :5])
    assert (found[:, 5:] != sampled[:, 5:]).any()


def test_given_codes_stay_where_the_others_are_expected():
    given = np.full((1, 12, 2), CODES)
    given[0, 4:7] = np.random.default_rng(0).integers(CODES, size=(3, 2))
    codes, _, quantizer = expecting(plain(options=DecodeOptions((1, 1), expected=True), given=given))
    np.testing.assert_array_equal(codes[0, 4:7], given[0, 4:7])
    nearest = quantizer.nearest(quantizer.latents[0].astype(float))
    np.testing.assert_array_equal(codes[0, 7:], nearest[0, 7:])


def test_expected_codes_need_a_voice_that_has_them():
    with pytest.raises(OptionError, match="expected is true, but this voice was exported without"):
        run(plain(options=DecodeOptions((1, 1), expected=True)))


def test_an_annealed_temperature_falls_over_the_steps_of_a_level():
    def temperatures(**options):
        return [float(f["temperature"][0]) for f in run(plain(options=DecodeOptions((4, 1), **options)))[1]]

    assert temperatures(temperature=2.0) == [2.0] * 5
    np.testing.assert_allclose(
        temperatures(temperature=2.0, annealed=True), [1.5, 1.0, 0.5, COLDEST, COLDEST], rtol=1e-6
    )


def test_groups_of_a_level_come_before_the_next_level():
    assert level_order(6, 1) == [0, 1, 2, 3, 4, 5]
    assert level_order(6, 2) == [0, 3, 1, 4, 2, 5]
    _, seen = run(plain(levels=4, groups=2, options=DecodeOptions((3, 2, 1, 1))))
    assert [int(feeds["level"][0]) for feeds in seen] == [0, 0, 0, 2, 2, 1, 3]


def test_a_prompt_of_some_levels_leaves_the_others_to_be_decoded():
    prompt = np.arange(5)[None, :, None]
    codes, seen = run(plain(prompt=prompt))
    np.testing.assert_array_equal(codes[:, :5, :1], prompt)
    np.testing.assert_array_equal(seen[0]["codes"][0, :5, 0], np.arange(5))
    assert (seen[0]["codes"][0, :, 1] == CODES).all()
    assert codes.max() < CODES


@pytest.mark.parametrize(("groups", "left_out"), [(1, [2, 3]), (2, [1, 3])])
def test_levels_without_steps_are_left_out(groups, left_out):
    """Neither decoded nor taken from the prompt; what is decoded is as it would be beside them."""
    prompt = np.random.default_rng(1).integers(CODES, size=(1, 5, 4))
    prompt[..., left_out] = -1  # as in speech that was decoded without them
    task = plain(levels=4, groups=groups, prompt=prompt)
    codes, seen = run({**task, "options": DecodeOptions((3, 1, 0, 0))})
    kept = [level for level in range(4) if level not in left_out]
    assert [int(feeds["level"][0]) for feeds in seen] == [kept[0]] * 3 + [kept[1]]
    assert all((feeds["codes"][..., left_out] == CODES).all() for feeds in seen)
    assert (codes[..., left_out] == -1).all()
    np.testing.assert_array_equal(codes[:, :5, kept], prompt[..., kept])
    whole = {**task, "prompt": prompt[..., :0], "options": DecodeOptions((3, 1, 1, 1))}
    short = {**whole, "options": DecodeOptions((3, 1, 0, 0))}
    np.testing.assert_array_equal(run(whole)[0][..., kept], run(short)[0][..., kept])


def test_a_kept_code_is_judged_anew_where_it_may_be_masked_again():
    """An engine that loses its trust in what it said first: the first codes are masked again."""

    class Fickle(Sampler):
        def _run(self, feeds):
            results = super()._run(feeds)
            kept = feeds["codes"][..., feeds["level"][0]] != CODES
            return {**results, "confidence": np.where(kept, 0.0, 1.0).astype(np.float32)}

    def second_and_third_masks(allowed):
        engine = Fickle(2)
        options = DecodeOptions((3, 1), schedule="linear", can_mask_prev_unmasked=allowed)
        decode(engine, rng=np.random.default_rng(0), **plain(options=options))
        return [feeds["codes"][0, :, 0] == CODES for feeds in engine.seen[1:3]]

    second, third = second_and_third_masks(True)
    assert not (second & third).any()
    second, third = second_and_third_masks(False)
    assert (second | third == second).all()


def test_rounding_at_the_end_of_a_schedule_is_no_mistake():
    run(plain(options=DecodeOptions((2, 1), schedule=lambda progress: -4e-8)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": ()}, r"steps is \[\], expected one number of 1 or more per level"),
        ({"steps": (4, 0, 1)}, r"steps is \[4, 0, 1\]"),
        ({"steps": (0, 0)}, r"steps is \[0, 0\]"),
        ({"steps": (4, -1)}, r"steps is \[4, -1\]"),
        ({"steps": (1,), "schedule": "square"}, "schedule is 'square', expected one of cosine, linear"),
        ({"steps": (1,), "temperature": 0.0}, "temperature is 0.0, expected 0.01 to 100"),
        ({"steps": (1,), "temperature": math.nan}, "temperature is nan"),
        ({"steps": (1,), "noise": -1.0}, "noise is -1.0, expected 0 or more"),
        ({"steps": (1,), "noise": math.inf}, "noise is inf"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        DecodeOptions(**options)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"options": DecodeOptions((16, 1, 1))},
            r"steps has 3 numbers \[16, 1, 1\], but the voice has 2 levels; give one number per level",
        ),
        ({"lengths": np.array([13])}, r"lengths are \[13\], expected 1 \(with the prompt\) to 12 frames"),
        ({"lengths": np.array([0])}, r"lengths are \[0\]"),
        ({"lengths": np.array([3, 3])}, r"lengths \[2\], expected \[batch, frames\] and \[batch\]"),
        (
            {"prompt": np.zeros((1, 3, 4), np.int64)},
            r"shape \[1, 3, 4\], expected \[1, prompt frames, 2\]",
        ),
        ({"prompt": np.full((1, 3, 2), CODES)}, "codes outside 0 to 7; was it made by this codec"),
        ({"prompt": np.zeros((1, 13, 2), np.int64)}, r"expected 13 \(with the prompt\) to 12"),
        ({"options": DecodeOptions((2, 1), schedule=lambda p: 2.0)}, "the schedule returned 2.0 at 0.500"),
    ],
)
def test_input_that_does_not_fit_is_refused(changes, message):
    with pytest.raises(OptionError, match=message):
        run(plain(**changes))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [("ids", CODES, "sampled codes from 8 to 8, expected 0 to 7"), ("confidence", np.nan, "not a finite")],
)
def test_nonsense_from_the_engine_is_refused(name, value, message):
    class Broken(Sampler):
        def _run(self, feeds):
            results = super()._run(feeds)
            return {**results, name: np.full_like(results[name], value)}

    with pytest.raises(EngineError, match=message):
        decode(Broken(2), rng=np.random.default_rng(0), **plain())
