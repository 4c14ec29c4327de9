"""Numbers with units: `5 µg`, `60 mph`, `12 µg/m³`, `1/2 lb`, `3h 20m`, `6'2"`, `2x8 m`, `2m views`."""

from __future__ import annotations

import re

from ..number_words import cardinal, fraction
from ..token_class import (
    DIGITS,
    LETTERS,
    NUMBER,
    QUANTITY,
    Match,
    TokenClass,
    after,
    alternatives,
    before,
    with_point,
)
from .units import UNITS, per

_UNIT = alternatives(UNITS)
_POWER = r"(?:\^?[23](?!\d|[.,]\d))?"
_ONE_LETTER = r"[AFCTBNKHJtb](?!\w|/|\^|·)"  # after a space they are rather a letter or a word
_WITH_UNIT = rf"(?:{_UNIT}){_POWER}(?:/(?:{_UNIT}|d|day){_POWER})?(?![\w'])(?!/\w)"
_MIXED = r"(?:\d{1,4} )?\d{1,3}/\d{1,3}"
_ITEM = rf"(?:{_MIXED}|{NUMBER})"
_AMOUNT = re.compile(rf"(-?)({_MIXED}|{QUANTITY})(?: ?(?:-|to) ?({NUMBER}))?[ -]?(.*)$", re.DOTALL)
_LENGTHS = re.compile(r"(\d{1,4}) ?(d|days?|h|hrs?|m|mins?|s|secs?)(?![a-z])", re.IGNORECASE)
_LENGTH_NAMES = {"d": "day", "h": "hour", "m": "minute", "s": "second"}
_COUNTED = (
    r"(?=[ -](?!meters|hurdles|sprints?|races?|records?|finals?|dashes|is|was|as|has|this|across|towards"
    r"|always"
    r"|apart|deep|wide|high|tall|long)(?:people\b|[a-z]{2,16}s\b|(?:[a-z]{3,12} )(?:users|views|people"
    r"|downloads)\b))"
)
_ATTRIBUTE = re.compile(
    r" (?!(?:wide|long|tall|deep|high|thick|x|by|of|and|or|in|is|are|was|to|from|at|apart|off|above|below"
    r"|on)\b)[a-z]"
)
_ATTRIBUTED = frozenset("V W A Hz GB MB TB kB MP mm Ah mAh px L °".split())
# Units of which a noun may follow that they describe: a 12 V battery, 12 in. pipe, but 5 kg apples.
_DESCRIBING = frozenset("V kV W kW Hz kHz MHz GHz GB MB TB kB MP Ah mAh mm cm m km in ft yd mi".split())
_ARTICLE = re.compile(r"\b[Aa]n? $")
_NOUN = re.compile(
    r" (?!(?:a|about|above|across|after|again|ago|ahead|alone|along|and|apart|are|around|as|at|away|back|be"
    r"|because|been|before|behind|below|between|but|by|can|could|deep|down|downstream|during|each|east|every"
    r"|for|from|had|has|have|he|here|high|home|if|in|inland|instead|into|is|it|last|later|left|less|long|may"
    r"|more|must|next|north|not|of|off|on|only|onto|or|out|over|overnight|per|plus|right|she|should|since|so|south"
    r"|tall|than|that|the|then|there|they|thick|this|through|till|to|today|tomorrow|tonight|too|toward"
    r"|towards|twice|under|until|up|uphill|upstream|via|was|we|were|west|when|where|which|while|who|wide|will"
    r"|with|within|without|would|x|yesterday|you)\b|[a-z]{1,20}(?:ly|ed|ing)\b)[a-z]{2}"
)
_DIRECTIONS = {"N": "north", "S": "south", "E": "east", "W": "west"}


def unit_name(sign: str, *, one: bool) -> str:
    """Name a unit with its power and what it is counted by: `m/s^2` -> `meters per second squared`."""
    upper, _, lower = sign.partition("/")
    name = _with_power(upper, one=one)
    if not lower:
        return name
    bare = lower.rstrip("23").rstrip("^")
    return f"{name} per " + (_behind_per(bare, lower) if bare != lower else per(lower) or lower)


def _with_power(sign: str, *, one: bool) -> str:
    found = re.fullmatch(r"(.+?)\^?([23])?", sign)
    bare, exponent = (found[1], found[2]) if found else (sign, None)
    name = UNITS[bare][0 if one else 1]
    return f"{'square' if exponent == '2' else 'cubic'} {name}" if exponent else name


def _behind_per(bare: str, sign: str) -> str:
    name = per(bare) or bare
    if bare in ("s", "h", "min"):
        return f"{name} {'squared' if sign.endswith('2') else 'cubed'}"
    return f"{'square' if sign.endswith('2') else 'cubic'} {name}"


def _measure(match: Match) -> str | None:
    found = _AMOUNT.match(match[0])
    if found is None:
        return None
    minus, number, last, sign = found.groups()
    number = with_point(number)
    sign = " ".join(sign.split()).removesuffix(".")
    if _is_a_word(match, number, sign):
        return None
    read = "minus " * bool(minus) + _number(number, sign, last)
    if last:
        return f"{read} to {cardinal(last)} {unit_name(sign, one=_describes(match, sign))}"
    if "/" in number:
        return read
    return f"{read} {unit_name(sign, one=number == '1' or _describes(match, sign))}"


def _describes(match: Match, sign: str) -> bool:
    """Return whether a measure describes the noun after it: a 12V battery, a 6-ft board, a 12 in. pipe."""
    if re.match(r"-?[\d.,]+-(?!\d)", match[0]) or _ARTICLE.search(before(match, 4)):
        return True
    if sign in _ATTRIBUTED and " " not in match[0]:
        return _ATTRIBUTE.match(after(match, 16)) is not None
    return sign in _DESCRIBING and _NOUN.match(after(match, 24)) is not None


def _measure_span(match: Match) -> str:
    """Read `10% - 20%`, `5kg-10kg`, `3 mm x 4 mm`."""
    read = []
    for number, sign in re.findall(rf"({NUMBER}) ?({_UNIT}{_POWER})", match[0]):
        read.append(f"{cardinal(number)} {unit_name(sign, one=number == '1')}")
    return (" by " if re.search("[x×]", match[0]) else " to ").join(read)


def _number(number: str, sign: str, last: str | None) -> str:
    """Read the amount; a fraction brings its unit along: `half a pound`, `two and a half kilograms`."""
    if "/" not in number:
        return cardinal(number)
    whole, _, part = number.rpartition(" ")
    top, bottom = part.split("/")
    if whole:
        read = "a half" if part == "1/2" else "a quarter" if part == "1/4" else fraction(top, bottom)
        return f"{cardinal(whole)} and {read}" + ("" if last else f" {unit_name(sign, one=False)}")
    if last:
        return fraction(top, bottom)
    one = unit_name(sign, one=True)
    if sign in ("%", "°"):
        return f"{fraction(top, bottom)} {one}"
    article = "an" if one[0] in "aeio" or one.startswith("hour") else "a"
    return f"half {article} {one}" if part == "1/2" else f"{fraction(top, bottom)} of {article} {one}"


def _is_a_word(match: Match, number: str, sign: str) -> bool:
    """Distinguish the `in` of `5 in the morning` and the `A` of `5 A students` from units."""
    spaced = " " in match[0].rstrip()[len(number) :]
    following = after(match, 12)
    if match[0].endswith("in."):  # a 12 in. pipe
        return False
    if sign in ("in", "mil", "mi", "pt", "pp", "yo", "kn") and spaced:
        return bool(re.match(r" ?[a-z]| [A-Z\d]", following)) and not re.match(
            r" (?:x|by|tall|wide|long|deep|high|thick|of)\b", following
        )
    if not spaced and sign in ("K", "B", "M", "G", "T") and not before(match, 1).startswith("-"):
        return sign != "T" or "." not in number
    return (
        not spaced
        and sign == "s"
        and number.isdigit()
        and number.endswith("0")
        and len(number) > 1
        and number != "10"
        and (len(number) == 4 or before(match, 4).lower() == "the ")
    )


def _per_unit(match: Match) -> str | None:
    """Read `12/kg`, and `km/h` without a number."""
    number, _, sign = match[0].partition("/")
    name = per(sign) or (sign if len(sign) == 1 and sign.islower() else None)
    return f"{cardinal(number)} per {name}" if name else None


def _rate(match: Match) -> str | None:
    return unit_name(match[0], one=False)


def _length_of_time(match: Match) -> str:
    """Read `3h 20m`, `5m 3s`, `1h30`."""
    read = []
    for number, unit in _LENGTHS.findall(match[0]):
        name = _LENGTH_NAMES[unit[0].lower()]
        read.append(f"{cardinal(number)} {name}{'' if int(number) == 1 else 's'}")
    trailing = re.search(r"h(\d\d)$", match[0])
    return " ".join([*read, *([cardinal(str(int(trailing[1]))) + " minutes"] if trailing else [])])


def _feet_and_inches(match: Match) -> str | None:
    feet, inches = re.findall(r"[\d./ ]+", match[0])[:2]
    foot = "foot" if feet.strip() == "1" else "feet"
    return f"{cardinal(feet.strip())} {foot} {_amount_of(inches.strip(), 'in')}"


def _amount_of(number: str, sign: str) -> str:
    if "/" in number:
        return _number(number, sign, None)
    return f"{cardinal(number)} {UNITS[sign][0 if number == '1' else 1]}"


def _quoted(match: Match) -> str | None:
    """Read `12"` as inches and `6'` as feet, unless the mark closes a quotation."""
    mark = match[0][-1]
    earlier = before(match, 200)
    opened = earlier.count('"') % 2 == 1 if mark == '"' else bool(re.search(r"(?:^|[\s(])'\w", earlier))
    if opened:
        return None
    number, sign = match[0][:-1], "in" if mark == '"' else "ft"
    if "/" not in number and _ATTRIBUTE.match(after(match, 16)):  # a 12" pizza
        return f"{cardinal(number)} {UNITS[sign][0]}"
    return _amount_of(number, sign)


def _angle(match: Match) -> str:
    """Read `40°26'46"N` and `45°N`."""
    numbers = re.findall(r"[\d.]+", match[0])
    names = [("degree", "degrees"), ("minute", "minutes"), ("second", "seconds")]
    read = [f"{cardinal(n)} {names[i][0 if n == '1' else 1]}" for i, n in enumerate(numbers)]
    direction = _DIRECTIONS.get(match[0][-1], "")
    return ("minus " if match[0][0] == "-" else "") + " ".join([*read, direction]).strip()


def _dimensions(match: Match) -> str:
    """Read `2 x 4`, `1920x1080`, `2x8 m2`."""
    found = re.match(rf"((?:{_ITEM}[\"']? ?[xX×] ?)+{_ITEM})([\"']?) ?(.*)", match[0])
    if found is None:
        return match[0]
    read = " by ".join(_item(number) for number in re.findall(_ITEM, found[1]))
    unit = found[3] or {'"': "in", "'": "ft"}.get(found[2])
    return f"{read} {unit_name(unit, one=False)}" if unit else read


def _item(number: str) -> str:
    whole, _, part = number.rpartition(" ")
    if "/" not in part:
        return cardinal(number)
    read = "a half" if whole and part == "1/2" else fraction(*part.split("/"))
    return f"{cardinal(whole)} and {read}" if whole else read


def _millions(match: Match) -> str:
    scale = {"k": "thousand", "m": "million", "b": "billion"}[match[0].rstrip("n")[-1].lower()]
    return f"{cardinal(match[0].rstrip('kKmMbBn '))} {scale}"


_RATES = (
    r"km/h|m/s|ft/s|mi/h|MB/s|GB/s|KB/s|kB/s|Mb/s|Gb/s|mg/dL|mg/L|µg/m\^3|kg/m\^3|g/L|g/cm\^3|m/s\^2|W/m\^2"
)
CLASSES = [
    TokenClass(
        "angle",
        DIGITS + "-",
        r"-?\d{1,3}(?:\.\d{1,9})?°(?: ?[NSEW]\b"
        r"| ?\d{1,2}' ?(?:\d{1,2}(?:\.\d{1,4})?\" ?)?[NSEW]?\b)",
        _angle,
    ),
    TokenClass(
        "feet_and_inches",
        DIGITS,
        r"\d{1,3}'[ -]?(?:\d{1,2}(?:\.\d)?|\d{1,2} \d/\d|\d/\d)(?:\"|'')"
        r"|\d{1,2}'(?:1[01]|\d)(?![\w'])",
        _feet_and_inches,
    ),
    TokenClass(
        "quoted",
        DIGITS,
        rf"(?:{_MIXED}(?=\")|\d{{1,4}}(?:\.\d{{1,3}})?)(?:\"(?! ?[xX×] ?\d)|'(?=[\s,.;)]|$))",
        _quoted,
    ),
    TokenClass(
        "dimensions",
        DIGITS + ".",
        rf"{_ITEM}[\"']?(?: ?[xX] ?{_ITEM}[\"']?"
        rf"| [×] {NUMBER}[\"']?(?= ?(?:{_UNIT})(?!\w))"
        rf"|×{NUMBER}){{1,3}}(?: ?(?:{_WITH_UNIT}))?(?!\w| ?[=^])",
        _dimensions,
    ),
    TokenClass(
        "length_of_time",
        DIGITS,
        r"\d{1,4} ?(?:d|h|hrs?|days?) ?\d{1,2} ?(?:h|m"
        r"|mins?)(?: ?\d{1,2} ?s(?:ecs?)?)?\b"
        r"|\d{1,3} ?m(?:in)? ?\d{1,2} ?s(?:ec)?\b|\d{1,2}h\d\d\b",
        _length_of_time,
    ),
    TokenClass("millions", DIGITS + ".", rf"{NUMBER}(?:[mMkK]|[bB]n?){_COUNTED}", _millions),
    TokenClass(
        "measure_span",
        DIGITS + ".",
        rf"{NUMBER} ?(?:{_UNIT}){_POWER} ?[-x×] ?{NUMBER} ?(?:{_UNIT}){_POWER}(?![\w'/])",
        _measure_span,
    ),
    TokenClass(
        "measure",
        DIGITS + ".-",
        rf"-?(?:{_MIXED}|{QUANTITY})(?: ?- ?{NUMBER})?(?: (?!{_ONE_LETTER})"
        rf"|-)?{_WITH_UNIT}(?:(?<=[a-z])\.(?= [a-z]| \d{{1,2}} ?(?:in|oz)\b))?",
        _measure,
    ),
    TokenClass("per_unit", DIGITS, r"\d{1,9}/(?:[A-Za-z]{1,4})(?![\w/])", _per_unit),
    TokenClass("rate", LETTERS + "µ", rf"(?:{_RATES})(?!\w)", _rate),
]
