"""Text as people write it, to sentences, and sentences to words with the punctuation that pauses."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator

from ..errors import TextError
from .normalisation import expand, letters

MAX_CHARACTERS = 200_000
SENTENCE_CHARACTERS = 250  # spelled out; some 15 to 20 seconds of speech
PAUSES = ",;:.?!"

_LONGEST_WORD = 60  # a longer run without a space is cut: no word, and patterns stay fast
_FOLD = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛′ʼ", "'"),
        **dict.fromkeys("“”„‟«»″", '"'),
        **dict.fromkeys("‐‑‒−", "-"),
        **dict.fromkeys("–—―", " -- "),
        **dict.fromkeys("™®©", " "),
        "…": "... ", "⁄": "/", "²": " squared", "³": " cubed", "ß": "ss", "æ": "ae", "Æ": "Ae", "ø": "o",
        "Ø": "O", "œ": "oe", "Œ": "Oe", "đ": "d", "Đ": "D", "ł": "l", "Ł": "L", "ð": "d", "þ": "th", "ı": "i",
    }
)  # fmt: skip
_VULGAR = re.compile("(?<=[0-9])(?=[¼½¾⅐-⅞])")
_RANGE = re.compile("(?<=[0-9])–(?=[0-9])")
_UNSPEAKABLE = re.compile(r"[^\x20-\x7e\n£€¥°×÷±]+")
_OVERLONG = re.compile(rf"(\S{{{_LONGEST_WORD}}})(?=\S)")

_ABBREVIATED = re.compile(
    r"(?:\b(?:Mr|Mrs|Ms|Dr|St|Prof|Jr|Sr|vs|Mt|Lt|Sgt|Capt|Col|Gen|Maj|Rev|Hon|Gov|Sen|Rep|Pres"
    r"|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec|approx|dept|Ph)|\be\.g|\bi\.e|(?<![\w'])[A-HJ-Z]|\.[A-Za-z])$"
)
_NUMBERED = re.compile(r"\b(?:Nos?|Vol|Fig|pp?)$")  # an abbreviation before a number only
_END = re.compile(r"([.!?]+)[\"')\]}]*\s+(?=[\"'(\[{]*(\S))")
_CLAUSE = re.compile(r"(?<=[,;:)])\s+|\s+--\s+")
_TOKEN = re.compile(r"[^A-Za-z']*'*(?P<word>[A-Za-z](?:[A-Za-z']*[A-Za-z])?)?(?P<end>[^A-Za-z]*)")
_UNSPELLABLE = re.compile(r"[b-df-hj-np-tv-xz]+|.*[b-df-hj-np-tv-xz]{8}.*", re.IGNORECASE)
_CAPITALS = re.compile("[A-Z]{2,5}")
_NO_PRONOUN = "US"
_CLOSING = '"`)]}'
_OPENING_QUOTE = re.compile(r"(?<!\S)'(?!n\b)")


def split_sentences(text: str) -> list[str]:
    """Split `text` into sentences, each of at most some `SENTENCE_CHARACTERS` when spelled out.

    The sentences are cleaned (plain ASCII, single spaces) and otherwise as they were written.
    Raises `TextError` for a text that is empty, too long, or without a letter or digit to speak.
    """
    check_length(text)
    if not text.strip():
        raise TextError("text is empty; give some words to speak")
    parts = [
        part
        for paragraph in re.split(r"\n[ \t]*\n", clean(text))
        for sentence in _sentences(" ".join(paragraph.split()))
        for part in _shorten(sentence)
        if _is_speakable(part)
    ]
    if not parts:
        raise TextError(f"text {text.strip()[:40]!r} has no speakable character; give letters or digits")
    return parts


def check_length(text: str) -> None:
    """Raise `TextError` for a text of more than `MAX_CHARACTERS`."""
    if len(text) > MAX_CHARACTERS:
        raise TextError(
            f"text has {len(text)} characters, the limit is {MAX_CHARACTERS}; speak it in several parts"
        )


def sentences_as_written(text: str) -> list[str]:
    """Split a text of any language into sentences, single-spaced and otherwise as they are written."""
    return [
        sentence
        for paragraph in re.split(r"\n[ \t]*\n", text)
        for sentence in _sentences(" ".join(paragraph.split()))
        if _is_speakable(sentence)
    ]


def normalise(sentence: str, is_known: Callable[[str], bool] | None = None) -> str:
    """Spell out one sentence: lower-case words and, after some of them, one character of `PAUSES`.

    `Dr. Smith paid $3.50 (twice).` -> `doctor smith paid three dollars fifty cents twice.`
    Gives an empty string where nothing is speakable.

    is_known: tells words (lower case) from acronyms; unknown runs of two to five capitals are read by
    letter, unless the whole sentence is in capitals.
    """
    words: list[str] = []
    text = expand(" ".join(clean(sentence).split()))
    has_small = any(c.islower() for c in text)
    # Where no single quote opens, one that closes a word is an apostrophe: the dogs' tails.
    closing = _CLOSING + ("'" if _OPENING_QUOTE.search(text) else "")
    for token in text.split():
        pause = _pause(token, closing)
        for match in _TOKEN.finditer(token):
            if match["word"]:
                word = match["word"].lower()
                acronym = has_small and is_known is not None and _is_acronym(match["word"], is_known)
                words += letters(word).split() if acronym or _UNSPELLABLE.fullmatch(word) else [word]
        if pause and words and words[-1][-1] not in PAUSES:
            words[-1] += pause
    return " ".join(words)


def _is_acronym(word: str, is_known: Callable[[str], bool]) -> bool:
    if not _CAPITALS.fullmatch(word):
        return False
    return word == _NO_PRONOUN or not is_known(word.lower())


def _pause(token: str, closing: str) -> str:
    """Tell which pause a token ends in: its own, or a comma for what closes and for a dash."""
    end = token[len(token.rstrip(PAUSES + closing)) :]
    mark = next((c for c in end if c in PAUSES), "")
    closes = end and end != token  # a quote by itself may as well open
    return mark or ("," if closes or token == "--" else "")


def clean(text: str) -> str:
    """Fold to ASCII (and a few signs that have a name); line breaks stay, overlong words are cut."""
    text = _RANGE.sub("-", _VULGAR.sub(" ", text)).translate(_FOLD)
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text))
    plain = "".join(c for c in folded if not unicodedata.combining(c)).translate(_FOLD)
    plain = re.sub(r"[^\S\n]+|\r", " ", plain)
    return _OVERLONG.sub(r"\1 ", _UNSPEAKABLE.sub(" ", plain))


def _is_speakable(text: str) -> bool:
    return any(c.isalnum() for c in text)


def _sentences(paragraph: str) -> Iterator[str]:
    start = 0
    for match in _END.finditer(paragraph):
        mark, following = match[1], match[2]
        if following.islower():
            continue
        before = paragraph[max(start, match.start() - 12) : match.start()]
        abbreviation = _ABBREVIATED.search(before) or (following.isdigit() and _NUMBERED.search(before))
        if mark == "." and abbreviation:
            continue
        yield paragraph[start : match.end()].strip()
        start = match.end()
    if start < len(paragraph):
        yield paragraph[start:].strip()


def _shorten(sentence: str) -> list[str]:
    """Cut a sentence that is too long after clauses, and clauses that are too long between words."""
    if _length(sentence) <= SENTENCE_CHARACTERS:
        return [sentence]
    pieces: list[str] = []
    for clause in _CLAUSE.split(sentence):
        pieces += [clause] if _length(clause) <= SENTENCE_CHARACTERS else _pack(clause.split())
    return _pack(pieces)


def _pack(pieces: list[str]) -> list[str]:
    packed: list[str] = []
    filled = SENTENCE_CHARACTERS
    for piece in pieces:
        length = _length(piece)
        if filled + length < SENTENCE_CHARACTERS:
            packed[-1] += f" {piece}"
            filled += length + 1
        else:
            packed.append(piece)
            filled = length
    return packed


def _length(text: str) -> int:
    """Count the characters when spelled out; the letter w by itself counts as its long name."""
    spelled = text if text.isalpha() and len(text) < 8 else normalise(text)
    return len(spelled) + 5 * (spelled.count("w w") + spelled.count("ww"))
