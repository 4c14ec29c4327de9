"""Random inputs that a graph could be given: to trace it, to compare it with PyTorch, to try a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .graphs import Graph


@dataclass(frozen=True)
class FeedLimits:
    """Ranges of the values that the graphs of a voice take.

    Attributes:
        levels: Levels of the codec.
        codebook_size: Codes of each level.
        vocabulary: Number of semantic tokens.
        text_ids: Number of ids that the text stage reads, phones or tokens of a tokenizer; 0 without one.
        temperature: Temperature of the sampled codes.
    """

    levels: int
    codebook_size: int
    vocabulary: int
    text_ids: int
    temperature: float


def example_feeds(
    graph: Graph, limits: FeedLimits, lengths: Mapping[str, int], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Draw an input for each tensor of a graph.

    The first sample of a batch fills its axis; the others may be shorter. The codes of a step are masked as
    in decoding: most of those of its level, and all of the finer ones.

    Args:
        graph: The graph.
        limits: Ranges of the values.
        lengths: Length of each symbolic axis of the graph; others are ignored.
        rng: Source of the random numbers.

    Returns:
        The inputs by name.
    """
    below = {  # exclusive limits of the integers
        "codes": limits.codebook_size,
        "level": limits.levels,
        "semantic_tokens": limits.vocabulary,
        "phones": limits.text_ids,
        "token": limits.vocabulary + 1,  # the last one starts and ends a sequence
        "past_frames": 2,
        "start": limits.codebook_size,
        "noisy": 2,
        "revise": 2,
        "stay": 2,
    }
    symbols = {axis for tensor in graph.inputs for axis in tensor.axes if isinstance(axis, str)}
    longest = next((lengths[axis] for axis in ("frames", "tokens", "phones") if axis in symbols), 0)
    limits_of = {"lengths": (1, longest), "past_lengths": (0, lengths.get("prefix", 0))}
    feeds = {}
    for tensor in graph.inputs:
        shape = [lengths[axis] if isinstance(axis, str) else axis for axis in tensor.axes]
        array: np.ndarray
        if tensor.name in limits_of:
            least, most = limits_of[tensor.name]
            array = rng.integers(least, most + 1, size=shape)
            array[0] = most
        elif tensor.name == "phone_index":
            array = np.sort(rng.integers(lengths["phones"], size=shape), axis=-1)
        elif tensor.name in ("uniform", "progress"):
            array = rng.random(shape)
        elif tensor.name == "temperature":
            array = np.full(shape, limits.temperature)
        elif tensor.dtype == "int64":
            array = rng.integers(below[tensor.name], size=shape)
        else:
            array = rng.standard_normal(shape)
        feeds[tensor.name] = array.astype(tensor.dtype)
    if graph.name in ("step", "step_next"):
        codes, level = feeds["codes"], int(feeds["level"][0])
        codes[..., level][rng.random(codes.shape[:2]) < 0.9] = limits.codebook_size
        codes[..., level + 1 :] = limits.codebook_size
    if graph.name == "step_next":
        feeds["start"] = feeds["codes"]
    return feeds
