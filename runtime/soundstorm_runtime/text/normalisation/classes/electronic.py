"""Addresses of the web and of files: URLs, domains, e-mail, paths, handles and hashtags."""

from __future__ import annotations

import re

from ..number_words import digits
from ..token_class import CAPITALS, DIGITS, LETTERS, Match, TokenClass, before, spell
from .symbols import NAMES

_SIGNS = {
    ".": "dot", "@": "at", "/": "slash", ":": "colon", "_": "underscore", "-": "dash", "?": "question mark",
    "=": "equals", "&": "ampersand", "#": "hash", "%": "percent", "~": "tilde", "+": "plus",
    "\\": "backslash",
    ",": "comma", ";": "semicolon", "!": "exclamation mark", "*": "asterisk", "$": "dollar",
}  # fmt: skip
_SPELLED = frozenset(
    (
        "www http https ftp sftp ssh html htm xml css php asp pdf png jpg jpeg gif svg mp csv tsv sql "
        "exe txt "
        "yml py js ts cpp rs sh gz usr src tmp cfg docx xlsx pptx flac ogg id url api ai io uk eu de fr "
        "nl pl "
        "ru cn jp ch br au nz se dk fi cz tv fm gg ly bbc cnn ibm npr nhs cdn dns ip uri"
    ).split()
)
_ALWAYS_LETTERS = frozenset("it us at be md es in no me to so my".split())  # behind a dot, they are no words
_TOP_LEVEL = "COM|NET|ORG|EDU|GOV|IO|UK|INFO|BIZ|TV|AI"
_END = re.compile(r"[.,;:!?'\")\]}*]+$")
_PIECE = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+|.")


def say(text: str) -> str:
    """Read an address: words, digits one by one, and signs by their names."""
    words = []
    for match in _PIECE.finditer(text):
        piece = match[0]
        if piece.isdigit():
            words.append(digits(piece))
        elif not (piece.isascii() and piece.isalpha()):
            words.append(_SIGNS.get(piece) or NAMES.get(piece, ""))
        elif _by_letter(piece, text[: match.start()][-1:]):
            words.append(spell(piece))
        else:
            words.append(piece.lower())
    return " ".join(filter(None, words))


def _by_letter(piece: str, last: str) -> bool:
    name = piece.lower()
    if len(piece) == 1 or name in _SPELLED or (last == "." and name in _ALWAYS_LETTERS):
        return True
    return not re.search("[aeiouy]", name)


def _address(match: Match) -> str:
    return say(_END.sub("", match[0])) + _mark(match[0])


def _mark(text: str) -> str:
    """Return the pause of the punctuation that follows an address at once and is no part of it."""
    end = _END.search(text)
    return next((c for c in end[0] if c in ",;:.?!"), "") if end else ""


def _domain_or_file(match: Match) -> str | None:
    """Read `foo.ai`, `config.json`, `Node.js`; not the `U.S.` of abbreviations, nor a glued `end.Next`."""
    parts = match[0].split(".")
    if all(len(part) == 1 for part in parts) or any(part.isdigit() and len(parts) == 2 for part in parts):
        return None
    return say(match[0])


def _extension(match: Match) -> str | None:
    return None if before(match, 1)[-1:].isalnum() else say(match[0])


def _handle(match: Match) -> str:
    return "at " + say(match[0][1:])


def _hashtag(match: Match) -> str:
    return "hashtag " + say(match[0][1:])


def _hexadecimal(match: Match) -> str:
    return " ".join(digits(c) if c.isdigit() else spell(c) for c in match[0])


_LABEL = r"[A-Za-z0-9](?:[\w-]{0,61}\w)?"
CLASSES = [
    TokenClass(
        "email",
        LETTERS + DIGITS,
        r"[A-Za-z0-9][\w.+&-]{0,63}@[A-Za-z0-9][\w-]{0,62}(?:\.[\w-]{1,63}){1,8}(?:/[\w./-]{0,99}\w)?",
        _address,
    ),
    TokenClass(
        "url",
        LETTERS,
        r"(?:(?:https?|s?ftp|file|ssh|wss?|git|HTTPS?)://[^\s<>\"]{1,1000}|localhost:\d{2,5}[^\s<>\"]{0,500})",
        _address,
    ),
    TokenClass(
        "domain",
        LETTERS + DIGITS,
        rf"(?:{_LABEL}\.){{1,8}}(?:[a-z][a-z0-9_-]{{0,30}}"
        rf"|(?:{_TOP_LEVEL})\b)(?![\w@])(?!\.[a-z]\b)"
        r"(?::\d{2,5})?(?:/[^\s<>\",;]{0,500}[\w/])?",
        _domain_or_file,
    ),
    TokenClass(
        "path",
        CAPITALS + "/~.",
        r"~(?:/[\w.-]{1,99}){1,30}/?|(?:\.{1,2})?/[\w.-]{1,99}(?:/[\w.-]{1,99}){1,30}/?"
        r"|[A-Z]:\\[\w\\. -]{0,200}\w",
        _address,
    ),
    TokenClass("hexadecimal", DIGITS, r"0[xX][0-9A-Fa-f]{1,16}(?!\w)", _hexadecimal),
    TokenClass("extension", ".", r"\.(?:NET|[a-z]{2,6})(?![\w.])", _extension),
    TokenClass("handle", "@", r"@[A-Za-z_]\w{1,30}", _handle),
    TokenClass("hashtag", "#", r"#[A-Za-z]\w{1,60}", _hashtag),
]
