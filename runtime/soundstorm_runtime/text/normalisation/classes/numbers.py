"""Numbers by themselves: cardinals, decimals, ordinals, fractions, ranges, powers, scientific notation."""

from __future__ import annotations

import re

from ..number_words import cardinal, digits, fraction, identifier, ordinal, plain
from ..token_class import DIGITS, LETTERS, NUMBER, WHOLE, Match, TokenClass, after, before, spell, with_point
from .symbols import power

_ENDINGS = {"1": "st", "2": "nd", "3": "rd"}
_FAMILIAR = {
    "24/7": "twenty four seven", "9/11": "nine eleven", "50/50": "fifty fifty", "20/20": "twenty twenty",
    "7/11": "seven eleven", "60/40": "sixty forty", "80/20": "eighty twenty",
}  # fmt: skip
_A_THING = re.compile(
    r" (cup|teaspoon|tablespoon|mile|hour|inch|pound|gallon|dozen|lit(?:er|re)|pint|quart|ounce|acre"
    r"|minute|kilo"
    r"|kilomet(?:er|re)|met(?:er|re)|foot|yard|ton|percent|point|stick|bottle|glass|day|page)\b"
)
_NAMED = re.compile(r"\b(?:[Ss]uite|Ste\.?|[Rr]oom|Rm\.?|[Aa]pt\.?|[Uu]nit|[Rr]oute|[Bb]us|[A-Z]{2,5}) $")
_MATHEMATICAL = re.compile(r"^ ?[-+*/=×÷^<>≤≥≠]|^ ?\d{1,9}(?:\.\d+)? ?[=+×÷*≠≤≥]")


def read_number(text: str) -> str:
    """Read a number that may have commas, a decimal point and a sign."""
    sign, bare = ("minus ", text[1:]) if text.startswith("-") else ("", text)
    return sign + (cardinal(bare) if re.search(r"[.,]", bare) else plain(bare))


def _scientific(match: Match) -> str:
    """Read `3.5e-4`, `6.02 x 10^23`."""
    mantissa, exponent = re.split(r" ?[eE]| ?[x×*·] ?10\^", match[0], maxsplit=1)
    return f"{cardinal(mantissa)} times ten {power(exponent.lstrip('+'))}"


def _power(match: Match) -> str:
    base, _, exponent = match[0].partition("^")
    return f"{cardinal(base)} {power(exponent.strip('(){}').lstrip('+'))}"


def _ordinal(match: Match) -> str:
    number, ending = match[0][:-2], match[0][-2:].lower()
    plural = number[-2:] not in ("11", "12", "13")
    right = _ENDINGS.get(number[-1], "th") if plural else "th"
    return ordinal(number) if ending == right else f"{cardinal(number)} {spell(ending)}"


def _ordinal_range(match: Match) -> str:
    first, last = (re.sub(r"\D", "", part) for part in match[0].split("-"))
    return f"{ordinal(first)} to {ordinal(last)}"


def _fraction(match: Match) -> str | None:
    """Read `3/4`, `2 1/2`, `1/4th`, and the pairs that people say otherwise: `24/7`, `120/80`."""
    if match[0] in _FAMILIAR:
        return _FAMILIAR[match[0]]
    mixed, _, bottom = match[0].rstrip("thrdsnTH").partition("/")
    whole, _, top = mixed.rpartition(" ")
    if bottom.startswith("0") or (len(top) > 1 and top.startswith("0")):
        return None
    following = after(match, 14)
    if not whole and following.startswith(("=", " =")):
        return f"{cardinal(top)} divided by {cardinal(bottom)}"
    if not whole and int(top) > int(bottom) >= 40 and int(top) < 300:
        return f"{cardinal(top)} over {cardinal(bottom)}"
    if not whole and following.startswith(" star"):
        return f"{cardinal(top)} out of {cardinal(bottom)}"
    if not whole and (thing := _A_THING.match(following)):
        article = "an" if thing[1][0] in "aeiou" or thing[1] == "hour" else "a"
        return f"half {article}" if (top, bottom) == ("1", "2") else f"{fraction(top, bottom)} of {article}"
    if whole and (top, bottom) == ("1", "2"):
        return f"{cardinal(whole)} and a half"
    return (f"{cardinal(whole)} and " if whole else "") + fraction(top, bottom)


def _out_of(match: Match) -> str:
    top, bottom = re.split(" ?/ ?", match[0])
    return f"{cardinal(top)} out of {cardinal(bottom)}"


def _range(match: Match) -> str | None:
    """Read `10-20` and `5-3`; in front of `=` it is a difference."""
    first, last = match[0].split("-")
    if _MATHEMATICAL.match(after(match, 12)):
        return f"{cardinal(first)} minus {cardinal(last)}"
    if first == last and len(first) == 2:  # fifty fifty
        return f"{read_number(first)} {read_number(last)}"
    start, end = (float(number.replace(",", "")) for number in (first, last))
    if start < end and (len(first) == len(last) or "." in match[0] or end < 10000):
        joined = "and" if before(match, 9).lower().endswith("between ") else "to"
        return f"{read_number(first)} {joined} {read_number(last)}"
    if (len(first) < 3 and len(last) < 3) or re.search(
        r"\b(?:won|win|wins|lost|lose|beat|score[ds]?|lead|led|by) $", before(match, 12)
    ):
        return f"{cardinal(first)} to {cardinal(last)}"
    return ", ".join(cardinal(n) if len(n) < 4 and "." not in n else read_number(n) for n in (first, last))


def _difference(match: Match) -> str | None:
    """Read `5 - 3`; where words follow a rising pair, as in `10 - 20 people`, it is a range."""
    first, last = match[0].split(" - ")
    following = after(match, 12)
    rising = float(first.replace(",", "")) < float(last.replace(",", ""))
    joined = "to" if rising and re.match(r" [a-z]{2}", following) else "minus"
    return f"{read_number(first)} {joined} {read_number(last)}"


def _signed(match: Match) -> str | None:
    """Read `-5` and `+5`; behind a word or a bracket the sign is a dash or an operator."""
    last = before(match, 2)
    sign = match[0][0]
    if sign == "-" and last[-1:] in ")]\"'" and last:
        return f"minus {read_number(match[0][1:])}" if last[-1] in ")]" else read_number(match[0][1:])
    return f"{'minus' if sign == '-' else 'plus'} {read_number(match[0][1:])}"


def _numbered(match: Match) -> str:
    number = re.search(r"\d.*", match[0])
    return ("numbers " if "s" in match[0].lower() else "number ") + read_number(number[0] if number else "")


def _quotient(match: Match) -> str | None:
    """Read `10 / 2 = 5`."""
    if not re.match(r" ?[=+*×÷-]", after(match, 3)):
        return None
    return " divided by ".join(read_number(number) for number in match[0].split(" / "))


_SCALES = {
    "bn": "billion", "mn": "million", "tn": "trillion", "k": "thousand", "K": "thousand", "M": "million",
    "B": "billion",
}  # fmt: skip


def _scaled(match: Match) -> str:
    """Read `1.5bn` and `2.5M`."""
    number, scale = re.split(r" ?(?=[bmt]n$|[kKMB]$)", match[0])
    return f"{cardinal(number)} {_SCALES[scale]}"


def _spaced(match: Match) -> str:
    """Read `10 000` and `1 500 000`."""
    return cardinal(match[0].replace(" ", ","))


def _continental(match: Match) -> str:
    """Read `1.000,50`, in which the comma is the decimal sign."""
    return cardinal(with_point(match[0]))


def _letter_in_brackets(match: Match) -> str:
    """Read `401(k)` and `501(c)(3)`."""
    number, *parts = re.findall(r"\w+", match[0])
    return " ".join([identifier(number), *(spell(p) if p.isalpha() else cardinal(p) for p in parts)])


def _times_as_much(match: Match) -> str:
    return f"{cardinal(match[0][:-1])} x"


def _with_s(match: Match) -> str:
    """Read `the 12's`."""
    return read_number(match[0][:-2]) + "'s"


def _number(match: Match) -> str:
    """Read a number; that of a room or a model of four digits in pairs: `Suite 3300`, `RTX 4090`."""
    if re.fullmatch(r"\d\d(?:00|[1-9]\d)", match[0]) and _NAMED.search(before(match, 12)):
        return identifier(match[0])
    return read_number(match[0])


def _year_of_two_digits(match: Match) -> str:
    return cardinal(match[0][1:]) if match[0][1] != "0" else f"oh {digits(match[0][2])}"


CLASSES = [
    TokenClass("letter_in_brackets", DIGITS, r"\d{2,4}\([a-z]\)(?:\(\d{1,2}\))?", _letter_in_brackets),
    TokenClass(
        "scientific",
        DIGITS + ".-",
        rf"-?{NUMBER} ?[x×*·] ?10\^[-+]?\d{{1,4}}"
        rf"|-?(?:\d{{1,9}}\.\d{{1,20}}[eE][-+]?\d{{1,3}}|\d{{1,9}}(?:e"
        rf"|E[-+])[-+]?\d{{1,3}})(?!\w)",
        _scientific,
    ),
    TokenClass(
        "power",
        DIGITS + ".-",
        rf"-?{NUMBER}\^(?:[-+]?\d{{1,4}}|\([-+]?\d{{1,4}}\)|\{{[-+]?\d{{1,4}}\}}|n\b)",
        _power,
    ),
    TokenClass("numbered", "#" + LETTERS, r"(?:#|\b[Nn][Oo]s?\. ?)(?=\d)" + WHOLE, _numbered),
    TokenClass("ordinal_range", DIGITS, r"\d{1,4}(?:st|nd|rd|th)-\d{1,4}(?:st|nd|rd|th)\b", _ordinal_range),
    TokenClass("ordinal", DIGITS, rf"{WHOLE}(?:st|nd|rd|th|ST|ND|RD|TH)\b", _ordinal),
    TokenClass(
        "fraction",
        DIGITS,
        r"(?:\d{1,9} )?\d{1,4}/\d{1,4}(?:(?:th|TH|ths|rds?|nds?)\b)?(?![\d/]|\.\w)",
        _fraction,
    ),
    TokenClass("out_of", DIGITS, r"\d{1,3}\.\d{1,3} ?/ ?\d{1,4}(?![\w/])", _out_of),
    TokenClass(
        "spaced",
        DIGITS,
        r"[1-9]\d{0,2}(?: 000|(?: \d{3}){2,5})(?![\w,.:/-]\w|\w| \d)",
        _spaced,
    ),
    TokenClass("continental", DIGITS, r"[1-9]\d{0,2}(?:\.\d{3}){1,4},\d{1,2}(?!\w|[,.]\d)", _continental),
    TokenClass("range", DIGITS + ".", rf"(?<![A-Za-z]-){NUMBER}-{NUMBER}(?![\w-]|/\d|\.\d)", _range),
    TokenClass("difference", DIGITS + ".", rf"{NUMBER} - {NUMBER}(?![\w-]|\.\d)", _difference),
    TokenClass("quotient", DIGITS + ".", rf"{NUMBER} / {NUMBER}(?!\w)", _quotient),
    TokenClass(
        "scaled", DIGITS + ".", rf"{NUMBER} ?(?:bn|mn|tn)(?!\w)|\d{{1,3}}\.\d{{1,2}}[kKMB](?![\w/])", _scaled
    ),
    TokenClass("signed", "+-", rf"[-+]{NUMBER}(?![A-Za-z])", _signed),
    TokenClass("times_as_much", DIGITS + ".", rf"{NUMBER}x(?!\w)", _times_as_much),
    TokenClass("year_of_two_digits", "'", r"'\d\d(?!\w)", _year_of_two_digits),
    TokenClass("with_s", DIGITS + ".", rf"{NUMBER}'s(?!\w)", _with_s),
    TokenClass("number", DIGITS + ".", rf"{NUMBER}(?![A-Za-z\d]|\.\d)", _number),
]
