"""What a screen reader reads aloud beside words: single characters, keys, and signs within a text."""

from __future__ import annotations

import re
import unicodedata

NAMES = {
    " ": "space", "\n": "new line", "\t": "tab", "!": "exclamation mark", '"': "quote", "#": "number sign",
    "$": "dollar", "%": "percent", "&": "ampersand", "'": "apostrophe", "(": "left paren",
    ")": "right paren", "*": "star", "+": "plus", ",": "comma", "-": "dash", ".": "dot", "/": "slash",
    ":": "colon", ";": "semicolon", "<": "less than", "=": "equals", ">": "greater than",
    "?": "question mark", "@": "at sign", "[": "left bracket", "\\": "backslash", "]": "right bracket",
    "^": "caret", "_": "underscore", "`": "backquote", "{": "left brace", "|": "bar", "}": "right brace",
    "~": "tilde",
}  # fmt: skip

_SOME = "#$%&*+/<=>@\\^_`|~"
LEVELS = {"none": "", "some": _SOME, "most": _SOME + '()[]{}":;-'}
LEVELS["all"] = "".join(name for name in NAMES if not name.isspace())

_KEYS = {
    "kp": "keypad",
    "ctrl": "control",
    "alt": "alt",
    "esc": "escape",
    "pgup": "page up",
    "pgdn": "page down",
}
_LETTER = re.compile(r"latin (?:small|capital) letter ")


def with_punctuation(text: str, level: str) -> str:
    """Return a text in which the signs of a level are words. A sign that ends a sentence also stays.

    Args:
        text: The text.
        level: One of `LEVELS`.
    """
    spoken = LEVELS[level]
    ends = ".!?,;:"
    return "".join(f" {NAMES[c]}{c if c in ends else ''} " if c in spoken else c for c in text)


def character(sign: str, *, capitals: bool = False) -> str:
    """Return how one character is read: a letter by its name, a sign by its own.

    Args:
        sign: The character.
        capitals: Whether to say that a letter is a capital.
    """
    if sign.isascii() and sign.isalnum():
        return f"{'capital ' if capitals and sign.isupper() else ''}[spell {sign}]"
    if sign in NAMES:
        return NAMES[sign]
    return _LETTER.sub("", unicodedata.name(sign, "unknown sign").lower().replace("-", " "))


def spelled(text: str, *, capitals: bool = False) -> str:
    """Return how a text is read character by character."""
    return ", ".join(character(sign, capitals=capitals) for sign in text if not sign.isspace())


def key(name: str) -> str:
    """Return how a key is read, such as `shift_a` or `KP_Enter`."""
    parts = [part for part in name.split("_") if part] or ["_"]
    return " ".join(
        character(part) if len(part) == 1 else _KEYS.get(part.lower(), part.lower()) for part in parts
    )
