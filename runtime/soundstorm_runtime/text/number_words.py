"""Numbers as words, the way flite reads them: no "and" and no hyphens, years and ids in pairs."""

from __future__ import annotations

from functools import lru_cache

_LONGEST = 12  # digits of the longest number that is read as one; longer ones go digit by digit


def digits(text: str) -> str:
    """`007` -> `zero zero seven`."""
    return " ".join(_spell(digit, "cardinal") for digit in text)


def cardinal(text: str) -> str:
    """`1234` -> `one thousand two hundred thirty four`; commas and a decimal fraction may be inside."""
    whole, point, fraction = text.replace(",", "").partition(".")
    read = digits(whole) if len(whole) > _LONGEST else _spell(whole, "cardinal") if whole else ""
    return f"{read} point {digits(fraction)}".strip() if point and fraction else read


def ordinal(text: str) -> str:
    """`22` -> `twenty second`."""
    plain = text.replace(",", "")
    return digits(plain) if len(plain) > _LONGEST else _spell(plain, "ordinal")


def year(text: str) -> str:
    """`1984` -> `nineteen eighty four`, `2004` -> `two thousand four`."""
    return _spell(text, "year")


def decade(text: str) -> str:
    """`1960` -> `nineteen sixties`."""
    read = year(text) if len(text) == 4 else cardinal(text)
    return f"{read[:-1]}ies" if read.endswith("y") else f"{read}s"


def plain(text: str) -> str:
    """Read a number of no known kind: 1100 to 2099 is a year, `007` or ten digits are some code."""
    if len(text) > 9 or (len(text) > 1 and text.startswith("0")):
        return digits(text)
    return year(text) if len(text) == 4 and 1100 <= int(text) < 2100 else cardinal(text)


def identifier(text: str) -> str:
    """Read the digits in a name: `x86` -> `eighty six`, `R101` -> `one oh one`, `A1234` -> pairs."""
    if len(text) < 3 or len(text) > 4 or text.startswith("0"):
        return plain(text)
    if text.endswith("00"):
        return cardinal(text) if text[-3] == "0" else f"{cardinal(text[:-2])} hundred"
    pair = text[-2:]
    tail = f"oh {cardinal(pair[1])}" if pair[0] == "0" else cardinal(pair)
    return f"{cardinal(text[:-2])} {tail}"


def fraction(numerator: str, denominator: str) -> str:
    """`1/2` -> `a half`, `3/4` -> `three fourths`, `9/5` -> `nine slash five`."""
    if (numerator, denominator) == ("1", "2"):
        return "a half"
    if int(numerator) >= int(denominator):
        return f"{cardinal(numerator)} slash {cardinal(denominator)}"
    return f"{cardinal(numerator)} {ordinal(denominator)}{'' if int(numerator) == 1 else 's'}"


@lru_cache(maxsize=4096)
def _spell(text: str, kind: str) -> str:
    from num2words import num2words  # loads all its languages: not before a number is met

    read = num2words(int(text), to=kind).replace("-", " ").replace(",", " ")
    return " ".join(word for word in read.split() if word != "and")
