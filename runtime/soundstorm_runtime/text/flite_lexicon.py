"""Text to phones as flite's American English has them: CMU's set without stress, `pau` for a pause.

Its habits are flite's, too: where it pauses, how "the" and "a" change with what follows, how it reads an
acronym.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from typing import ClassVar

from ..errors import TextError
from .letter_to_sound import LETTERS
from .lexicon import (
    DETERMINERS,
    OBJECTS,
    PAUSE,
    PREPOSITIONS,
    SIBILANTS,
    TO_BE,
    VOICELESS,
    VOWELS,
    Lexicon,
)
from .words import Word

_SUFFIXES = {"s": "z", "ll": "l", "ve": "v", "d": "d"}

_CALL_A_VERB = frozenset("to will may would can could should must ought might".split())
_ASK_A_VERB = frozenset("who what where how when not".split())
_INFINITIVES = frozenset("to can can't cannot could couldn't will shall".split())
_READ_OR_LEAD = {"read": ("r eh d", "r iy d"), "lead": ("l eh d", "l iy d")}


class FliteLexicon(Lexicon):
    """Pronounces words and sentences as flite does; its file has format 1."""

    FORMAT: ClassVar[str] = "soundstorm-lexicon 1"
    WORD_LINE: ClassVar[re.Pattern[bytes]] = re.compile(
        rb"(?P<word>[a-z]+)\t(?P<phones>[a-z]+(?: [a-z]+)*)(?:\t(?P<verb>[a-z]+(?: [a-z]+)*))?\n"
    )

    @cached_property
    def symbols(self) -> tuple[str, ...]:
        """Every phone that can come out, sorted, `pau` among them."""
        listed = {
            phone for phones in (*self.words.values(), *self.verbs.values()) for phone in phones.split()
        }
        return tuple(
            sorted(listed | self.rules.symbols() | {PAUSE, "ax", "dh", "iy", *_SUFFIXES.values(), "s"})
        )

    def pronounce(self, word: str, *, verb: bool = False) -> tuple[str, ...]:
        """Return the phones of one word, without a pause. Raises `TextError` where it has no letter."""
        letters = "".join(c for c in word.lower() if c in LETTERS or c == "'")
        stem, _, suffix = letters.rpartition("'")
        if suffix in _SUFFIXES and stem.strip("'"):
            phones = self.pronounce(stem, verb=verb)
            return (*phones, *_suffix(suffix, phones[-1]))
        letters = letters.replace("'", "")
        if not letters:
            raise TextError(f"word {word!r} has no letter; give a word of the letters a to z")
        if listed := self._listed(letters, verb=verb):
            return tuple(listed.split())
        if self._is_speakable(letters) and (phones := self.rules(letters)):
            return phones
        return tuple(phone for letter in letters for phone in self.words[letter].split())

    def spoken(self, words: Sequence[Word]) -> list[tuple[tuple[str, ...], str]]:
        """Return for each word its phones and the pause after it, empty where the next word follows."""
        texts = [word.text for word in words]
        found = [
            tuple(word.phones.split()) if word.phones else self._in_context(texts, i)
            for i, word in enumerate(words)
        ]
        for i, word in enumerate(words[:-1]):
            if not word.pause and not word.phones and word.text == "a":
                found[i] = ("ax",)
            elif not word.pause and not word.phones and word.text == "the" and found[i + 1][0] in VOWELS:
                found[i] = ("dh", "iy")
        pauses = [PAUSE if word.pause else "" for word in words[:-1]] + [PAUSE]
        return list(zip(found, pauses, strict=True))

    def _in_context(self, words: list[str], i: int) -> tuple[str, ...]:
        before = words[i - 1] if i else ""
        if words[i] in _READ_OR_LEAD:
            return tuple(_READ_OR_LEAD[words[i]][before in _INFINITIVES].split())
        after = words[i + 1] if i + 1 < len(words) else ""
        return self.pronounce(words[i], verb=_is_verb(before, after))


def _suffix(suffix: str, before: str) -> tuple[str, ...]:
    """Phones of 's, 'll, 've and 'd after the phone `before`."""
    phone = _SUFFIXES[suffix]
    if suffix != "s":
        return (phone,) if before in VOWELS else ("ax", phone)
    if before in SIBILANTS:
        return ("ax", phone)
    return ("s",) if before in VOICELESS else (phone,)


def _is_verb(before: str, after: str) -> bool:
    if before in _CALL_A_VERB:
        return True
    if before in _ASK_A_VERB:
        return after not in PREPOSITIONS
    return after in OBJECTS and before not in DETERMINERS and before not in TO_BE
