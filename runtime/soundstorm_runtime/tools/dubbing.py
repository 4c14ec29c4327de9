"""Speech in the slots of subtitles: each cue is spoken from its start to its end."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, takewhile
from pathlib import Path

import numpy as np

from ..errors import OptionError, TextError
from ..support.files import read_text, reason
from ..synthesis.options import SPEEDS, SynthesisOptions
from ..voice import Voice

SLOWEST = 1.25  # factor by which a cue is stretched at most to fill its slot; silence fills the rest
LARGEST = 16 << 20  # bytes of a file of subtitles
LATEST = 12 * 3600  # seconds at which a subtitle may end

_CLOCK = r"(?:(\d{1,3}):)?([0-5]?\d):([0-5]\d)[,.](\d{3})"
_TIMES = re.compile(rf"{_CLOCK}\s*-->\s*{_CLOCK}(?:\s.*)?")
_HAS_TIMES = re.compile(r"\d\s*-->")  # also where they are miswritten
_TAGS = re.compile(r"<[^<>]{1,200}>|\{\\[^{}]{1,200}\}")


@dataclass(frozen=True)
class Cue:
    """A subtitle.

    Attributes:
        number: Its place in the file, from 1.
        start: Seconds at which it starts.
        end: Seconds at which it ends.
        text: What is spoken.
    """

    number: int
    start: float
    end: float
    text: str


def read_cues(path: Path) -> list[Cue]:
    """Read subtitles, SubRip (.srt) or WebVTT (.vtt); tags of formatting are removed.

    Raises:
        OptionError: The file cannot be read or has no subtitles, times are miswritten, or some overlap: all
            of those are listed.
    """
    try:
        content = read_text(path, LARGEST)
    except (OSError, ValueError) as error:
        raise OptionError(
            f"cannot read {path} ({reason(error)}); expected subtitles, .srt or .vtt"
        ) from error
    try:
        cues = list(_cues(content))
    except OptionError as error:
        raise OptionError(f"{path}: {error}") from error
    if not cues:
        raise OptionError(f"{path} has no subtitles with times such as 00:00:01,000 --> 00:00:02,500")
    last, wrong = 0.0, []
    for cue in cues:
        if not last <= cue.start < cue.end:
            wrong.append(
                f"{cue.number} is from {cue.start:.3f} to {cue.end:.3f} s, expected to start at {last:.3f} s "
                "or later"
            )
        last = max(last, cue.end)
    if wrong:
        raise OptionError(
            f"{path}: {len(wrong)} of {len(cues)} subtitles overlap the ones before, or do not end after "
            f"they start; correct their times. Subtitle {'; '.join(wrong)}"
        )
    if last > LATEST:
        raise OptionError(f"{path}: subtitles end at {last:.0f} s, expected {LATEST} s at most; divide them")
    return cues


def fit_cues(voice: Voice, cues: Sequence[Cue], options: SynthesisOptions) -> Iterator[np.ndarray]:
    """Speak subtitles, each in its slot.

    A cue starts with its slot. Speech that is longer than its slot is sped up until it fits; shorter
    speech is slowed down by at most `SLOWEST`, and silence follows.

    Args:
        voice: The voice.
        cues: The subtitles, in order.
        options: How they are spoken, without `duration` and `budget_ms`; `speed` is that of cues that fit.

    Yields:
        Pieces of audio, float32 [samples], which end with the last slot.

    Raises:
        OptionError: Cues would be spoken faster than the limit of `speed`: all of them are listed. Raised at
            the call.
        TextError: Cues have nothing that can be spoken: all of them are listed. Raised at the call.
    """
    if options.duration is not None or options.budget_ms is not None:
        raise OptionError("subtitles have times of their own and take no duration or budget_ms; leave it out")
    wrong = list[str]()
    lasting = []
    for cue in cues:
        try:
            lasting.append(min(cue.end - cue.start, SLOWEST * voice.seconds(cue.text, options)))
        except TextError as error:
            wrong.append(f"subtitle {cue.number}: {error}")
    if wrong:
        raise TextError("; ".join(wrong))
    for cue, seconds in zip(cues, lasting, strict=True):
        try:
            voice.seconds(cue.text, replace(options, speed=1.0, duration=seconds))
        except OptionError as error:
            wrong.append(f"{cue.number} {cue.text[:40]!r}: {error}")
    if wrong:
        raise OptionError(
            f"{len(wrong)} of {len(cues)} subtitles do not fit at {SPEEDS[1]:g} times the usual speed; give "
            f"them more time or fewer words. {'; '.join(wrong)}"
        )
    return _spoken(voice, cues, lasting, options)


def _spoken(
    voice: Voice, cues: Sequence[Cue], lasting: Sequence[float], options: SynthesisOptions
) -> Iterator[np.ndarray]:
    made = 0
    for cue, seconds in zip(cues, lasting, strict=True):
        start, end = round(cue.start * voice.sample_rate), round(cue.end * voice.sample_rate)
        audio = voice.speak(cue.text, replace(options, speed=1.0, duration=seconds))[: end - start]
        for first in range(made, start, voice.sample_rate):  # hours of silence need no memory
            yield np.zeros(min(voice.sample_rate, start - first), np.float32)
        yield np.pad(audio, (0, end - start - len(audio)))
        made = end


def _cues(content: str) -> Iterator[Cue]:
    """Yield the subtitles of a file that have a text.

    A text goes on until the next times, in WebVTT, which has notes, until a blank line.

    Raises:
        OptionError: A line has miswritten times.
    """
    is_vtt, lines = content.startswith("WEBVTT"), re.split(r"\r\n|\r|\n", content)
    places = [place for place, line in enumerate(lines) if _HAS_TIMES.search(line)]
    for number, (place, following) in enumerate(pairwise([*places, len(lines)]), 1):
        found = _TIMES.fullmatch(lines[place].strip())
        if not found:
            raise OptionError(
                f"line {place + 1} is {lines[place][:80]!r}, expected times such as "
                "00:00:01,000 --> 00:00:02,500"
            )
        said = lines[place + 1 : following]
        if is_vtt:
            said = list(takewhile(str.strip, said))
        elif following < len(lines) and said and said[-1].strip().isdigit():
            said.pop()  # the number of the next one
        text = " ".join(_TAGS.sub("", " ".join(said)).split())
        text = html.unescape(text) if is_vtt else text
        if text:
            yield Cue(number, _at(found.groups()[:4]), _at(found.groups()[4:]), text)


def _at(clock: Sequence[str | None]) -> float:
    hours, minutes, seconds, milliseconds = (int(part or 0) for part in clock)
    return 3600 * hours + 60 * minutes + seconds + milliseconds / 1000
