"""What a block-causal network computed of the frames before a block (Block Diffusion, arXiv 2503.09573).

Frames of a finished block attend to that block and those before it alone, so that their keys, values and
convolution inputs are the same in every step. The graph `prefix` computes them once; the graph `step` has
them as inputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from ..engines.base import Engine
from ..engines.padding import shapes_of

# Frames of the blocks that a stream decodes one after the other; networks are trained on these lengths.
BLOCK_FRAMES = (16, 24, 32, 48, 64, 96, 128, 192)


@dataclass(frozen=True)
class PrefixCache:
    """The cache of one sample.

    Attributes:
        keys: float32 [1, layers, frames, width].
        values: Alike.
        convolved: The last inputs of the convolutions, float32 [1, layers, before, channels].
    """

    keys: np.ndarray
    values: np.ndarray
    convolved: np.ndarray

    @classmethod
    def empty(cls, prefix: Engine) -> PrefixCache:
        """Return the cache of no frames, for an engine of the graph `prefix`."""
        shapes = shapes_of(prefix.graph.inputs, {"batch": 1, "prefix": 0, "frames": 0})
        keys, convolved = (np.zeros(shapes[name], np.float32) for name in ("past_keys", "past_convolved"))
        return cls(keys, keys, convolved)

    @classmethod
    def mixed(cls, parts: Sequence[tuple[float, PrefixCache]]) -> PrefixCache:
        """Return the weighted mean of caches of equally many frames.

        It means something where their frames correspond, as where several voices say the same in the same
        time: the keys then have the same position and nearly the same content.

        Args:
            parts: Weights that add up to 1, and caches.
        """
        names = [field.name for field in fields(cls)]
        return cls(*(sum(np.float32(weight) * getattr(own, name) for weight, own in parts) for name in names))

    @property
    def frames(self) -> int:
        """Frames that the cache is of."""
        return self.keys.shape[2]

    def feeds(self, engine: Engine, batch: int) -> dict[str, np.ndarray]:
        """Return the inputs of `prefix` or `step` for a batch of samples that all continue this one."""
        more = engine.padded(max(1, self.frames)) - self.frames
        width = ((0, 0), (0, 0), (0, more), (0, 0))
        arrays = {
            "past_keys": np.pad(self.keys, width) if more else self.keys,
            "past_values": np.pad(self.values, width) if more else self.values,
            "past_convolved": self.convolved,
            "past_lengths": np.array([self.frames]),
        }
        return {name: array.repeat(batch, axis=0) for name, array in arrays.items()}

    def extended(self, prefix: Engine, codes: np.ndarray, semantic_tokens: np.ndarray) -> PrefixCache:
        """Return the cache with a finished block after these frames.

        Args:
            prefix: Runs the graph `prefix`.
            codes: int64 [frames, levels]; the codes of levels that are left out are those of a masked code.
            semantic_tokens: int64 [frames].
        """
        block = {
            "codes": codes[None],
            "semantic_tokens": semantic_tokens[None],
            "lengths": np.array([len(codes)]),
        }
        made = prefix.run({**block, **self.feeds(prefix, batch=1)})
        return PrefixCache(
            np.concatenate([self.keys, made["keys"]], axis=2),
            np.concatenate([self.values, made["values"]], axis=2),
            np.asarray(made["convolved"]),
        )
