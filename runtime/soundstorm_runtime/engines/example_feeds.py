"""Inputs that a graph could meet, drawn at random: to try every graph of a bundle."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..bundle.manifest import Manifest
from .graphs import Graph


def example_feeds(
    manifest: Manifest, graph: Graph, lengths: Mapping[str, int], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Draw inputs of `graph` by name, with the given lengths of its symbolic axes, all of them filled."""
    below = {  # exclusive limits of the integers
        "codes": manifest.audio.codebook_size,
        "level": manifest.audio.levels,
        "semantic_tokens": manifest.semantic.vocabulary,
        "phones": len(manifest.text.symbols) if manifest.text else 0,
        "token": manifest.semantic.vocabulary,
        "phone_index": lengths["phones"],
    }
    filled = next((symbol for symbol in ("frames", "tokens", "phones") if symbol in _symbols(graph)), "")
    if graph.name == "text_step":  # its lengths are those of what it listens to
        filled = "phones"
    feeds = {}
    for tensor in graph.inputs:
        shape = [lengths[axis] if isinstance(axis, str) else axis for axis in tensor.axes]
        array: np.ndarray
        if tensor.name == "lengths":
            array = np.full(shape, lengths[filled])
        elif tensor.dtype == "int64":
            array = np.sort(rng.integers(below[tensor.name], size=shape), axis=-1)
        else:
            array = rng.uniform(0.1, 0.9, shape)  # a probability, a temperature, a hidden state
        feeds[tensor.name] = array.astype(tensor.dtype)
    return feeds


def _symbols(graph: Graph) -> set[str]:
    return {axis for tensor in graph.inputs for axis in tensor.axes if isinstance(axis, str)}
