"""Greek words in Latin letters, as they are pronounced today: `Καλημέρα` -> `Kalimera`, `και` -> `ke`.

Letters that are no words, as in `α`, `Δx` or `ΦΒΚ`, keep their names (`classes.symbols.GREEK`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from .source_text import Edit, SourceText

_ACCENTS = "\u0300\u0301\u0342"
_WORD = re.compile("[\u0386\u0388-\u03ce\u1f00-\u1fff][\u0386\u0388-\u03ce\u1f00-\u1fff\u0300-\u0345]*")
_PART_OF_WORD = re.compile(r"[A-Za-z\d]")
_BETWEEN = re.compile(r"[ \t\r\n,.;:!?·'’\"«»()-]{1,4}")  # words of one passage
_ALPHABET = "αβγδεζηθικλμνξοπρστυφχψω"
_VOWELS = re.compile("[αεηιουω]")
_VOICELESS = "(?='?(?:[θκξπσςτφχψ]|$))"
# The sounds of letters, and of letters together: those with an accent on the first are separate.
_SOUNDS = {
    f"αυ{_VOICELESS}": "af", "αυ": "av", f"ευ{_VOICELESS}": "ef", "ευ": "ev", f"ηυ{_VOICELESS}": "if",
    "ηυ": "iv", "αι": "e", "ει|οι|υι": "i", "ου": "oo",
    "^μπ": "b", "μπ": "mb", "^ντ": "d", "ντ": "nd", "^γκ": "g", "γγ|γκ": "ng",
    "γ(?=αι|[εηιυ]|οι)": "y", "α": "a", "β": "v", "γ": "g", "δ": "d", "ε": "e", "ζ": "z", "η": "i", "θ": "th",
    "ι": "i", "κ": "k", "λ": "l", "μ": "m", "ν": "n", "ξ": "x", "ο": "o", "π": "p", "ρ": "r", "σ|ς": "s",
    "τ": "t", "υ": "i", "φ": "f", "χ": "h", "ψ": "ps", "ω": "o",
}  # fmt: skip
_SOUND = re.compile("|".join(f"({pattern})" for pattern in _SOUNDS))
_LATIN = list(_SOUNDS.values())


def transliterate(source: SourceText) -> SourceText:
    """Write the Greek words of a text in Latin letters."""
    edits = [edit for passage in _passages(source.text) for edit in _edits(passage)]
    return source.edit(edits) if edits else source


def _passages(text: str) -> Iterator[list[re.Match[str]]]:
    """Yield the Greek words that follow one another, unless other letters or digits touch them."""
    passage: list[re.Match[str]] = []
    for word in _WORD.finditer(text):
        around = text[max(0, word.start() - 1) : word.start()] + text[word.end() : word.end() + 1]
        if passage and not _BETWEEN.fullmatch(text, passage[-1].end(), word.start()):
            yield passage
            passage = []
        if not _PART_OF_WORD.search(around):
            passage.append(word)
    yield passage


def _edits(passage: list[re.Match[str]]) -> Iterator[Edit]:
    """Replace the words of a passage, if one of them can be nothing else than a word."""
    if any(_is_word(found[0]) for found in passage):
        for found in passage:
            yield (*found.span(), _latin(found[0]))


def _is_word(letters: str) -> bool:
    """Whether letters have an accent, or are too many for initials or a product, such as `ΦΒΚ` and `αβγ`."""
    taken_apart = unicodedata.normalize("NFD", letters.lower())
    bare = "".join(letter for letter in taken_apart if letter in _ALPHABET + "ς")
    if len(bare) > 1 and len(bare) < len(taken_apart):
        return True
    return len(bare) > 3 and bare not in _ALPHABET and _VOWELS.search(bare) is not None


def _latin(word: str) -> str:
    taken_apart = re.sub("(.)\u0308", r"'\1", unicodedata.normalize("NFD", word.lower()))  # a vowel by itself
    marked = re.sub(f"[{_ACCENTS}]", "'", taken_apart)
    bare = "".join(c for c in marked if c in _ALPHABET + "ς'")
    latin = _SOUND.sub(lambda found: _LATIN[(found.lastindex or 1) - 1], bare).replace("'", "")
    return latin.capitalize() if word[0].isupper() else latin
