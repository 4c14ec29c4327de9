"""Turns of a dialogue, and scripts that they are read from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from numbers import Real

from ...bundle.prompts import Prompt
from ...errors import TextError
from ...support.files import parse_json
from ...text.markup import MarkedText

MOST_TURNS = 1000
LONGEST_GAP = 60.0  # seconds

_LINES = [
    # anna: Hello.
    re.compile(r"\s*(?P<voice>[^\s:\[\]{}<>][^:\[\]{}<>]{0,99}?)\s*:(?:\s+(?P<text>.*))?"),
    # anna:Hello. But neither 10:30 nor http://...
    re.compile(r"\s*(?P<voice>[^\W\d_][\w.-]{0,99}):(?P<text>(?:[^\W\d_]|[\"'“(\[]).*)"),
    # anna:0.7,ben:0.3: Hello.
    re.compile(
        r"\s*(?P<voice>(?:[^\s:,]{1,99}:[\d.]{1,9},){1,9}[^\s:,]{1,99}:[\d.]{1,9})\s*:(?:\s+(?P<text>.*))?"
    ),
]
_BOLD = re.compile(r"\s*\*\*(?P<voice>[^*:]{1,100})(?::\*\*|\*\*\s*:)")  # **anna:** or **anna**: in Markdown
_GAP = re.compile(
    r"\s*\[(?P<kind>gap|overlap) (?P<amount>\d{1,6}(?:\.\d{1,6})?) ?(?P<unit>ms|s)\]\s*", re.IGNORECASE
)
_MISWRITTEN = re.compile(r"\[\s?(?:gap|overlap)(?![a-z])[^\]]{0,40}\]?", re.IGNORECASE)


@dataclass(frozen=True)
class Turn:
    """What one speaker says before another one does.

    Attributes:
        voice: A named voice, a prompt, or a prompt file; None for the default.
        text: What is said. At its start, `[gap 0.5s]` or `[overlap 0.3s]` are the same as `gap`.
        gap: Seconds of silence between the turns before and this one; below 0, both speak for so long. A
            longer overlap than the turn makes it a back-channel, inside the turn before. None for the usual
            gap.

    Raises:
        TextError: The gap is too long, given twice, or not at the start.
        TypeError: The text is no string, or the gap no number.
    """

    voice: str | Prompt | None
    text: str
    gap: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.text, str) or not isinstance(self.gap, Real | None):
            raise TypeError(
                f"a turn has the text {self.text!r} and the gap {self.gap!r}, expected a string and a number"
            )
        if found := _GAP.match(self.text):
            if self.gap is not None:
                raise TextError(
                    f"the turn {self.text[:40]!r} has a gap, and {self.gap:g} s was given; choose"
                )
            object.__setattr__(self, "gap", _seconds(found))
            object.__setattr__(self, "text", self.text[found.end() :])
        if wrong := _MISWRITTEN.search(self.text):
            raise TextError(
                f"a turn has {wrong[0]!r}, expected such as [gap 0.5s] or [overlap 300ms], once, at its start"
            )
        if self.gap is not None and not -LONGEST_GAP <= self.gap <= LONGEST_GAP:
            raise TextError(f"a gap is {self.gap:g} s, expected {-LONGEST_GAP:g} to {LONGEST_GAP:g}")


def _seconds(found: re.Match[str]) -> float:
    """Return the gap that is written, below 0 for an overlap."""
    amount = float(found["amount"]) / (1000 if found["unit"].lower() == "ms" else 1)
    return -amount if found["kind"].lower() == "overlap" else amount


def take_gaps(document: MarkedText) -> tuple[MarkedText, list[tuple[int, float]]]:
    """Take gaps such as `[overlap 0.3s]` out of what SSML was read to.

    Returns:
        The text without them, and where the SSML has each of them, with its seconds.
    """
    gaps: list[tuple[int, float]] = []

    def taken(found: re.Match[str]) -> str:
        gaps.append((document.source.span(*found.span())[0], _seconds(found)))
        return " "

    return replace(document, source=document.source.sub(_GAP, taken)), gaps


def check_turns(turns: Iterable[Turn | tuple[str | Prompt | None, str]]) -> list[Turn]:
    """Return turns, which may be pairs of voice and text.

    Raises:
        TextError: There are none, or too many.
        TypeError: One of them is neither.
    """
    found = list(turns)
    if not 1 <= len(found) <= MOST_TURNS:
        raise TextError(f"a dialogue has {len(found)} turns, expected 1 to {MOST_TURNS}")
    return [turn if isinstance(turn, Turn) else _turn(turn) for turn in found]


def _turn(pair: object) -> Turn:
    if not (isinstance(pair, tuple | list) and len(pair) == 2 and isinstance(pair[1], str)):
        raise TypeError(f"a turn is {str(pair)[:40]!r}, expected a Turn, or a pair of voice and text")
    return Turn(*pair)


def read_script(text: str) -> list[Turn]:
    """Read a script: a line for each turn, or JSON lines.

    A line is `anna: Good morning.`, or `anna:` with the text on the lines after it; a line without a name
    continues the turn before. A line of JSON is an object with `voice` and `text`, and optionally `gap`.
    Blank lines and a byte-order mark are ignored.

    Raises:
        TextError: A line is neither; with its number.
    """
    text = text.removeprefix("\ufeff")
    is_json = text.lstrip().startswith("{")
    # JSON may have other line breaks, such as U+2028, inside its strings.
    every = re.split(r"\r\n|\r|\n", text) if is_json else text.splitlines()
    lines = [(number, line) for number, line in enumerate(every, 1) if line.strip()]
    turns = list(_json_turns(lines) if is_json else _plain_turns(lines))
    return check_turns(turns)


def _plain_turns(lines: Sequence[tuple[int, str]]) -> Iterator[Turn]:
    first, voice, said = 0, "", list[str]()
    for number, written in lines:
        line = _BOLD.sub(r"\g<voice>: ", written, count=1) if _BOLD.match(written) else written
        matches = (kind.fullmatch(line) for kind in _LINES)
        if found := next(filter(None, matches), None):
            if said:
                yield _turn_of_line(first, voice, " ".join(said).strip())
            first, voice, said = number, found["voice"], [(found["text"] or "").strip()]
        elif said:
            said.append(line.strip())
        else:
            raise TextError(
                f"line {number} is {written[:40]!r}, expected a voice and what it says: 'anna: Hello.'"
            )
    if said:
        yield _turn_of_line(first, voice, " ".join(said).strip())


def _turn_of_line(number: int, voice: str | None, text: str, gap: float | None = None) -> Turn:
    try:
        return Turn(voice, text, gap)
    except TextError as error:
        raise TextError(f"line {number}: {error}") from error


def _json_turns(lines: Sequence[tuple[int, str]]) -> Iterator[Turn]:
    for number, line in lines:
        try:
            data = parse_json(line)
            strange = sorted(set(data) - {"voice", "text", "gap"})
            if strange:
                raise ValueError(f"it has the key {strange[0]!r}, expected voice, text and gap")
            if not isinstance(data["text"], str) or not isinstance(data.get("voice"), str | None):
                raise ValueError("voice and text are strings")
            gap = data.get("gap")
            if isinstance(gap, bool) or not isinstance(gap, int | float | None):
                raise ValueError("gap is a number")
            gap = None if gap is None else float(gap)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise TextError(
                f"line {number} is {line[:40]!r} ({error}), expected such as "
                '{"voice": "anna", "text": "Hello."}'
            ) from error
        yield _turn_of_line(number, data.get("voice"), data["text"], gap)
