"""How a text is spoken: `SynthesisOptions`, which all methods of a voice share, and what they come to."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypedDict, cast

import numpy as np

from ..bundle.manifest import Manifest
from ..bundle.prompts import SUFFIX, Prompt, check_prompt, mixed_prompt, read_prompt
from ..decoding.maskgit import DecodeOptions
from ..errors import OptionError
from ..text.words import PAUSES, Sentence, Style

PAUSE_SECONDS = 0.15
LONGEST_PAUSE = 60.0  # seconds
SPEEDS = 0.25, 4.0
MOST_MIXED = 4  # voices of a mixture
LOUDEST = 4.0  # volume: 12 dB above the voice's own

_WEIGHT = r"(?:\d{1,6}(?:\.\d{0,6})?|\.\d{1,6})"
_WEIGHTED = re.compile(rf"(?P<name>[^:()]+)(?:: ?(?P<weight>{_WEIGHT})|\((?P<count>{_WEIGHT})\))?")


@dataclass(frozen=True)
class SynthesisOptions:
    """Options of one synthesis. The same voice, text and options give the same audio.

    Raises:
        OptionError: A value is out of range, or two values contradict each other.
    """

    # Speaker and sampling
    # A named voice, a `Prompt`, a prompt file (.npz), or a mixture such as "anna:0.7,ben:0.3" or
    # "anna(2)+ben(1)"; None: the default
    voice: str | Prompt | None = None
    seed: int = 0  # seed of every random number that is drawn

    # Timing
    speed: float = 1.0  # speech rate relative to the voice's own, 0.25 to 4; the pitch does not change
    pause: float = PAUSE_SECONDS  # seconds of silence between two sentences, at speed 1
    paragraph_pause: float | None = None  # the same where a blank line separates them; None: like `pause`
    mark_pauses: Mapping[str, float] | None = field(default=None, hash=False)  # the same after a mark, such
    # as {",": 0.3, "?": 0.5}; also within a sentence, where the voice decides on others
    duration: float | None = None  # seconds that the whole text lasts, in place of `speed`; not in a stream
    budget_ms: float | None = None  # milliseconds until the first audio: fewer steps, or, in a stream, a
    # first block as long as fits. None: the voice's own steps, and the shortest first block

    # Level
    volume: float = 1.0  # factor of the amplitude, 0 to 4; what would be louder than full scale is clipped

    # Decoding of the codes
    decode: DecodeOptions | None = None  # all options of the decode loop; None: the voice's own
    steps: Sequence[int] | None = None  # steps per level, coarse to fine, in place of `decode.steps`
    # Sampling temperature, in place of `decode.temperature`; the codes are then the sampled ones, also of a
    # voice that takes the expected ones, `decode.expected`
    temperature: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.voice, str | Prompt | None):
            raise OptionError(
                f"voice is {self.voice!r}, expected a name, the name of a file as a string, or a Prompt"
            )
        if isinstance(self.seed, bool) or not isinstance(self.seed, int | np.integer) or self.seed < 0:
            raise OptionError(f"seed is {self.seed!r}, expected a whole number of 0 or more")
        least, most = SPEEDS
        if not least <= self.speed <= most:
            raise OptionError(
                f"speed is {self.speed:g}, expected {least:g} to {most:g}; 1 is the voice's own"
            )
        for name, pause in (("pause", self.pause), ("paragraph_pause", self.paragraph_pause)):
            if pause is not None and not 0 <= pause <= LONGEST_PAUSE:
                raise OptionError(f"{name} is {pause:g} s, expected 0 to {LONGEST_PAUSE:g}")
        for mark, pause in (self.mark_pauses or {}).items():
            if len(mark) != 1 or mark not in PAUSES or not 0 <= pause <= LONGEST_PAUSE:
                raise OptionError(
                    f"mark_pauses has {pause!r} s for {mark!r}, expected 0 to {LONGEST_PAUSE:g} for one of "
                    f"{' '.join(PAUSES)}"
                )
        if not 0 <= self.volume <= LOUDEST:
            raise OptionError(f"volume is {self.volume:g}, expected 0 to {LOUDEST:g}; 1 is the voice's own")
        if self.duration is not None and self.speed != 1:
            raise OptionError("duration and speed were both given; give one of them")
        if self.budget_ms is not None and not 0 < self.budget_ms < float("inf"):
            raise OptionError(f"the budget is {self.budget_ms:g} ms, expected a number above 0")
        if self.steps is not None:
            object.__setattr__(self, "steps", tuple(self.steps))


class SharedKeywords(TypedDict, total=False):
    """The fields of `SynthesisOptions` that are the same for all texts of a batch."""

    speed: float
    pause: float
    paragraph_pause: float | None
    mark_pauses: Mapping[str, float] | None
    volume: float
    duration: float | None
    budget_ms: float | None
    decode: DecodeOptions | None
    steps: Sequence[int] | None
    temperature: float | None


class Keywords(SharedKeywords, total=False):
    """The fields of `SynthesisOptions` as keywords."""

    voice: str | Prompt | None
    seed: int


class BatchKeywords(SharedKeywords, total=False):
    """The same for several texts: one voice and seed for all of them, or a list with one for each."""

    voice: str | Prompt | Sequence[str | Prompt | None] | None
    seed: int | Sequence[int]


@dataclass(frozen=True)
class ResolvedOptions:
    """`SynthesisOptions` for one voice: checked, and with a value for everything.

    Attributes:
        prompt: The prompt that the speech continues, None for a voice without one.
        seed: Seed of every random number.
        decode: Options of the decode loop.
        stretch: Factor of all durations: 1 / speed.
        pause: Samples of silence between two sentences.
        paragraph_pause: The same where a blank line separates them.
        mark_pauses: Seconds of silence after each mark that has a pause of its own, at speed 1.
        volume: Factor of the amplitude.
        sample_rate: Samples a second.
        duration: Seconds that the whole text lasts, None for its natural length.
        budget: Seconds until the first audio, 0 for as few as possible.
        voices: The named voices of the bundle.
    """

    prompt: Prompt | None
    seed: int
    decode: DecodeOptions
    stretch: float = 1.0
    pause: int = 0
    paragraph_pause: int = 0
    mark_pauses: Mapping[str, float] = field(default_factory=dict)
    volume: float = 1.0
    sample_rate: int = 0
    duration: float | None = None
    budget: float = 0.0
    voices: Mapping[str, Prompt] = field(default_factory=dict)

    def pause_after(self, sentence: Sentence) -> int:
        """Return the samples of silence after a sentence; 0 where the text asks for its own."""
        if sentence.silence is not None:
            return 0
        if sentence.ends_paragraph:
            return self.paragraph_pause
        seconds = self.mark_pauses.get(sentence.words[-1].pause)
        return self.pause if seconds is None else round(seconds * self.stretch * self.sample_rate)

    def styled(self, style: Style) -> ResolvedOptions:
        """Return the options of a sentence for which markup asks for another speed, volume or voice.

        Raises:
            OptionError: The bundle does not have the voice.
        """
        if style == Style():
            return self
        prompt = self.prompt if style.voice is None else named_prompt(style.voice, self.voices)
        return replace(
            self, prompt=prompt, stretch=self.stretch / style.speed, volume=self.volume * style.volume
        )


def merge(options: SynthesisOptions | DecodeOptions | None, keywords: Keywords) -> SynthesisOptions:
    """Return `options` with the values of `keywords` in place of their own.

    Args:
        options: The options to start from; `DecodeOptions` alone are those with only `decode` set.
        keywords: Fields of `SynthesisOptions`.

    Raises:
        OptionError: A value is out of range.
        TypeError: A keyword is not an option, or `options` are of another type.
    """
    if isinstance(options, DecodeOptions):
        options = SynthesisOptions(decode=options)
    if not isinstance(options, SynthesisOptions | None):
        raise TypeError(
            f"options are of type {type(options).__name__}, expected SynthesisOptions; give single options "
            "by keyword, such as speed=1.2"
        )
    known = [field.name for field in fields(SynthesisOptions)]
    for name in keywords:
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"valid options: {', '.join(known)}"
            raise TypeError(f"{name!r} is not an option of speech; {hint}")
    return replace(options or SynthesisOptions(), **keywords)


def merge_each(
    options: SynthesisOptions | DecodeOptions | Sequence[SynthesisOptions] | None,
    keywords: BatchKeywords,
    count: int,
) -> list[SynthesisOptions]:
    """Return the options of each of `count` texts.

    Args:
        options: Options for all texts, or a list with those of each.
        keywords: Fields of `SynthesisOptions`; `voice` and `seed` may be lists with a value for each text.
        count: How many texts there are.

    Raises:
        OptionError: A value is out of range, or a list has another length.
        TypeError: A keyword is not an option.
    """
    each: list[SynthesisOptions | DecodeOptions | None] = _one_each("options", options, count)
    rows = [cast(dict[str, Any], dict(keywords)) for _ in range(count)]
    for name in ("voice", "seed"):
        if name in keywords:
            for row, value in zip(rows, _one_each(name, keywords[name], count), strict=True):
                row[name] = value
    return [merge(own, cast(Keywords, row)) for own, row in zip(each, rows, strict=True)]


def resolve(options: SynthesisOptions, manifest: Manifest, prompts: Mapping[str, Prompt]) -> ResolvedOptions:
    """Return what the options come to for a voice.

    Args:
        options: Options as the user gave them.
        manifest: Manifest of the voice.
        prompts: The named prompts of the voice.

    Raises:
        OptionError: The voice does not have what was asked for.
        BundleError: The prompt file cannot be read or was made for another voice.
    """
    decode = options.decode or manifest.decode
    if options.steps is not None:
        decode = replace(decode, steps=tuple(options.steps))
    if options.temperature is not None:
        decode = replace(decode, temperature=options.temperature, expected=False)
    decode.check_levels(manifest.audio.levels)
    stretch = 1 / options.speed
    paragraph_pause = options.pause if options.paragraph_pause is None else options.paragraph_pause
    return ResolvedOptions(
        prompt=_prompt(options.voice, manifest, prompts),
        seed=int(options.seed),
        decode=decode,
        stretch=stretch,
        pause=round(options.pause * stretch * manifest.audio.sample_rate),
        paragraph_pause=round(paragraph_pause * stretch * manifest.audio.sample_rate),
        mark_pauses=options.mark_pauses or {},
        volume=options.volume,
        sample_rate=manifest.audio.sample_rate,
        duration=options.duration,
        budget=(options.budget_ms or 0.0) / 1000,
        voices=prompts,
    )


def mixture(name: str) -> list[tuple[float, str]]:
    """Read the name of a mixture of voices: `anna:0.7,ben:0.3`, `anna(2)+ben(1)` or `anna+ben`.

    Returns:
        Weights above 0, and names; nothing for a single name without a weight.

    Raises:
        OptionError: It has a weight that is none, the same voice twice, or too many.
    """
    names = re.split(r"[,+]", name)
    parts = []
    for written in names:
        found = _WEIGHTED.fullmatch(written.strip())
        weight = found and (found["weight"] or found["count"])
        if len(names) == 1 and not weight:
            return []
        if not found:
            raise OptionError(
                f"the mixture {name!r} has {written.strip()!r}, expected such as 'anna:0.7,ben:0.3' or "
                "'anna(2)+ben(1)', with weights of 0 or more"
            )
        parts.append((float(weight or 1), found["name"].strip()))
    if len({own for _, own in parts}) < len(parts) or len(parts) > MOST_MIXED:
        raise OptionError(
            f"the mixture {name!r} names {len(parts)} voices, expected 1 to {MOST_MIXED} different"
        )
    parts = [(weight, own) for weight, own in parts if weight]
    if not parts:
        raise OptionError(f"the mixture {name!r} has no weight above 0; give one")
    return parts


def _prompt(voice: str | Prompt | None, manifest: Manifest, prompts: Mapping[str, Prompt]) -> Prompt | None:
    if isinstance(voice, Prompt):
        check_prompt(voice, manifest, "the prompt")
        return voice
    name = manifest.speaker if voice is None else voice
    if name is None:
        return None
    is_file = name.endswith(SUFFIX) and Path(name).is_file()  # whose path may have a comma
    if name not in prompts and not is_file and (parts := mixture(name)):
        return mixed_prompt([(weight, _single(own, manifest, prompts)) for weight, own in parts])
    return _single(name, manifest, prompts)


def _single(name: str, manifest: Manifest, prompts: Mapping[str, Prompt]) -> Prompt:
    return read_prompt(Path(name), manifest) if name.endswith(SUFFIX) else named_prompt(name, prompts)


def named_prompt(name: str, prompts: Mapping[str, Prompt]) -> Prompt:
    """Return the prompt of a named voice. Raises `OptionError` where the bundle does not have it."""
    if name not in prompts:
        known = f"has the voices {', '.join(prompts)}" if prompts else "has no named voices"
        raise OptionError(f"voice {name!r} was asked for, but the bundle {known}; take what it has")
    return prompts[name]


def _one_each(name: str, value: Any, count: int) -> list[Any]:
    """Return a list with a value for each of `count` texts, from such a list or from one value for all."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        return [value] * count
    if len(value) != count:
        raise OptionError(f"{name} has {len(value)} values for {count} texts; give one, or one for each")
    return list(value)
