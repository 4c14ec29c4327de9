"""How something is said: what was asked for, checked against what the voice has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from ..bundle.manifest import Manifest
from ..bundle.prompts import SUFFIX, Prompt, check_prompt, read_prompt
from ..decoding.maskgit import DecodeOptions
from ..errors import OptionError
from .duration import stretch_at

T = TypeVar("T")

PAUSE_SECONDS = 0.15  # silence between two sentences, beside what each has at its ends


@dataclass(frozen=True)
class Manner:
    """In whose voice, from which seed, how codes are decoded, at which pace.

    stretch: of all durations. gap: samples of silence between two sentences.
    """

    prompt: Prompt | None
    seed: int
    options: DecodeOptions
    stretch: float
    gap: int


class Manners:
    """Makes the manners of one voice. Raises `OptionError` for what it has not, or cannot do."""

    def __init__(self, manifest: Manifest, prompts: Mapping[str, Prompt]) -> None:
        self._manifest, self._prompts = manifest, prompts

    def of(
        self,
        voice: str | Prompt | None,
        seed: int,
        options: DecodeOptions,
        speed: float = 1.0,
        pause: float = PAUSE_SECONDS,
    ) -> Manner:
        """Check everything; `pause` is in seconds, and as the durations at another `speed`."""
        if not isinstance(seed, int | np.integer) or seed < 0:
            raise OptionError(f"seed is {seed!r}, expected a whole number of 0 or more")
        if not 0 <= pause <= 60:
            raise OptionError(f"pause is {pause:g} s, expected 0 to 60")
        stretch = stretch_at(speed)
        gap = round(pause * stretch * self._manifest.audio.sample_rate)
        return Manner(self._prompt(voice), int(seed), options, stretch, gap)

    def options(
        self, steps: Sequence[int] | None, temperature: float | None, options: DecodeOptions | None
    ) -> DecodeOptions:
        """Return the options that are given, or the voice's own, with `steps` and `temperature` replaced."""
        options = options or self._manifest.decode
        if steps is not None:
            options = replace(options, steps=tuple(steps))
        if temperature is not None:
            options = replace(options, temperature=temperature)
        options.check_levels(self._manifest.audio.levels)
        return options

    def _prompt(self, voice: str | Prompt | None) -> Prompt | None:
        if isinstance(voice, Prompt):
            check_prompt(voice, self._manifest, "the prompt")
            return voice
        name = self._manifest.speaker if voice is None else voice
        if name is not None and name.endswith(SUFFIX):
            return read_prompt(Path(name), self._manifest)
        if name is not None and name not in self._prompts:
            known = f"has the voices {', '.join(self._prompts)}" if self._prompts else "has no named voices"
            raise OptionError(f"voice {name!r} was asked for, but the bundle {known}; take what it has")
        return None if name is None else self._prompts[name]


def one_each(name: str, value: T | Sequence[T], count: int) -> list[T]:
    """Give a list with a value for each of `count` texts, from such a list or from one value for all."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        return [value] * count
    if len(value) != count:
        raise OptionError(f"{name} has {len(value)} values for {count} texts; give one, or one for each")
    return list(value)
