"""The MaskGIT decode loop of SoundStorm, in NumPy, around any engine.

Sources: SoundStorm, arXiv 2305.09636, section 3 (levels coarse to fine, confidence per level);
MaskGIT, arXiv 2202.04200 (schedules, confidence with annealed Gumbel noise).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, TypeVar

import numpy as np

from ..engines.base import Engine
from ..errors import EngineError, OptionError
from .prefix_cache import PrefixCache

Schedule = Literal["cosine", "linear"] | Callable[[float], float]


T = TypeVar("T")
Ticks = Generator[None, None, T]  # a computation that yields after each step, and returns its result

MOST_STEPS = 1000  # of a level, which has hardly ever more frames
COLDEST = 0.01  # the lowest temperature: the most likely code is as good as certain

SCHEDULES: dict[str, Callable[[float], float]] = {
    "cosine": lambda progress: math.cos(progress * math.pi / 2),
    "linear": lambda progress: 1 - progress,
}


@dataclass(frozen=True)
class DecodeOptions:
    """Options of the decode loop.

    Raises:
        OptionError: A value is out of range.
    """

    # Steps (passes of the network) for each level, coarse to fine; the paper takes (16, 1, 1, ...). 0 leaves
    # out a level and all finer ones: their codes are -1, which add nothing to the audio.
    steps: tuple[int, ...]
    # Share of a level's codes that stays masked at progress in (0, 1]: a name, or a function from 1 to 0
    schedule: Schedule = "cosine"
    temperature: float = 1.0  # sampling temperature of the codes; a low one takes the most likely code
    # Whether the temperature falls over the steps of a level, so that a level of one step takes the most
    # likely codes, as in the paper
    annealed: bool = False
    # Scale of the Gumbel noise on the logarithm of the confidence, annealed to 0 over the steps of a level; 0
    # ranks by confidence alone
    noise: float = 0.0
    # Whether a code that was kept may be masked again, by its confidence in the current step
    can_mask_prev_unmasked: bool = False
    # Whether the codes are those nearest to the latents that the network expects: the sums over the levels of
    # the means of the codebooks' vectors under their probabilities, in the last step of each level. Sampled
    # codes then only condition the levels after them. It suits a network that is unsure: codes that are
    # sampled one by one need not fit each other, while the mean has the least square error. Only for voices
    # that were exported with it
    expected: bool = False

    def __post_init__(self) -> None:
        passes = sum(steps > 0 for steps in self.steps)
        if not passes or min(self.steps[:passes]) < 1 or any(self.steps[passes:]):
            raise OptionError(
                f"steps is {list(self.steps)}, expected one number of 1 or more per level, or 0 for the "
                "finest, to leave them out"
            )
        if max(self.steps) > MOST_STEPS:
            raise OptionError(f"steps is {list(self.steps)}, expected at most {MOST_STEPS} for a level")
        if not callable(self.schedule) and self.schedule not in SCHEDULES:
            names = ", ".join(SCHEDULES)
            raise OptionError(f"schedule is {self.schedule!r}, expected one of {names}, or a function")
        if not COLDEST <= self.temperature <= 100:
            raise OptionError(
                f"temperature is {self.temperature}, expected {COLDEST} to 100; {COLDEST} takes the "
                "likeliest codes"
            )
        if not (self.noise >= 0 and math.isfinite(self.noise)):
            raise OptionError(f"noise is {self.noise}, expected 0 or more; 0 ranks by confidence alone")

    def left_out(self, groups: int) -> list[int]:
        """Return the levels that are not decoded, as columns of codes, where the codec has so many groups."""
        order = level_order(len(self.steps), groups)
        return [level for level, steps in zip(order, self.steps, strict=True) if not steps]

    def check_levels(self, levels: int) -> None:
        """Raise `OptionError` unless there is one number of steps for each of the voice's levels."""
        if len(self.steps) != levels:
            raise OptionError(
                f"steps has {len(self.steps)} numbers {list(self.steps)}, but the voice has {levels} levels; "
                "give one number per level"
            )


def masked_share(schedule: Schedule, progress: float) -> float:
    """Return the share of codes that stays masked; raise `OptionError` where it is not in [0, 1]."""
    share = float((schedule if callable(schedule) else SCHEDULES[schedule])(progress))
    if not -1e-6 <= share <= 1 + 1e-6:
        raise OptionError(f"the schedule returned {share} at {progress:.3f}, expected a share from 0 to 1")
    return min(max(share, 0.0), 1.0)


def level_order(levels: int, groups: int) -> list[int]:
    """Return the columns of codes `[batch, frames, levels]` in the order of decoding, coarse to fine.

    A codec with groups of quantizers has the levels of its first group first; each level is decoded in all
    groups before the next level.
    """
    return np.arange(levels).reshape(groups, -1).T.ravel().tolist()


def decode(
    engine: Engine,
    semantic_tokens: np.ndarray,
    lengths: np.ndarray,
    levels: int,
    codebook_size: int,
    options: DecodeOptions,
    rng: np.random.Generator | Sequence[np.random.Generator],
    prompt: np.ndarray | None = None,
    groups: int = 1,
    cache: PrefixCache | None = None,
    given: np.ndarray | None = None,
    quantizer: Engine | None = None,
) -> np.ndarray:
    """Decode codes with an engine of the graph `step` or `step_next`.

    Each sample draws from a random stream of its own, so that its codes depend neither on its padding nor on
    the samples after it.

    Args:
        engine: Runs one of the two graphs; the codes are the same.
        semantic_tokens: int64 [batch, frames], one for each frame, with those of the prompt.
        lengths: Frames of each sample with its prompt, int64 [batch]; codes after them are 0.
        levels: Levels of the codec.
        codebook_size: Codes of a level; this number itself stands for a masked code.
        options: How the codes are decoded.
        rng: A source of random numbers for all samples, or one for each of them.
        prompt: Codes to start with, int64 [batch, prompt frames, levels], which do not change. A prompt with
            fewer levels holds the coarsest, and the others are decoded.
        groups: Groups of the codec's quantizers; `options.steps` are in the order of `level_order`.
        cache: Of the prompt, for an engine whose graph has one as an input: the network computes the other
            frames alone, and the codes are the same.
        given: Codes of frames after the prompt that do not change either, int64 [batch, frames, levels], and
            `codebook_size` at all levels of a frame that is to be decoded. While a level is decoded, the
            network sees those of this level and of coarser ones, as in training (arXiv 2305.09636, section
            3.2); a prompt is seen at all levels.
        quantizer: Runs the graph `quantizer`, for `options.expected`.

    Returns:
        int64 [batch, frames, levels].

    Raises:
        OptionError: The inputs do not fit together.
    """
    ticks = decode_in_steps(
        engine, semantic_tokens, lengths, levels, codebook_size, options, rng, prompt, groups, cache, given,
        quantizer,
    )  # fmt: skip
    return finish(ticks)


def finish(ticks: Ticks[T]) -> T:
    """Run a computation to its end and return its result."""
    while True:
        try:
            next(ticks)
        except StopIteration as end:
            return end.value


def decode_in_steps(
    engine: Engine,
    semantic_tokens: np.ndarray,
    lengths: np.ndarray,
    levels: int,
    codebook_size: int,
    options: DecodeOptions,
    rng: np.random.Generator | Sequence[np.random.Generator],
    prompt: np.ndarray | None = None,
    groups: int = 1,
    cache: PrefixCache | None = None,
    given: np.ndarray | None = None,
    quantizer: Engine | None = None,
) -> Ticks[np.ndarray]:
    """Decode as `decode` does, and yield after every step, where the caller may stop."""
    options.check_levels(levels)
    if options.expected and (quantizer is None or engine.graph.name != "step"):
        raise OptionError(
            "expected is true, but this voice was exported without what it needs; leave it out, or export "
            "the voice again with decode.expected = true in its recipe"
        )
    order, left_out = level_order(levels, groups), options.left_out(groups)
    codes, fresh = _start(semantic_tokens, lengths, levels, codebook_size, prompt, left_out)
    later = np.zeros(fresh.shape[:2], bool)
    if given is not None:
        later = _give(codes, fresh, given, codebook_size, left_out)
    if isinstance(rng, np.random.Generator):
        seeds = rng.integers(2**63, size=len(codes))
    else:
        seeds = np.concatenate([own.integers(2**63, size=1) for own in rng])
    streams = [np.random.default_rng(seed) for seed in seeds]
    steps = planned_steps(fresh, lengths, order, options, streams)
    whole = _on_device if engine.graph.name == "step_next" else partial(_on_host, quantizer=quantizer)
    known, past = 0, dict[str, np.ndarray]()
    if cache is not None:
        known, past = _cached_frames(cache, prompt, levels), cache.feeds(engine, len(codes))
        steps = (_after(step, known) for step in steps)
    start, tokens, later = (
        np.ascontiguousarray(array[:, known:]) for array in (codes, semantic_tokens, later)
    )
    task = _Task(start, later, tokens, lengths - known, codebook_size, past)
    decoded = yield from whole(engine, task, steps, options)
    codes[:, known:] = np.where(later[..., None], start, decoded)
    codes[..., left_out] = -1
    codes[np.arange(codes.shape[1]) >= lengths[:, None]] = 0
    return codes


@dataclass(frozen=True)
class _Task:
    """What is decoded, without the frames of a cache.

    start: all codes that are known, the others masked. later: the frames, bool [batch, frames], whose codes
    are shown level by level. past: the cache, as inputs of the graph.
    """

    start: np.ndarray
    later: np.ndarray
    semantic_tokens: np.ndarray
    lengths: np.ndarray
    codebook_size: int
    past: Mapping[str, np.ndarray]

    @property
    def hidden(self) -> np.ndarray:
        """The codes that the network sees before the first level."""
        return np.where(self.later[..., None], self.codebook_size, self.start)

    def show(self, codes: np.ndarray, level: int) -> None:
        """Write the codes of a level that are shown while it is decoded."""
        codes[..., level][self.later] = self.start[..., level][self.later]


@dataclass(frozen=True)
class Step:
    """What a step takes beside the codes. None of it depends on them, so all steps can be planned first.

    level: whose codes are sampled. temperature: of the sampling. uniform: random numbers in [0, 1), float32
    [batch, frames]. stay: how many codes of the level are masked after the step, int64 [batch]. noise: added
    to the logarithm of the confidence, float32 [batch, frames]; None ranks by the confidence itself.
    """

    level: int
    temperature: float
    uniform: np.ndarray
    stay: np.ndarray
    noise: np.ndarray | None


def planned_steps(
    fresh: np.ndarray,
    lengths: np.ndarray,
    order: Sequence[int],
    options: DecodeOptions,
    streams: Sequence[np.random.Generator],
) -> Iterator[Step]:
    """Plan the steps of a decode, and draw their random numbers.

    Args:
        fresh: which codes are to be decoded, bool [batch, frames, levels].
        lengths: frames of each sample, int64 [batch].
        order: the levels in the order of decoding, to which `options.steps` belong.
        streams: of random numbers, one for each sample.
    """
    for level, steps in zip(order, options.steps, strict=True):
        total = fresh[..., level].sum(axis=1)
        remaining = total
        for step in range(steps):
            if not remaining.any():
                break
            # A sample that is finished draws nothing more, so that its codes depend on no other sample.
            counts = np.where(remaining > 0, lengths, 0)
            uniform = _draw(streams, counts, fresh.shape[:2])
            progress = (step + 1) / steps
            heat = max(COLDEST, options.temperature * (1 - progress if options.annealed else 1))
            share = masked_share(options.schedule, progress) if step + 1 < steps else 0.0
            noise = None
            if options.noise and share:
                noise = _gumbel(options.noise * (1 - progress), counts, streams, fresh.shape[:2])
            # At least one code more is kept in every step, however slowly the schedule falls.
            stay = np.minimum(np.floor(share * total), remaining - 1).clip(min=0).astype(np.int64)
            yield Step(level, heat, uniform, stay, noise)
            remaining = stay


def _start(
    semantic_tokens: np.ndarray,
    lengths: np.ndarray,
    levels: int,
    codebook_size: int,
    prompt: np.ndarray | None,
    left_out: Sequence[int],
) -> tuple[np.ndarray, np.ndarray]:
    """Return the codes, masked except those of the prompt, and which of them are to be decoded."""
    if semantic_tokens.ndim != 2 or lengths.shape != semantic_tokens.shape[:1]:
        raise OptionError(
            f"semantic tokens have shape {list(semantic_tokens.shape)} and lengths {list(lengths.shape)}, "
            "expected [batch, frames] and [batch]"
        )
    batch, frames = semantic_tokens.shape
    if prompt is None:
        prompt = np.zeros((batch, 0, levels), np.int64)
    if prompt.ndim != 3 or prompt.shape[0] != batch or prompt.shape[2] > levels:
        raise OptionError(
            f"the prompt has shape {list(prompt.shape)}, expected [{batch}, prompt frames, {levels}]"
        )
    start = prompt.shape[1]
    if np.any((lengths < max(start, 1)) | (lengths > frames)):
        raise OptionError(
            f"lengths are {lengths.tolist()}, expected {max(start, 1)} (with the prompt) to {frames} frames"
        )
    known = [level for level in range(prompt.shape[2]) if level not in left_out]
    if np.any((prompt[..., known] < 0) | (prompt[..., known] >= codebook_size)):
        raise OptionError(
            f"the prompt has codes outside 0 to {codebook_size - 1}; was it made by this codec?"
        )
    codes = np.full((batch, frames, levels), codebook_size, np.int64)
    codes[:, :start, known] = prompt[..., known]
    within = np.arange(frames) < lengths[:, None]
    return codes, (codes == codebook_size) & within[..., None]


def _give(
    codes: np.ndarray,
    fresh: np.ndarray,
    given: np.ndarray,
    codebook_size: int,
    left_out: Sequence[int],
) -> np.ndarray:
    """Write given codes, and return the frames that have them, bool [batch, frames]; they are not fresh."""
    if given.shape != codes.shape:
        raise OptionError(f"given codes have shape {list(given.shape)}, expected {list(codes.shape)}")
    kept = [level for level in range(codes.shape[2]) if level not in left_out]
    known = given[..., kept] != codebook_size
    if (known.any(axis=2) != known.all(axis=2)).any():
        raise OptionError("given codes are of some levels of a frame, expected all or none; mask the others")
    if np.any((given[..., kept] < 0) | (given[..., kept] > codebook_size)):
        raise OptionError(f"given codes are outside 0 to {codebook_size - 1}; were they made by this codec?")
    frames = known.all(axis=2) & fresh[..., kept].all(axis=2)
    rows, places = np.nonzero(frames)
    for level in kept:
        codes[rows, places, level] = given[rows, places, level]
    fresh[frames] = False
    return frames


def _cached_frames(cache: PrefixCache, prompt: np.ndarray | None, levels: int) -> int:
    """Return the frames of the prompt that a cache is of."""
    shape = [0, levels] if prompt is None else list(prompt.shape[1:])
    if shape != [cache.frames, levels]:
        raise OptionError(
            f"the cache is of a prompt [{cache.frames}, {levels}], but the prompt is {shape}; give the one "
            "that the cache was made of"
        )
    return cache.frames


def _after(step: Step, known: int) -> Step:
    """Return a step without the frames that are known."""
    noise = None if step.noise is None else step.noise[:, known:]
    return replace(step, uniform=np.ascontiguousarray(step.uniform[:, known:]), noise=noise)


def _on_host(
    engine: Engine,
    task: _Task,
    steps: Iterator[Step],
    options: DecodeOptions,
    quantizer: Engine | None = None,
) -> Ticks[np.ndarray]:
    """Take the steps with an engine of the graph `step`; this is what defines decoding."""
    codes, start, mask_token = task.hidden, task.start, task.codebook_size
    within = np.arange(codes.shape[1]) < task.lengths[:, None]
    expected: dict[int, np.ndarray] = {}  # vectors of the last step of each level
    for step in steps:
        task.show(codes, step.level)
        results = engine.run(
            {
                "codes": codes,
                "level": np.array([step.level]),
                "semantic_tokens": task.semantic_tokens,
                "lengths": task.lengths,
                "uniform": step.uniform,
                "temperature": np.array([step.temperature], np.float32),
                **task.past,
            }
        )
        if options.expected:
            expected[step.level] = results["expected"]
        of_level = codes[..., step.level]
        masked = (of_level == mask_token) & within
        of_level[masked] = _sampled(results["ids"][masked], mask_token)
        fresh = (start[..., step.level] == mask_token) & within
        candidates = fresh if options.can_mask_prev_unmasked else masked
        scores = np.zeros(masked.shape, np.float32)
        scores[candidates] = _ranked(results["confidence"][candidates])
        if step.noise is not None:
            scores = np.log(scores.clip(_TINY)) + step.noise
        of_level[_lowest(scores, candidates, step.stay)] = mask_token
        yield
    if quantizer is not None and expected:
        (nearest,) = quantizer.run({"latents": np.sum(list(expected.values()), axis=0)}).values()
        decoded = (start == mask_token) & (codes != mask_token)
        # A frame of which coarse codes were given keeps the sampled ones, which complete these.
        whole = decoded & decoded[..., list(expected)].all(axis=2, keepdims=True)
        codes[whole] = _sampled(nearest[whole], mask_token)
    return codes


def _on_device(
    engine: Engine, task: _Task, steps: Iterator[Step], options: DecodeOptions
) -> Ticks[np.ndarray]:
    """Take the same steps with an engine of the graph `step_next`.

    Everything is put where the engine computes before the first step, and the codes come back after the last:
    an engine on a GPU has all steps enqueued before it has finished the first. Codes that are shown level by
    level come to the host before each level.
    """
    frames, planned = task.start.shape[1], list(steps)
    more = engine.padded(frames) - frames
    constant = {
        "start": _longer(task.start, more, task.codebook_size),
        "semantic_tokens": _longer(task.semantic_tokens, more, 0),
        "lengths": task.lengths,
        "revise": np.array([options.can_mask_prev_unmasked], np.int64),
        **task.past,
    }
    begin = _longer(task.hidden, more, task.codebook_size)
    arrays = [*constant.values(), *(array for step in planned for array in _arrays(step, more)), begin]
    kept = iter(engine.keep(arrays))
    feeds = {name: next(kept) for name in constant}
    inputs = [{name: next(kept) for name in _OF_STEP} for _ in planned]
    codes, level = next(kept), -1
    for step, of_step in zip(planned, inputs, strict=True):
        if task.later.any() and step.level != level:
            shown = np.array(codes)
            task.show(shown[:, :frames], step.level)
            (codes,) = engine.keep([shown])
        level = step.level
        codes = engine.run({**feeds, **of_step, "codes": codes})["next_codes"]
        yield
    codes = np.array(codes)[:, :frames]
    decoded = codes[np.arange(frames) < task.lengths[:, None]][
        :, np.array([step.level for step in planned], int)
    ]
    if decoded.size:
        _sampled(decoded, task.codebook_size)
    return codes


_OF_STEP = ("level", "temperature", "uniform", "stay", "noise", "noisy")


def _arrays(step: Step, more: int) -> list[np.ndarray]:
    """Return the inputs of a step in the order of `_OF_STEP`, for so many frames more."""
    noise = np.zeros_like(step.uniform) if step.noise is None else step.noise
    return [
        np.array([step.level]),
        np.array([step.temperature], np.float32),
        _longer(step.uniform, more, 0),
        step.stay,
        _longer(noise, more, 0),
        np.array([step.noise is not None], np.int64),
    ]


def _longer(array: np.ndarray, more: int, fill: int) -> np.ndarray:
    """Fill up the frames of `[batch, frames, ...]`."""
    padding = [(0, 0), (0, more), *((0, 0) for _ in array.shape[2:])]
    return np.pad(array, padding, constant_values=fill) if more else array


def _draw(streams: Sequence[np.random.Generator], counts: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Draw `counts` uniform numbers in [0, 1) for each sample from its stream, float32 [batch, frames]."""
    uniform = np.zeros(shape, np.float32)
    for row, stream, count in zip(uniform, streams, counts, strict=True):
        row[:count] = stream.random(count, dtype=np.float32)
    return uniform


_TINY = np.finfo(np.float32).tiny


def _gumbel(
    scale: float, counts: np.ndarray, streams: Sequence[np.random.Generator], shape: tuple[int, ...]
) -> np.ndarray:
    """Draw Gumbel noise of a scale, float32 [batch, frames]."""
    uniform = _draw(streams, counts, shape).clip(_TINY)
    return -scale * np.log(-np.log(uniform))


def _lowest(scores: np.ndarray, candidates: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mark, in each sample, the `counts` candidates of the lowest score."""
    lowest = np.zeros_like(candidates)
    for row, (score, candidate, count) in enumerate(zip(scores, candidates, counts, strict=True)):
        (frames,) = np.nonzero(candidate)
        lowest[row, frames[np.argsort(score[frames], kind="stable")[:count]]] = True
    return lowest


def _sampled(ids: np.ndarray, codebook_size: int) -> np.ndarray:
    if ids.min() < 0 or ids.max() >= codebook_size:
        raise EngineError(
            f"the step graph sampled codes from {ids.min()} to {ids.max()}, expected 0 to "
            f"{codebook_size - 1}; export the voice again with soundstorm-export"
        )
    return ids


def _ranked(confidence: np.ndarray) -> np.ndarray:
    if not np.isfinite(confidence).all():
        raise EngineError(
            "the step graph returned a confidence that is not a finite number; "
            "try another provider or precision, or export the voice again with soundstorm-export"
        )
    return confidence
