"""What is written but not a word - numbers, dates, money, units, abbreviations, addresses - as words.

Rules run in the order of `_RULES`, each a pattern and what takes its place. The text is clean: ASCII
and currency signs, single spaces. Every pattern looks at a bounded stretch, so time stays linear.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from . import number_words as numbers

Match = re.Match[str]

_NUMBER = r"\d{1,15}(?:,\d{3})*(?:\.\d{1,30})?"
_MONTHS = ("January February March April May June July August September October November December").split()
_MONTH = rf"({'|'.join([*_MONTHS, 'Sept', *(month[:3] for month in _MONTHS)])})\b(?:\.(?=\s))?"
_ROMAN = r"(?:X{1,3}(?:IX|IV|V?I{0,3})|IX|IV|V?I{2,3}|VI?)\b"
_RULERS = (
    "Louis Henry Charles Philip George Edward Pius William Richard Ptolemy John Paul Peter "
    "Nicholas Frederick James Alfonso Ivan Napoleon Leo Gregory Catherine Elizabeth Mary Benedict"
).split()
_PARTS = "Section Chapter Part Verse Scene Act Book Volume Apollo War Phase Rocky".split()

_MONEY = {"$": ("dollar", "cent"), "£": ("pound", "penny"), "€": ("euro", "cent"), "¥": ("yen", "sen")}
_SCALES = {"k": "thousand", "K": "thousand", "m": "million", "M": "million", "bn": "billion", "B": "billion"}
_UNITS = {
    "km/h": "kilometers per hour", "kph": "kilometers per hour", "mph": "miles per hour",
    "m/s": "meters per second", "km": "kilometers", "cm": "centimeters", "mm": "millimeters",
    "m": "meters", "mi": "miles", "ft": "feet", "yd": "yards", "kg": "kilograms", "mg": "milligrams",
    "g": "grams", "lb": "pounds", "lbs": "pounds", "oz": "ounces", "ml": "milliliters", "L": "liters",
    "Hz": "hertz", "hz": "hertz", "kHz": "kilohertz", "KHz": "kilohertz", "MHz": "megahertz",
    "GHz": "gigahertz", "KB": "kilobytes", "kB": "kilobytes", "MB": "megabytes", "GB": "gigabytes",
    "TB": "terabytes", "kW": "kilowatts", "MW": "megawatts", "W": "watts", "V": "volts",
    "ms": "milliseconds", "min": "minutes", "hrs": "hours", "°C": "degrees celsius",
    "°F": "degrees fahrenheit", "°": "degrees", "%": "percent",
}  # fmt: skip
_SINGULAR = {"feet": "foot", "hertz": "hertz", "percent": "percent"}
_ABBREVIATIONS = {
    "Mr": "mister", "Mrs": "missus", "Ms": "miz", "Prof": "professor", "Jr": "junior", "Sr": "senior",
    "vs": "versus", "etc": "etcetera", "approx": "approximately", "dept": "department", "Inc": "inc",
    "Ltd": "limited", "Co": "company", "Ave": "avenue", "Blvd": "boulevard", "Rd": "road", "Mt": "mount",
    "Lt": "lieutenant", "Sgt": "sergeant", "Capt": "captain", "Col": "colonel", "Gen": "general",
    "Maj": "major", "Rev": "reverend", "Hon": "honorable", "Gov": "governor", "Sen": "senator",
    "Rep": "representative", "Pres": "president", "Fig": "figure",
}  # fmt: skip
_ADDRESS = {".": "dot", "@": "at", "/": "slash", ":": "colon", "_": "underscore", "-": "dash", "?": ",",
            "=": "equals", "&": "and", "#": "hash", "%": "percent", "~": "tilde", "+": "plus"}  # fmt: skip
_SYMBOLS = {"&": "and", "@": "at", "+": "plus", "=": "equals", "%": "percent", "/": "slash", "°": "degrees",
            "$": "dollar", "£": "pound", "€": "euro", "¥": "yen", "×": "times", "÷": "divided by",
            "±": "plus or minus", "<": "less than", ">": "greater than", "\\": "backslash"}  # fmt: skip


def letters(text: str) -> str:
    """Read by letter: `USA` -> `u s ay` (the letter a, not the article)."""
    return " ".join("ay" if c in "aA" else c.lower() for c in text if c.isalpha())


def expand(text: str) -> str:
    """Give `text` with all that is not a word written out; punctuation and capitals stay."""
    for pattern, replace in _RULES:
        text = pattern.sub(replace, text)
    return text


def _address(match: Match) -> str:
    spelled = "".join(f" {_ADDRESS[c]} " if c in _ADDRESS else c for c in match[1])
    return " " + re.sub(r"\bwww\b", "w w w", spelled) + " "


def _date(month: int, day: int, year: str) -> str | None:
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return None
    return f"{_MONTHS[month - 1].lower()} {numbers.ordinal(str(day))}, {numbers.plain(year)}"


def _iso_date(match: Match) -> str:
    return _date(int(match[2]), int(match[3]), match[1]) or match[0]


def _slash_date(match: Match) -> str:
    first, second = int(match[1]), int(match[2])
    month, day = (second, first) if first > 12 else (first, second)
    return _date(month, day, match[3]) or match[0]


def _month_day(match: Match) -> str:
    end = f", {numbers.plain(match[3])}" if match[3] else ""
    return f"{_month_name(match[1])} {numbers.ordinal(match[2])}{end}"


def _day_month(match: Match) -> str:
    return f"{numbers.ordinal(match[1])}{match[2] or ''} {_month_name(match[3])}"


def _month_name(written: str) -> str:
    return next(month.lower() for month in _MONTHS if month.startswith(written[:3]))


def _time(match: Match) -> str:
    hour, minute, second, half = match.groups()
    read = numbers.cardinal(str(int(hour)))
    if minute and minute != "00":
        read += " oh " + numbers.cardinal(minute[1]) if minute[0] == "0" else " " + numbers.cardinal(minute)
    if second:
        read += f" and {numbers.cardinal(str(int(second)))} seconds"
    return f"{read} {letters(half)} m" if half else read


def _money(match: Match) -> str:
    sign, amount, scale = match.groups()
    unit, part = _MONEY[sign]
    whole, _, rest = amount.replace(",", "").partition(".")
    if scale or len(rest) not in (0, 2):
        read = f"{numbers.cardinal(amount)} {_SCALES.get(scale, scale) or ''}"
        return f"{read} {_plural(unit)}"
    read = f"{numbers.cardinal(whole)} {unit if whole == '1' else _plural(unit)}"
    if rest in ("", "00"):
        return read
    return f"{read} {numbers.cardinal(str(int(rest)))} {part if rest == '01' else _plural(part)}"


def _plural(unit: str) -> str:
    return {"penny": "pence", "yen": "yen", "sen": "sen"}.get(unit, unit + "s")


def _unit(match: Match) -> str:
    name = _UNITS[match[2]]
    if match[1] == "1":
        first, _, rest = name.partition(" ")
        name = f"{_SINGULAR.get(first, first.removesuffix('s'))} {rest}".strip()
    return f"{numbers.cardinal(match[1])} {name}"


def _phone(match: Match) -> str:
    return ", ".join(numbers.digits(part) for part in re.findall(r"\d+", match[0]))


def _span(match: Match) -> str:
    first, last = match[1], match[2]
    if int(first) < int(last) and abs(len(first) - len(last)) < 2:
        return f"{first} to {last}"
    return _phone(match)


def _fraction(match: Match) -> str:
    whole = f"{numbers.cardinal(match[1])} and " if match[1] else ""
    return whole + numbers.fraction(match[2], match[3])


def _mixed(match: Match) -> str:
    parts = re.findall(r"[A-Za-z]+|\d+", match[0])
    return " ".join(numbers.identifier(p) if p.isdigit() else letters(p) if len(p) == 1 else p for p in parts)


def _saint_or_street(match: Match) -> str:
    title = match["next"] is not None
    if match["word"] == "St":
        return "saint" if title else "street"
    return "doctor" if title else "drive"


def _roman(text: str) -> str:
    values = [{"X": 10, "V": 5, "I": 1}[letter] for letter in text]
    pairs = zip(values, [*values[1:], 0], strict=True)
    return str(sum(value if value >= following else -value for value, following in pairs))


def _chapter_or_ruler(match: Match) -> str:
    if match["part"]:
        return f"{match['part']} {numbers.cardinal(_roman(match['roman']))}"
    return f"{match['ruler']} the {numbers.ordinal(_roman(match['roman']))}"


def _rule(pattern: str, replace: str | Callable[[Match], str]) -> tuple[re.Pattern[str], str | Callable]:
    return re.compile(pattern), replace


_ANY_UNIT = "|".join(re.escape(unit) for unit in sorted(_UNITS, key=len, reverse=True))
_RULES = [
    _rule(r"(?<![\w.+-])([\w.+-]+@[\w-]+(?:\.[\w-]+)+)", _address),
    _rule(r"\bhttps?://([\w.:/?=&#%~+-]*[\w/])", _address),
    _rule(r"(?<![\w.])(www\.[\w.-]*\w(?:/[\w./-]*\w)?)", _address),
    _rule(r"(?<![\w.])([\w-]+(?:\.[\w-]+)*\.(?:com|org|net|edu|gov|io|uk)\b(?:/[\w./-]*\w)?)", _address),
    _rule(r"(?<![\w-])(\d{4})-(\d\d)-(\d\d)(?![\w-])", _iso_date),
    _rule(r"(?<![\w/])(\d\d?)/(\d\d?)/(\d{4}|\d\d)(?![\w/])", _slash_date),
    _rule(rf"\b{_MONTH} (\d\d?)(?:st|nd|rd|th)?\b(?![:.,]?\d)(?:,? (\d{{4}})\b)?", _month_day),
    _rule(rf"\b(\d\d?)(?:st|nd|rd|th)?( of)? {_MONTH}(?!\w)", _day_month),
    _rule(r"(?:(?<=\d)|(?<=[AaPp][Mm]))-(?=\d\d?(?::[0-5]\d| ?[AaPp]\.?[Mm]\b))", " to "),
    _rule(r"(?<![\w:])(\d\d?):([0-5]\d)(?::([0-5]\d))?(?: ?([AaPp])\.?[Mm]\b\.?)?(?![\w:])", _time),
    _rule(r"(?<![\w.])(\d\d?)()() ?([AaPp])\.?[Mm]\b\.?", _time),
    _rule(rf"(?<![\w.])({_NUMBER}) ?([€£¥])", r"\2\1"),
    _rule(rf"([$£€¥]) ?({_NUMBER})(?: ?(hundred|thousand|million|billion|trillion|bn|[kKmMB])\b)?", _money),
    _rule(r"(?<![\w-])(?:\+?\d{1,3}[ -])?(?:\(\d{3}\) ?|\d{3}[ -])?\d{3}-\d{4}(?![\w-])", _phone),
    _rule(r"(?<![\w-])\d{1,15}(?:-\d{1,15}){2,}(?![\w-])", _phone),
    _rule(r"(?<![\w-])(\d{1,15})-(\d{1,15})(?![\w-])", _span),
    _rule(r"(?<![\w)])-(?=\.?\d)", "minus "),
    _rule(r"(?<![\w.])(\d{1,15}\.\d{1,30}) ?s\b", r"\1 seconds"),
    _rule(rf"(?<![\w.])({_NUMBER}) ?({_ANY_UNIT})(?![\w/])", _unit),
    _rule(r"(?<!\w)'?(\d{1,3}0)s\b", lambda match: numbers.decade(match[1])),
    _rule(r"\b(\d{1,15}(?:,\d{3})*)(?:st|nd|rd|th|ST|ND|RD|TH)\b", lambda match: numbers.ordinal(match[1])),
    _rule(r"(?<![\w/])(?:(\d{1,9}) )?(\d{1,4})/(\d{1,4})(?![\w/])", _fraction),
    _rule(r"(?<![\w.])\d{1,15}(?:\.\d{1,15}){2,}(?!\w)", lambda match: match[0].replace(".", " point ")),
    _rule(r"\b([A-G])#", r"\1 sharp "),
    _rule(r"\band/or\b", "and or"),
    _rule(r"#(?=\d)|\b[Nn]os?\. ?(?=\d)", "number "),
    _rule(rf"\b(?:(?P<part>{'|'.join(_PARTS)})"
          rf"|(?P<ruler>{'|'.join(_RULERS)}|(?:King|Queen|Pope|Tsar) [A-Z]\w+))"
          rf" (?P<roman>{_ROMAN})", _chapter_or_ruler),
    _rule(r"\b(?P<word>Dr|St)\b(?:\.(?!$))?(?P<next>(?= [A-Z]))?", _saint_or_street),
    _rule(rf"\b({'|'.join(_ABBREVIATIONS)})\.", lambda match: _ABBREVIATIONS[match[1]]),
    _rule(r"\b(Jan|Feb|Apr|Aug|Sept?|Oct|Nov|Dec)\.", lambda match: _month_name(match[1])),
    _rule(r"\bPh\.?D\b\.?", "p h d"),
    _rule(r"(?<![\w.])(?:[A-Za-z]\.)+[A-Za-z]\b\.?", lambda match: letters(match[0])),
    _rule(r"(?<![\w'])([A-Z])\.(?= [A-Z])", lambda match: letters(match[1])),
    _rule(r"\b([A-Z]{2,})s\b", lambda match: f"{match[1]}'s"),
    _rule(rf"\b(?=[XVI]{{2}}){_ROMAN}", lambda match: letters(match[0])),
    _rule(r"[*^|~`_]", " "),
    _rule(r"\b(?=[A-Za-z]{0,60}\d)(?=\d{0,60}[A-Za-z])[A-Za-z\d]+\b", _mixed),
    _rule(r"(?<![\w.])(?:\d{1,15}(?:,\d{3})+(?:\.\d{1,30})?|\d{0,15}\.\d{1,30})(?!\w)",
          lambda match: numbers.cardinal(match[0])),
    _rule(r"(?:(?<!\w)')?(\d+)", lambda match: numbers.plain(match[1])),
    _rule(r"(?<=\w)-(?=\w)|(?<! )[<>]|[<>](?! )", " "),
    _rule("[" + re.escape("".join(_SYMBOLS)) + "]", lambda match: f" {_SYMBOLS[match[0]]} "),
]  # fmt: skip
