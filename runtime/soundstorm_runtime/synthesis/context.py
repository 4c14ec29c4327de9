"""What a block of frames continues: the prompt of a voice, and what was spoken since."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

import numpy as np

from ..bundle.prompts import MixedPrompt, Prompt, mixed_prompt
from ..decoding.prefix_cache import PrefixCache
from ..engines.base import Engine

MOST_PROMPTS = 8  # whose caches are kept: one of three seconds takes a few megabytes


@dataclass(frozen=True)
class Context:
    """What a block continues.

    Attributes:
        prompt: The prompt of the voice.
        spoken: Codes and semantic tokens of the blocks since.
        cache: Of both, for a block-causal network.
    """

    prompt: Prompt | None
    spoken: Prompt
    cache: PrefixCache | None = None

    @property
    def before(self) -> Prompt | None:
        """All that precedes a block."""
        if self.prompt is None:
            return self.spoken if len(self.spoken.codes) else None
        return joined(self.prompt, self.spoken)

    @property
    def frames(self) -> int:
        """Frames that precede a block."""
        return len(self.spoken.codes) + (len(self.prompt.codes) if self.prompt else 0)


def joined(first: Prompt, second: Prompt) -> Prompt:
    """Return what was spoken one after the other."""
    return Prompt(
        np.concatenate([first.codes, second.codes]),
        np.concatenate([first.semantic_tokens, second.semantic_tokens]),
    )


def last_tokens(prompt: Prompt, tokens: int) -> Prompt:
    """Return the end of a prompt, of so many semantic tokens at most."""
    if isinstance(prompt, MixedPrompt):
        return mixed_prompt([(weight, last_tokens(own, tokens)) for weight, own in prompt.parts])
    per_token = len(prompt.codes) // len(prompt.semantic_tokens)
    return Prompt(prompt.codes[-tokens * per_token :], prompt.semantic_tokens[-tokens:])


class PrefixCaches:
    """Computes the caches of a block-causal network, and keeps those of the prompts used last.

    Threads may share it.

    Args:
        prefix: The engine of the graph `prefix`.
        per_token: Frames of a semantic token.
        codebook_size: The id of a masked code.
    """

    def __init__(self, prefix: Engine, per_token: int, codebook_size: int) -> None:
        self._prefix, self._per_token, self._mask_token = prefix, per_token, codebook_size
        self._kept: OrderedDict[tuple[bytes, bytes], PrefixCache] = OrderedDict()
        self._lock = Lock()

    def of(self, prompt: Prompt | None, left_out: list[int]) -> PrefixCache:
        """Return the cache of a voice's prompt, of several prompts the mean of theirs.

        Args:
            prompt: The prompt.
            left_out: Levels that are not decoded.
        """
        if isinstance(prompt, MixedPrompt):
            return PrefixCache.mixed([(weight, self.of(own, left_out)) for weight, own in prompt.parts])
        empty = PrefixCache.empty(self._prefix)
        if prompt is None:
            return empty
        key = (self._shown(prompt.codes, left_out).tobytes(), prompt.semantic_tokens.tobytes())
        with self._lock:
            if key not in self._kept:
                self._kept[key] = self.extended(empty, prompt, left_out)
            self._kept.move_to_end(key)
            while len(self._kept) > MOST_PROMPTS:
                self._kept.popitem(last=False)
            return self._kept[key]

    def extended(self, cache: PrefixCache, block: Prompt, left_out: list[int]) -> PrefixCache:
        """Return a cache with one finished block more."""
        tokens = np.repeat(block.semantic_tokens, self._per_token)
        return cache.extended(self._prefix, self._shown(block.codes, left_out), tokens)

    def _shown(self, codes: np.ndarray, left_out: list[int]) -> np.ndarray:
        """Return codes as the decode loop shows them to the network: those that are left out are masked."""
        shown = codes.copy()
        shown[:, left_out] = self._mask_token
        return shown
