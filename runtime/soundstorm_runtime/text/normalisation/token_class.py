"""What a class of tokens is, and the patterns that several of them share."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterable
from dataclasses import dataclass

Match = re.Match[str]

DIGITS = string.digits
CAPITALS = string.ascii_uppercase
SMALL = string.ascii_lowercase
LETTERS = string.ascii_letters

WHOLE = r"(?:\d{1,3}(?:,\d{3}){1,11}(?!\d)|\d{1,2}(?:,\d\d){1,5},\d{3}(?![\d,])|\d{1,60})"  # also 1,00,000
NUMBER = rf"(?:{WHOLE}(?:\.\d{{1,60}})?|\.\d{{1,60}})"
DECIMAL_COMMA = r"(?:\d{1,3}|[1-9]\d{0,2}(?:\.\d{3}){1,4}),\d{1,2}(?!\d|[,.]\d)"
"""With a unit or a currency, where the comma separates no numbers; also where points group thousands."""
QUANTITY = rf"(?:{DECIMAL_COMMA}|{NUMBER})"  # of units and currencies; `with_point` reads it
MONTHS = ("january february march april may june july august september october november december").split()


@dataclass(frozen=True)
class TokenClass:
    """A class of tokens.

    Args:
        name: Names it, in letters.
        starts: Every character that a token can begin with. The tokeniser tries the pattern at these alone.
        pattern: Matches a token from its first character on. The tokeniser does not try it inside a word.
            It looks at a bounded stretch, so that time stays linear.
        verbalise: Takes the match and returns the words, a mark of `PAUSES` behind some of them;
            None where the token turns out to be of another class.
        ends_sentence: Whether a full stop that belongs to the token may end a sentence, too.
    """

    name: str
    starts: str
    pattern: str
    verbalise: Callable[[Match], str | None]
    ends_sentence: bool = True


def spell(text: str) -> str:
    """Read by letter: `USA` -> `u s ay` (the letter a, not the article); digits and signs are left out."""
    return " ".join("ay" if c in "aA" else c.lower() for c in text if c.isalpha())


def with_point(number: str) -> str:
    """Return a number with a decimal point where it has a decimal comma, and then without groups."""
    is_continental = re.fullmatch(f"-?{DECIMAL_COMMA}", number)
    return number.replace(".", "").replace(",", ".") if is_continental else number


def before(match: Match, reach: int = 40) -> str:
    """Return some of the text before a token."""
    return match.string[max(0, match.start() - reach) : match.start()]


def after(match: Match, reach: int = 40) -> str:
    """Return some of the text after a token."""
    return match.string[match.end() : match.end() + reach]


def alternatives(words: Iterable[str]) -> str:
    """Return a pattern for any of some texts, the longest first.

    They are grouped by their first character: the `re` module tries the branches of a pattern one by one.
    """
    rests: dict[str, list[str]] = {}
    for word in sorted(words, key=len, reverse=True):
        rests.setdefault(word[0], []).append(re.escape(word[1:]))
    branches = (f"{re.escape(first)}(?:{'|'.join(group)})" for first, group in rests.items())
    return f"(?:(?=[{re.escape(''.join(rests))}])(?:{'|'.join(branches)}))"
