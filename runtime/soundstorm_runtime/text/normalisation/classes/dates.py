"""Dates, decades, and years in ranges and seasons."""

from __future__ import annotations

import re

from ..number_words import cardinal, decade, ordinal, plain, year
from ..token_class import DIGITS, LETTERS, MONTHS, Match, TokenClass, after, before, spell
from .clock_times import ZONE, clock

_ABBREVIATED = ["sept", *(month[:3] for month in MONTHS if month != "may")]
_NAMES = "|".join(
    form for name in (*MONTHS, *_ABBREVIATED) for form in (name.capitalize(), name.upper(), name)
)
MONTH = rf"(?:{_NAMES})\b\.?"
_DAY = r"(?:3[01]|[12]\d|0?[1-9])(?:st|nd|rd|th)?"
_YEAR = r"(?:1\d{3}|20\d\d)"
_TIME = rf"[T ]\d\d:\d\d(?::\d\d(?:\.\d{{1,9}})?)?(?: ?{ZONE}|[+-]\d\d:?\d\d)?"


def month_name(written: str) -> str:
    """Return the month that a name or its abbreviation begins."""
    return next(month for month in MONTHS if month.startswith(written[:3].lower()))


def _date(month: int, day: int, written_year: str) -> str | None:
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return None
    return f"{MONTHS[month - 1]} {ordinal(str(day))}, {year(written_year)}"


def _year_first(match: Match) -> str | None:
    found = re.match(r"(\d{4})[-/.](\d\d?)[-/.](\d\d?)(.*)", match[0])
    date = found and _date(int(found[2]), int(found[3]), found[1])
    if not found or not date:
        return None
    return f"{date}, {clock(found[4][1:])}" if found[4] else date


def _year_last(match: Match) -> str | None:
    """Read `11/22/2024` month first, and `24.12.2024` day first where the month can be no month."""
    first, second, last = re.split(r"[-/.]", match[0])
    if int(first) <= 12:
        return _date(int(first), int(second), last)
    if int(second) > 12 or int(first) > 31:
        return None
    return f"the {ordinal(str(int(first)))} of {MONTHS[int(second) - 1]} {year(last)}"


def _month_day(match: Match) -> str | None:
    """Read `Nov. 22, 2024`, `july 25 2012`, `Jan-15`, `June 5-7`."""
    found = re.match(rf"({MONTH})[ -]({_DAY})(?:-({_DAY}))?(?:,? ({_YEAR}))?$", match[0])
    if not found or (
        found[1] in ("may", "march", "mar") and not found[4] and after(match, 2)[:2].strip().isalpha()
    ):
        return None
    days = " to ".join(ordinal(re.sub(r"\D", "", day)) for day in (found[2], found[3]) if day)
    return f"{month_name(found[1])} {days}" + (f", {year(found[4])}" if found[4] else "")


def _day_month(match: Match) -> str | None:
    """Read `25 july 2012`, `the 4th of July`, `5-7 June`."""
    found = re.match(rf"({_DAY})(?:-({_DAY}))? (?:of )?({MONTH})(?:,? ({_YEAR}))?$", match[0])
    if not found or found[3] in ("may", "mar", "sun"):
        return None
    days = " to ".join(ordinal(re.sub(r"\D", "", day)) for day in (found[1], found[2]) if day)
    article = "" if before(match, 5).lower().endswith(("the ", "every ")) else "the "
    return f"{article}{days} of {month_name(found[3])}" + (f" {year(found[4])}" if found[4] else "")


def _month_year(match: Match) -> str:
    name, number = match[0].split()
    return f"{month_name(name)} {year(number)}"


def _month(match: Match) -> str:
    return month_name(match[0])


def _month_of_year(match: Match) -> str:
    """Read `12/2024`; with one digit, `1/2007` is a fraction."""
    month, number = match[0].split("/")
    return f"{MONTHS[int(month) - 1]} {year(number)}"


def _day_of_year(match: Match) -> str | None:
    """Read the `3/4` of `on 3/4`."""
    month, day = match[0].split("/")
    return f"{MONTHS[int(month) - 1]} {ordinal(str(int(day)))}"


def _months(match: Match) -> str:
    """Read `Jan-Feb`."""
    return " to ".join(month_name(name) for name in match[0].split("-"))


def _years(match: Match) -> str | None:
    """Read `1980-85`, `1980-1986`, the season `2019/20`, and the month `2024-03`."""
    first, sign, last = match[0][:4], match[0][4], match[0][5:]
    to = "" if sign == "/" else "and " if before(match, 9).lower().endswith("between ") else "to "
    if len(last) == 4:
        return f"{plain(first)} {to}{plain(last)}" if int(last) > int(first) else None
    if int(last) > int(first[2:]):
        return f"{plain(first)} {to}{year(last)}"
    return f"{MONTHS[int(last) - 1]} {year(first)}" if sign == "-" and 1 <= int(last) <= 12 else None


def _decades(match: Match) -> str:
    read = " to ".join(decade(number) for number in re.findall(r"\d+", match[0]))
    return read


def _era(match: Match) -> str:
    number, era = re.findall(r"\d+|[A-Z][A-Z.]+", match[0])
    return f"{year(number) if len(number) == 4 else cardinal(number)} {spell(era)}"


CLASSES = [
    TokenClass(
        "year_first",
        DIGITS,
        rf"\d{{4}}(?:-\d\d?-\d\d?|/\d\d?/\d\d?|\.\d\d?\.\d\d?)(?:{_TIME})?(?![\w/-])",
        _year_first,
    ),
    TokenClass(
        "year_last",
        DIGITS,
        r"\d\d?(?:/\d\d?/(?:\d{4}|\d\d)|-\d\d?-\d{4}|\.\d\d?\.\d{4})(?![\w/-])",
        _year_last,
    ),
    TokenClass(
        "month_day",
        LETTERS,
        rf"{MONTH}[ -]{_DAY}(?:-{_DAY})?\b(?![:.,%/]?\d"
        rf"| ?[AaPp]\.?[Mm]\b)(?:,? {_YEAR}\b(?!-))?",
        _month_day,
    ),
    TokenClass(
        "day_month", DIGITS, rf"{_DAY}(?:-{_DAY})? (?:of )?{MONTH}(?!\w)(?:,? {_YEAR}\b(?!-))?", _day_month
    ),
    TokenClass("months", LETTERS, rf"{MONTH}-{MONTH}(?!\w)", _months),
    TokenClass("month_year", LETTERS, rf"{MONTH} {_YEAR}\b(?!-)", _month_year),
    TokenClass(
        "month",
        LETTERS,
        r"(?:[Jj]an|[Ff]eb|[Aa]pr|[Aa]ug|[Ss]ept?|[Oo]ct|[Nn]ov|[Dd]ec|Mar|Jun|Jul|SEPT?"
        r"|OCT|NOV|DEC|JAN|FEB|APR|AUG)\.",
        _month,
    ),
    TokenClass("month_of_year", DIGITS, r"(?:0[1-9]|1[0-2])/(?:19|20)\d\d(?![\w/-]|\.\d)", _month_of_year),
    TokenClass(
        "day_of_year",
        DIGITS,
        r"(?<=\b[Oo]n )(?:1[0-2]|0?[1-9])/(?:3[01]|[12]\d|0?[1-9])(?![\w/]| (?:of|the|a|an)\b)",
        _day_of_year,
    ),
    TokenClass("years", DIGITS, r"(?:1[1-9]\d\d|20\d\d)[-/](?:\d{4}|\d\d)(?![\w/-]|\.\d)", _years),
    TokenClass("decades", DIGITS + "'", r"'?(?:\d{2,3}0|\d0)'?s(?:-'?(?:\d{3}0|\d0)'?s)?(?!\w)", _decades),
    TokenClass("era", DIGITS, r"\d{1,4} ?(?:BCE|BC|CE|AD|B\.C\.E?\.?|A\.D\.)(?!\w)", _era),
]
