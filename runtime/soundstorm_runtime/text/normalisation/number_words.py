"""Numbers as words, the American way: no "and" and no hyphens, years and identifiers in pairs.

Written here because num2words takes 0.2 ms for a number and num2words2 is 8 MB of compiled code.
"""

from __future__ import annotations

from functools import lru_cache

_LONGEST = 12  # digits of the longest number that is read as one; longer ones go digit by digit
_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
).split()
_TENS = "- - twenty thirty forty fifty sixty seventy eighty ninety".split()
_SCALES = (
    "- thousand million billion trillion quadrillion quintillion sextillion septillion octillion nonillion"
).split()
_ORDINALS = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth",
    "twelve": "twelfth",
}  # fmt: skip


def digits(text: str) -> str:
    """`007` -> `zero zero seven`."""
    return " ".join(_ONES[int(digit)] for digit in text)


@lru_cache(maxsize=4096)
def cardinal(text: str) -> str:
    """`1234` -> `one thousand two hundred thirty four`; with a sign, commas, a decimal fraction."""
    sign = "minus " if text.startswith("-") else ""
    whole, _, fraction = text.lstrip("+-").replace(",", "").partition(".")
    grouped = "," in text  # with commas, people read numbers of any length
    whole = _whole(whole, 33 if grouped else _LONGEST) if whole else ""
    return sign + (f"{whole} point {digits(fraction)}".strip() if fraction else whole)


def ordinal(text: str) -> str:
    """`22` -> `twenty second`."""
    head, _, last = cardinal(text).rpartition(" ")
    if last in _ORDINALS:
        last = _ORDINALS[last]
    else:
        last = f"{last[:-1]}ieth" if last.endswith("y") else f"{last.removesuffix('t')}th"
    return f"{head} {last}".strip()


def year(text: str) -> str:
    """`1984` -> `nineteen eighty four`, `2004` -> `two thousand four`, `05` -> `oh five`."""
    if len(text) == 2 and text[0] == "0":
        return f"oh {cardinal(text[1])}"
    if len(text) != 4 or text[0] == "0" or text[1:3] == "00":
        return cardinal(text.lstrip("0") or "0")
    first, last = text[:2], text[2:]
    if last == "00":
        return f"{cardinal(first)} hundred"
    return f"{cardinal(first)} {f'oh {cardinal(last[1])}' if last[0] == '0' else cardinal(last)}"


def decade(text: str) -> str:
    """`1960` -> `nineteen sixties`, `2000` -> `two thousands`."""
    return plural(year(text) if len(text) == 4 else cardinal(text))


def plain(text: str) -> str:
    """Read a number of no known kind: 1100 to 2099 is a year, `007` or ten digits are some code."""
    if len(text) > 9 or (len(text) > 1 and text.startswith("0")):
        return digits(text)
    return year(text) if len(text) == 4 and 1100 <= int(text) < 2100 else cardinal(text)


def identifier(text: str) -> str:
    """Read the digits in a name: `x86` -> `eighty six`, `R101` -> `one oh one`, `A1234` -> pairs."""
    if len(text) > 4:
        return digits(text)
    if len(text) < 3 or text.startswith("0"):
        return plain(text)
    if text.endswith("00"):
        return cardinal(text) if text[-3] == "0" else f"{cardinal(text[:-2])} hundred"
    pair = text[-2:]
    tail = f"oh {cardinal(pair[1])}" if pair[0] == "0" else cardinal(pair)
    return f"{cardinal(text[:-2])} {tail}"


@lru_cache(maxsize=4096)
def fraction(numerator: str, denominator: str) -> str:
    """`1/2` -> `one half`, `3/4` -> `three quarters`, `31/32` -> `thirty one thirty seconds`."""
    parts = {"1": "over one", "2": "half", "4": "quarter"}.get(denominator) or ordinal(denominator)
    if numerator != "1" and denominator != "1":
        parts = "halves" if parts == "half" else plural(parts)
    return f"{cardinal(numerator)} {parts}"


def plural(words: str) -> str:
    """`sixty` -> `sixties`, `six` -> `sixes`, `third` -> `thirds`."""
    if words.endswith("y"):
        return f"{words[:-1]}ies"
    return f"{words}es" if words.endswith("x") else f"{words}s"


@lru_cache(maxsize=4096)
def _whole(text: str, longest: int) -> str:
    if len(text) > longest:
        return digits(text)
    number, groups = int(text), []
    for scale in _SCALES:
        number, group = divmod(number, 1000)
        if group:
            groups.append(f"{_hundreds(group)} {scale}" if scale != "-" else _hundreds(group))
        if not number:
            break
    return " ".join(reversed(groups)) or "zero"


def _hundreds(number: int) -> str:
    words = []
    if number >= 100:
        words += [_ONES[number // 100], "hundred"]
        number %= 100
    if number >= 20:
        words.append(_TENS[number // 10])
        number %= 10
    if number:
        words.append(_ONES[number])
    return " ".join(words)
