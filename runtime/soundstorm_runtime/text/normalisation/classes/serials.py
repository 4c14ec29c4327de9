"""Names that mix letters and digits: `MP3`, `x86`, `B2B`, `2FA`, `H2O`, `A1234`, `4K`."""

from __future__ import annotations

import re

from ..number_words import identifier
from ..token_class import DIGITS, LETTERS, Match, TokenClass, spell

_PIECE = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+")


def _serial(match: Match) -> str:
    return " ".join(_piece(piece) for piece in _PIECE.findall(match[0]))


def _piece(piece: str) -> str:
    if piece.isdigit():
        return identifier(piece)
    spelled = (
        len(piece) == 1 or not re.search("[aeiouyAEIOUY]", piece) or (piece.isupper() and len(piece) < 4)
    )
    return spell(piece) if spelled else piece.lower()


CLASSES = [
    TokenClass(
        "serial", LETTERS + DIGITS, r"(?=[A-Za-z]{0,58}\d)(?=\d{0,58}[A-Za-z])[A-Za-z\d]{2,60}", _serial
    )
]
