"""Tokenise and classify: a cleaned text to tokens, each verbalised by its class.

At each place one regular expression holds the patterns of the classes that can begin with the character
there, in order of precedence; a class whose verbaliser returns None leaves the token to the next class that
matches.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache, lru_cache
from typing import NamedTuple

from .classes import (
    abbreviations,
    addresses,
    capitals,
    clock_times,
    dates,
    electronic,
    measures,
    money,
    numbers,
    roman_numerals,
    serials,
    symbols,
    telephone,
)
from .cleaning import INSTRUCTIONS
from .token_class import DIGITS, LETTERS, TokenClass, spell

IsKnown = Callable[[str], bool]
"""Whether a word in lower case is in the dictionary of the voice."""

MARKS = ".,;:!?"

_FILES: list[list[TokenClass]] = [
    module.CLASSES
    for module in (
        abbreviations, electronic, dates, telephone, clock_times, money, addresses, measures, numbers,
        roman_numerals, capitals, serials,
    )
]  # fmt: skip
_FILES += [[symbols.FUNCTION], symbols.CLASSES]
_CLASS = {
    f"c{file}_{place}": token_class
    for file, classes in enumerate(_FILES)
    for place, token_class in enumerate(classes)
}
_SIGNS = f"c{len(_FILES) - 1}_"
"""What the names of the classes of signs begin with; these alone are tried inside a word, too."""

_NOT_PLAIN = (
    r"(?:(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}[ -]\d|(?:kr|zl) \d"
    r"|(?:vs|etc|ok|approx|dept|et|ii|iii|iv|vi|vii|viii|ix|xi{1,3}|xiv|xv|xx)\b)"
)
_PLAIN = rf"(?<![\w'@#.])(?!{_NOT_PLAIN})[a-z]{{1,60}}(?:'[a-z]{{1,20}})?(?=[ \n]|[,;:]?$|[,;:] )"
_WORD = r"[A-Za-z]{1,60}(?:'[A-Za-z]{1,20}){0,3}"
_MARK = r"""[.,;:!?"')\]}`]+"""
_INVISIBLE_GROUPS = re.compile(r"(?<!\\)\((?!\?)|\(\?P<\w+>")
_UNSPELLABLE = re.compile(r"[b-df-hj-np-tv-xz]+|.*[b-df-hj-np-tv-xz]{8}.*")
_SOUNDS = {
    "hmm": "hum", "hm": "hum", "hmmm": "hum", "mhm": "um hum", "mm": "um", "mmm": "um", "shh": "shush",
    "sh": "shush", "shhh": "shush", "psst": "pist", "pst": "pist", "brr": "burr", "brrr": "burr",
    "grr": "gurr",
    "grrr": "gurr", "tsk": "tisk", "pfft": "pift", "pff": "pift", "zzz": "zees", "nth": "enth",
}  # fmt: skip


class Token(NamedTuple):
    """A token of the cleaned text.

    Args:
        start: Where it starts in the cleaned text.
        end: The place after it.
        words: What is said, with marks of `MARKS` behind some words; empty for punctuation.
        mark: The punctuation mark that it is or ends in, `,` for a dash or what closes; `\\n` for a
        line's end.
        ends_sentence: Whether a sentence may end in a full stop that belongs to the token.
        instruction: The character that stands for an instruction of markup.
        phones: Phones to speak in place of those of the words.
    """

    start: int
    end: int
    words: str
    mark: str = ""
    ends_sentence: bool = False
    instruction: str = ""
    phones: str | None = None


def _any_of(names: Iterable[str]) -> str:
    """Return a pattern for any of some classes, whose last group names the one that matches."""
    # The group is at the end of its branch, so that a branch that begins with a character is skipped at once.
    return "|".join(f"(?:{_INVISIBLE_GROUPS.sub('(?:', _CLASS[n].pattern)})(?P<{n}>)" for n in names)


@cache
def _compile(names: tuple[str, ...], others: str = "") -> re.Pattern[str]:
    """Return a pattern for any of some classes, of which only signs match inside a word, or for `others`."""
    signs = [name for name in names if name.startswith(_SIGNS)]
    words = [name for name in names if name not in signs]
    outside = rf"(?<!\w)(?:{_any_of(words)})" if words else ""
    # Words and digits are those of ASCII, which are read; signs such as Greek letters are none.
    return re.compile("|".join(filter(None, [outside, _any_of(signs), others])), re.ASCII)


@lru_cache(maxsize=1024)
def _classes_at(character: str) -> tuple[str, ...]:
    """Return the names of the classes whose tokens can begin with a character."""
    return tuple(name for name, token_class in _CLASS.items() if character in token_class.starts)


@lru_cache(maxsize=1024)
def _token_at(character: str) -> re.Pattern[str]:
    """Return what matches a token that begins with a character."""
    if character in LETTERS:
        others = rf"(?P<word>{_WORD})"
    else:
        others = r"(?P<digits>\d{1,60})" if character in DIGITS else rf"(?P<dash>--)|(?P<mark>{_MARK})"
    return _compile(_classes_at(character), others)


@lru_cache(maxsize=4096)
def _later(name: str, character: str) -> list[re.Pattern[str]]:
    """Return what is tried where a class refuses: the rest of its file one by one, then each later file."""
    names = _classes_at(character)
    names = names[names.index(name) + 1 :]
    files = {each.partition("_")[0]: None for each in names}
    own = name.partition("_")[0]
    rest = [_compile((each,)) for each in names if each.startswith(f"{own}_")]
    return rest + [
        _compile(tuple(each for each in names if each.startswith(f"{file}_")))
        for file in files
        if file != own
    ]


_EASY = re.compile(
    rf"(?P<plain>{_PLAIN})|(?P<stop>[.,;:?!]+(?=[ \n]))|(?P<break>\n)|(?P<instruction>[{INSTRUCTIONS}])"
    r"|(?P<other>\S)",
    re.ASCII,
)
"""Most tokens need no class; `other` is the first character of one that does."""
_WORD_PATTERN = re.compile(_WORD)
_DIGITS = re.compile(r"[0-9]{1,60}")
_CAPITALS = re.compile(r"[A-Z]{2,}(?:s|'[A-Za-z]{1,2})?")
_OPENING_QUOTE = re.compile(r"(?<!\S)'(?!n\b|\d\ds?\b)")


def tokenise(text: str, is_known: IsKnown | None = None) -> Iterator[Token]:
    """Return the tokens of a cleaned text."""
    place = 0
    while match := _EASY.search(text, place):
        kind = match.lastgroup
        if kind == "other":
            found = _token_at(match[0]).match(text, match.start())
            if found is None:  # a bracket that opens, or a quotation mark
                place = match.end()
                continue
            match, kind = found, found.lastgroup
        start, place = match.span()
        if kind == "plain":
            yield Token(start, place, _said(match[0]))
        elif kind == "stop":
            yield Token(start, place, "", match[0][0])
        elif kind == "break":
            yield Token(start, place, "", "\n")
        elif kind == "instruction":
            yield Token(start, place, "", instruction=match[0])
        elif kind == "dash":
            yield Token(start, place, "", ",")
        elif kind == "mark":
            if mark := _mark(match):
                yield Token(start, place, "", mark)
        else:
            token = _classified(text, match, kind or "", is_known)
            place = token.end
            if token.words:
                yield token


def _classified(text: str, match: re.Match[str], kind: str, is_known: IsKnown | None) -> Token:
    """Verbalise a token with the class that matched, or with those after it."""
    if kind in _CLASS and (token := _of_class(match, kind)):
        return token
    found = _WORD_PATTERN.match(text, match.start())
    if found:
        capitals_only = _CAPITALS.fullmatch(found[0])
        words = capitals.read_capitals(found, is_known) if capitals_only else _said(found[0].lower())
        return Token(*found.span(), words)
    if match[0][0].isdigit():
        digits = _DIGITS.match(text, match.start())
        end = digits.end() if digits else match.end()
        return Token(match.start(), end, numbers.read_number(text[match.start() : end]))
    return Token(match.start(), match.start() + 1, "")


def _of_class(match: re.Match[str] | None, name: str) -> Token | None:
    """Verbalise a token with the class of that name, or with those after it; None where all refuse."""
    while match is not None:
        token_class, (start, end) = _CLASS[name], match.span()
        words = token_class.verbalise(match)
        if words is not None:
            return Token(start, end, words, "", token_class.ends_sentence and match.string[end - 1] == ".")
        text, later = match.string, _later(name, match.string[start])
        match = next((found for pattern in later if (found := pattern.match(text, start))), None)
        name = (match and match.lastgroup) or ""
    return None


@lru_cache(maxsize=4096)
def _said(word: str) -> str:
    """Read a word of small letters; what has no vowel is a sound or is spelled."""
    if word in _SOUNDS:
        return _SOUNDS[word]
    return spell(word) if _UNSPELLABLE.fullmatch(word) else word


def _mark(match: re.Match[str]) -> str:
    """Return which pause punctuation makes: its own, or a comma for what closes; none for what opens."""
    text, start, end = match.string, match.start(), match.end()
    run = match[0]
    glued = end < len(text) and not text[end].isspace()
    mark = next((c for c in run if c in MARKS), "")
    if mark and glued:
        return mark if _is_glued_pause(text, start, end, mark) else ""
    if mark:
        return mark
    if start == 0 or text[start - 1].isspace() or glued:
        return ""
    if run.strip("'"):
        return ","
    # Where no single quote opens, one that closes a word is an apostrophe: the dogs' tails.
    return "," if _OPENING_QUOTE.search(text, max(0, start - 300), start) else ""


def _is_glued_pause(text: str, start: int, end: int, mark: str) -> bool:
    """Return whether a mark between two characters is punctuation, as in `Hello,world.How are you?Fine.`"""
    if text[end] in "\"'([{*_-":
        return True
    last, following = text[start - 1 : start], text[end]
    if mark in "?!;,":
        return following.isalnum()
    if mark == ".":
        sentence = text[end : end + 2].istitle() and following.isalpha() and text[end + 1 : end + 2].isalpha()
        return (last.islower() and following.isupper()) or (last.isdigit() and sentence) or end > start + 1
    return False
