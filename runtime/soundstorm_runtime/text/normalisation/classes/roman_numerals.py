"""Roman numerals, by the word before them: `Henry VIII` the eighth, `Chapter IV` four, `size XL` letters."""

from __future__ import annotations

import re

from ..number_words import cardinal, ordinal
from ..token_class import CAPITALS, SMALL, Match, TokenClass, after, before

_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
_VALID = re.compile(r"M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})")
_NAMES = frozenset(
    (
        "louis henry charles philip george edward pius william richard ptolemy john paul peter nicholas "
        "frederick "
        "james alfonso ivan napoleon leo gregory catherine elizabeth mary benedict clement innocent "
        "urban alexander "
        "albert alfred ferdinand francis francois joseph leopold ludwig otto rudolf wilhelm karl carl "
        "gustav christian "
        "harald haakon olav stephen robert david malcolm kenneth duncan darius xerxes cyrus ramses "
        "ramesses thutmose "
        "amenhotep cleopatra juan carlos felipe pedro manuel umberto victor emmanuel vittorio margaret "
        "anne margrethe "
        "beatrix wilhelmina isabella anna boniface celestine eugene martin sixtus julius callixtus honorius "
        "sylvester hadrian adrian theodore constantine justinian basil michael andrew edmund harold "
        "stanislaw sigismund "
        "casimir wenceslaus bela matthias murad mehmed selim suleiman mahmud osman rama rainier sam "
        "thomas walter "
        "samuel daniel donald ronald frank fred jack arthur hugh howard raymond"
    ).split()
)
_RANKS = frozenset("king queen pope tsar emperor empress prince princess duke sultan czar".split())
_PARTS = frozenset(
    (
        "section chapter part verse scene act book volume vol apollo war phase rocky bowl type title "
        "class grade stage "
        "level tier mark mk model article appendix season episode game games figure fig table division "
        "group factor "
        "schedule gemini saturn fantasy unit module step lesson annex amendment canto psalm movement "
        "opus series "
        "exhibit paragraph zone category cat schedule generation gen version edition race round day week "
        "page vatican "
        "olympiad symphony sonata region district corps army cranial nerve quarter lemma theorem ii "
        "ultima quest "
        "wrestlemania superbowl pentium windsor"
    ).split()
)


def _value(text: str) -> str:
    values = [_VALUES[letter] for letter in text]
    pairs = zip(values, [*values[1:], 0], strict=True)
    return str(sum(value if value >= following else -value for value, following in pairs))


def _roman(match: Match) -> str | None:
    numeral = match[0]
    if not _VALID.fullmatch(numeral):
        return None
    if len(numeral) > 1 and re.match(r"(?:th)? centur", after(match, 9)):
        return ordinal(_value(numeral))
    words = re.findall(r"[A-Za-z]+(?= $)|[A-Za-z]+(?= [A-Za-z]+ $)", before(match, 40))
    last = words[-1] if words else ""
    if not last or not last[0].isupper():
        return cardinal(_value(numeral)) if last.lower() in _PARTS and len(numeral) > 1 else None
    if last.lower() in _PARTS:
        return cardinal(_value(numeral))
    rank = len(words) > 1 and words[-2].lower() in _RANKS
    if last == "Malcolm" and numeral == "X":
        return None
    if last.lower() in _NAMES or rank:
        if numeral == "I" and re.match(
            r" (?:am|was|will|have|had|do|did|can|could|would|think|know|love|want)\b", after(match, 8)
        ):
            return None if not rank else f"the {ordinal('1')}"
        return f"the {ordinal(_value(numeral))}"
    if len(numeral) > 1 and not set(numeral) - set("IVX"):
        return cardinal(_value(numeral))
    return None


def _small(match: Match) -> str | None:
    """Read `page iv` and `scene ii`; a single letter is rather a letter."""
    last = re.search(r"([A-Za-z]+) $", before(match, 20))
    known = last and last[1].lower() in _PARTS and _VALID.fullmatch(match[0].upper())
    return cardinal(_value(match[0].upper())) if known else None


CLASSES = [
    TokenClass("roman_numeral", CAPITALS, r"[IVXLCDM]{1,9}(?![\w&]|'[a-z]|\.[A-Z])", _roman),
    TokenClass("small_roman_numeral", SMALL, r"[ivxl]{2,7}(?!\w)", _small),
]
