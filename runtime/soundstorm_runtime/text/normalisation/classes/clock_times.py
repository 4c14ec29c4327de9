"""Times of day, spans of them, ratios, and lengths of time with colons."""

from __future__ import annotations

import re

from ..number_words import cardinal
from ..token_class import DIGITS, SMALL, Match, TokenClass, spell

ZONE = (
    r"(?:Z|[Gg]\.?[Mm]\.?[Tt]|[Uu]\.?[Tt]\.?[Cc]|[ECMPecmp]\.?[SDsd]\.?[Tt]|[ECMP]T|CES?T|BST|IST|JST|AEST)\b"
)
_HALF = r"[AaPp]\.?[Mm]\b\.?"
_CLOCK = rf"\d\d?:[0-5]\d(?::[0-5]\d)?(?: ?{_HALF})?(?:,? ?{ZONE})?"
_HOUR = rf"\d\d?(?:\.[0-5]\d)? ?{_HALF}(?: ?{ZONE})?"
_PARTS = re.compile(
    r"(\d\d?)(?:[:.]([0-5]\d))?(?::([0-5]\d))?(?:\.\d+)?(?: ?([AaPp])\.?[Mm]\b\.?)?,? ?([A-Za-z][A-Za-z.]*)?"
)


def clock(text: str, *, span: bool = False) -> str:
    """Read a time: `3:45 pm` -> `three forty five p m`, `10:00` -> `ten o'clock` (`ten` in a span)."""
    found = _PARTS.match(text)
    if found is None:
        return cardinal(text) if text.isdigit() else text
    hour, minute, second, half, zone = found.groups()
    read = cardinal(str(int(hour)))
    if second is not None and int(second) and not text.startswith("T"):
        read = f"{_count(hour, 'hour')} {_count(minute, 'minute')} and {_count(second, 'second')}"
    elif minute and minute != "00":
        read += f" oh {cardinal(minute[1])}" if minute[0] == "0" else f" {cardinal(minute)}"
    elif minute and not half and not span and not zone:
        read += " o'clock"
    halves = f" {spell(half)} m" if half else ""
    return read + halves + (f" {spell(zone if zone != 'Z' else 'UTC')}" if zone else "")


def _count(number: str, unit: str) -> str:
    return f"{cardinal(str(int(number)))} {unit}{'' if int(number) == 1 else 's'}"


def _time(match: Match) -> str:
    found = _PARTS.match(match[0])
    if found is None or found[3] is None:
        return clock(match[0])
    hour, minute, second, half, zone = found.groups()
    read = f"{_count(hour, 'hour')} {_count(minute, 'minute')} and {_count(second, 'second')}"
    return read + (f" {spell(half)} m" if half else "") + (f" {spell(zone)}" if zone else "")


def _span(match: Match) -> str:
    return " to ".join(clock(part.strip(), span=True) for part in re.split(r" ?- ?", match[0], maxsplit=1))


def _ratio(match: Match) -> str:
    return " to ".join(cardinal(part) for part in match[0].split(":"))


CLASSES = [
    TokenClass(
        "time_span",
        SMALL + DIGITS,
        rf"(?:noon|midnight|{_CLOCK}|{_HOUR}"
        rf"|\d\d?(?= ?- ?\d\d?(?::\d\d)? ?{_HALF})) ?- ?(?:noon|midnight|{_CLOCK}|{_HOUR})(?!\w)",
        _span,
    ),
    TokenClass("clock", DIGITS, rf"{_CLOCK}(?![\w:])", _time),
    TokenClass("hour", DIGITS, rf"{_HOUR}(?!\w)", _time),
    TokenClass("ratio", DIGITS, r"\d{1,5}(?::\d{1,5}){1,3}(?![\w:])", _ratio),
]
