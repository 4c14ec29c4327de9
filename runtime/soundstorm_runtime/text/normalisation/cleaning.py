"""Characters as people type them, to those that are read: ASCII, and signs that have a name.

`don’t` -> `don't`, `naïve` -> `naive`, `2½` -> `2 1/2`, `10⁻⁶` -> `10^-6`, `٣٤` -> `34`, an emoji -> its
name, a Greek word -> Latin letters.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from .classes.symbols import NAMES
from .greek import transliterate
from .source_text import Edit, SourceText

_FOLD = {
    **dict.fromkeys("‘’‚‛′ʼʹ´＇ˈ", "'"),
    **dict.fromkeys("“”„‟«»″〝〞", '"'),
    **dict.fromkeys("‐‑‒−﹣－⁃", "-"),
    **dict.fromkeys("–—―⸺", " -- "),
    **dict.fromkeys("•●▪■◦‣▶►○□▫◆◇", "•"),
    **dict.fromkeys("\t\v\f\r\x1c\x1d\x1e\x1f", " "),
    **dict.fromkeys("\x85\u2028", "\n"),
    **dict.fromkeys("、،﹐", ","),
    **dict.fromkeys("。．｡۔", "."),
    "؟": "?", "؛": ";", "\u2029": "\n\n", "…": "... ", "⁄": "/", "∕": "/", "∗": "*", "⋅": "·", "∶": ":",
    "μ": "µ", "Ω": "Ω", "∆": "Δ", "∑": "Σ", "№": " number ", "℃": "°C", "℉": "°F", "ª": "a", "º": "°",
    "ß": "ss", "ẞ": "SS", "æ": "ae", "Æ": "Ae", "ø": "o", "Ø": "O", "œ": "oe", "Œ": "Oe", "đ": "d", "Đ": "D",
    "ł": "l", "Ł": "L", "ð": "d", "Ð": "D", "þ": "th", "Þ": "Th", "ı": "i", "ħ": "h", "ŋ": "ng", "ə": "e",
    "⌘": " command ", "⌥": " option ", "⇧": " shift ", "⏎": " enter ", "✓": " check mark ",
    "✔": " check mark ", "✅": " check mark ", "❤": " red heart ", "★": " star ",
    "☆": " star ", "⭐": " star ", "✗": " cross mark ", "✘": " cross mark ", "❌": " cross mark ",
}  # fmt: skip
INSTRUCTIONS = "\ue000-\uf8ff"
"""Characters of private use: in a text with markup, each stands for one instruction (`markup.py`)."""

_READ = frozenset(map(chr, [*range(0x20, 0x7F), *range(0xE000, 0xF900)])) | {"\n", "•"} | frozenset(NAMES)
_ASIDE = re.compile(r"(?<=[A-Za-z])`(?=[A-Za-z])")  # an apostrophe of some keyboards
_ENDS_NUMBER = re.compile(r"[\d%°]")
_SIGNED = re.compile(r"[\d.$£€¥₹]")
_TERM = re.compile(r"[\w)\]]")
_CHARACTER_ENTITY = re.compile(r"&(?:amp|lt|gt|quot|apos|nbsp|#39|#x27|mdash|ndash|hellip);")
_ENTITIES = {"&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": '"', "&nbsp;": " ", "&mdash;": " -- ",
             "&ndash;": "-", "&hellip;": "... "}  # fmt: skip


def clean(source: SourceText) -> tuple[SourceText, str]:
    """Fold a text to what is read.

    Returns:
        The text of ASCII, line breaks and the signs of `symbol.NAMES`; and the characters that have no
        reading and were left out, each once, in order.
    """
    dropped = ""
    if not source.text.isascii() or not source.text.isprintable():
        source, dropped = _folded(transliterate(source))
    source = source.sub(_ASIDE, "'")
    if "&" in source.text:
        source = source.sub(_CHARACTER_ENTITY, lambda match: _ENTITIES.get(match[0], "'"))
    return source, dropped


def _folded(source: SourceText) -> tuple[SourceText, str]:
    text = source.text
    edits: list[Edit] = []
    dropped: dict[str, None] = {}
    for place, character in enumerate(text):
        if character in _READ:
            continue
        new = _reading(character)
        if new and character == text[place - 1 : place] and len(new) > 4:
            new = ""  # a row of the same emoji has one name
        if new is None:
            dropped[character] = None
            new = " "
        elif new.startswith("^") and place and (_reading(text[place - 1]) or "").startswith("^"):
            new = new[1:]  # 10⁻⁶ has one exponent
        elif new == " -- " and _ENDS_NUMBER.match(text, place - 1) and text[place + 1 : place + 2].isdigit():
            new = "-"  # 1914–1918
        elif character == "−" and not (_SIGNED.match(text, place + 1) and not _TERM.match(text, place - 1)):
            new = " minus "  # a − b, but not −5
        edits.append((place, place + 1, new))
    return source.edit(edits), "".join(dropped)


@lru_cache(maxsize=4096)
def _reading(character: str) -> str | None:
    """Return what a character is read as; empty for one that is silent, None for one without a reading."""
    if character in _READ:
        return character
    if character in _FOLD:
        return _FOLD[character]
    if character == "\ufffd":  # in place of a character that could not be decoded
        return None
    category = unicodedata.category(character)
    if category in ("Mn", "Mc", "Me", "Cf", "Cc", "Sk", "Cs", "Co", "Cn"):
        return _unseen(character, category)
    if (digit := unicodedata.digit(character, None)) is not None:
        kind = unicodedata.decomposition(character).partition(" ")[0]
        return f"^{digit}" if kind == "<super>" else f" {digit} " if kind == "<circle>" else str(digit)
    if category == "Zs":
        return " "
    if "\U0001f1e6" <= character <= "\U0001f1ff":  # two of them are a flag
        return f" {chr(ord(character) - 0x1F1E6 + ord('A'))} "
    return _composed(character) or _named(character, category)


def _unseen(character: str, category: str) -> str | None:
    """Marks on other characters, and what has no shape, are silent; unassigned characters have no reading."""
    return None if category in ("Cs", "Co", "Cn") else ""


def _composed(character: str) -> str | None:
    """Take a character apart: é is e with an accent, ½ is 1/2, ﬁ is fi."""
    parts = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", character))
    if parts == character:
        return None
    read = [_reading(part) for part in parts]
    if any(part is None for part in read):
        return None
    folded = "".join(part for part in read if part)
    name = unicodedata.decomposition(character)
    if name.startswith("<fraction>"):
        return f" {folded}"
    return f"^{folded}" if name.startswith("<super>") and folded in "+-=()n" else folded


def _named(character: str, category: str) -> str | None:
    """Read emoji and other signs by their names; punctuation and lines are silent."""
    if category[0] == "P" or "\u2500" <= character <= "\u259f":  # frames of tables
        return " "
    if category not in ("So", "Sm"):
        return None
    name = unicodedata.name(character, "").lower()
    words = re.sub(r"[^a-z ]", " ", name).removesuffix(" sign").removesuffix(" symbol")
    return f" {words} " if words.strip() else None
