"""Text to phones with stress: American English in the phones of the CMU dictionary.

Vowels carry their stress as a digit, as in the dictionary: `ah0` (none), `ah1` (primary), `ah2`
(secondary). A pause keeps the punctuation it stands for, because questions and statements sound
different: `pau` (start, comma, colon, semicolon), `pau.`, `pau?` and `pau!`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from typing import ClassVar

from ..errors import TextError
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

FULL_PAUSES = {mark: PAUSE + mark for mark in ".?!"}
STRESSES = "012"

_CLITICS = {"s": "z", "ll": "ah0 l", "ve": "v", "d": "d", "re": "er0", "m": "m", "t": "t"}

_BEFORE_A_VERB = frozenset(
    (
        "to will would may might can could shall should must ought cannot can't couldn't won't wouldn't "
        "shouldn't don't doesn't didn't do does did i you we they who let's please never always not"
    ).split()
)
_BEFORE_A_VERB_IN_S = frozenset("he she it who that which always never".split())
_PAST = frozenset("have has had having been be was were is are be i've you've we've they've".split())


class StressedLexicon(Lexicon):
    """Pronounces words and sentences with stress; its file has format 2.

    Words of the dictionary that `rules` read right are not kept in `words`; those to which a sentence
    gives no stress ("of", "the") are there with unstressed vowels.
    """

    FORMAT: ClassVar[str] = "soundstorm-lexicon 2"
    WORD_LINE: ClassVar[re.Pattern[bytes]] = re.compile(
        rb"(?P<word>[a-z']+)\t(?P<phones>[a-z]+[012]?(?: [a-z]+[012]?)*)"
        rb"(?:\t(?P<verb>[a-z]+[012]?(?: [a-z]+[012]?)*))?\n"
    )

    @cached_property
    def symbols(self) -> tuple[str, ...]:
        """Every phone and pause that can come out, sorted."""
        consonants = "b ch d dh f g hh jh k l m n ng p r s sh t th v w y z zh".split()
        vowels = [vowel + stress for vowel in VOWELS - {"ax"} for stress in STRESSES]
        return tuple(sorted([*consonants, *vowels, PAUSE, *FULL_PAUSES.values()]))

    def pronounce(self, word: str, *, verb: bool = False) -> tuple[str, ...]:
        """Return the phones of one word, without a pause. Raises `TextError` where it has no letter."""
        spelled = "".join(c for c in word.lower() if "a" <= c <= "z" or c == "'").strip("'")
        for letters in dict.fromkeys((spelled, spelled.replace("'", ""))):
            if listed := self._listed(letters, verb=verb):
                return tuple(listed.split())
        stem, _, clitic = spelled.rpartition("'")
        if clitic in _CLITICS and stem:
            phones = self.pronounce(stem, verb=verb)
            return (*phones, *_clitic(clitic, phones[-1]))
        letters = spelled.replace("'", "")
        if not letters:
            raise TextError(f"word {word!r} has no letter; give a word of the letters a to z")
        if self._is_speakable(letters) and (phones := self.rules(letters)):
            return with_one_stress(phones)
        return self.by_letter(letters)

    def by_letter(self, letters: str) -> tuple[str, ...]:
        """Return the phones of letters read one by one; the last one has the stress."""
        spoken = [self.words[letter].split() for letter in letters]
        for phones in spoken[:-1]:
            phones[:] = [phone.replace("1", "2") for phone in phones]
        return tuple(phone for phones in spoken for phone in phones)

    def spoken(self, words: Sequence[Word]) -> list[tuple[tuple[str, ...], str]]:
        """Return for each word its phones and the pause after it, empty where the next word follows."""
        texts, marks = [word.text for word in words], [word.pause for word in words]
        marks[-1] = marks[-1] or "."
        found: list[tuple[tuple[str, ...], str]] = []
        for i in reversed(range(len(words))):  # some words change with the sound of the next
            pause = FULL_PAUSES.get(marks[i], PAUSE) if marks[i] else ""
            following = "" if pause else found[-1][0][0]
            phones = words[i].phones
            found.append((tuple(phones.split()) if phones else self._said(texts, i, following), pause))
        return found[::-1]

    def _said(self, words: list[str], i: int, following: str) -> tuple[str, ...]:
        """Return the phones of a word; `following` is the first phone after it, empty before a pause."""
        word, before = words[i], words[i - 1] if i else ""
        before_vowel = following[-1:].isdigit()
        if word == "a" and following:
            return ("ah0",)
        if word == "the" and before_vowel:
            return ("dh", "iy0")
        if word == "to" and before_vowel:
            return ("t", "uw0")
        if word == "read":
            heard = "r eh1 d" if before in _PAST else "r iy1 d"
            return tuple(heard.split())
        if not following and word in STRONG:
            return tuple(STRONG[word].split())
        after = words[i + 1] if following else ""
        return self.pronounce(word, verb=word in self.verbs and _is_verb(word, before, after))


# Words without stress that have one before a pause.
STRONG = {
    "to": "t uw1", "of": "ah1 v", "for": "f ao1 r", "from": "f r ah1 m", "at": "ae1 t", "was": "w aa1 z",
    "were": "w er1", "are": "aa1 r", "am": "ae1 m", "is": "ih1 z", "can": "k ae1 n", "could": "k uh1 d",
    "would": "w uh1 d", "should": "sh uh1 d", "have": "hh ae1 v", "has": "hh ae1 z", "had": "hh ae1 d",
    "do": "d uw1", "does": "d ah1 z", "them": "dh eh1 m", "us": "ah1 s", "me": "m iy1", "you": "y uw1",
    "he": "hh iy1", "she": "sh iy1", "it": "ih1 t", "him": "hh ih1 m", "her": "hh er1", "we": "w iy1",
    "that": "dh ae1 t", "in": "ih1 n", "on": "aa1 n", "with": "w ih1 dh", "by": "b ay1", "be": "b iy1",
    "will": "w ih1 l", "must": "m ah1 s t", "than": "dh ae1 n", "as": "ae1 z", "a": "ey1", "but": "b ah1 t",
    "and": "ae1 n d", "or": "ao1 r", "if": "ih1 f", "so": "s ow1", "my": "m ay1", "your": "y ao1 r",
}  # fmt: skip


def with_one_stress(phones: tuple[str, ...]) -> tuple[str, ...]:
    """Leave one primary stress, the first; where there is none, give it to the first full vowel."""
    marked = list(phones)
    primary = [i for i, phone in enumerate(marked) if phone.endswith("1")]
    for i in primary[1:]:
        marked[i] = marked[i][:-1] + "2"
    if not primary:
        vowels = [i for i, phone in enumerate(marked) if phone[-1].isdigit()]
        full = [i for i in vowels if marked[i] not in ("ah0", "er0", "ih0", "iy0")] or vowels
        for i in full[:1]:
            marked[i] = marked[i][:-1] + "1"
    return tuple(marked)


def _clitic(clitic: str, before: str) -> tuple[str, ...]:
    """Phones of 's, 'll, 've, 'd and the like after the phone `before`."""
    if clitic == "s":
        if before in SIBILANTS:
            return ("ih0", "z")
        return ("s",) if before in VOICELESS else ("z",)
    if clitic == "d":
        return ("ih0", "d") if before in ("t", "d") else ("d",)
    if clitic == "ll" and before[-1].isdigit():
        return ("l",)
    if clitic == "ve" and not before[-1].isdigit():
        return ("ah0", "v")
    return tuple(_CLITICS[clitic].split())


def _is_verb(word: str, before: str, after: str) -> bool:
    if word.endswith("s"):
        return before in _BEFORE_A_VERB_IN_S
    if before in _BEFORE_A_VERB:
        return after not in PREPOSITIONS or before in ("to", "i", "you", "we", "they")
    return after in OBJECTS and before not in DETERMINERS and before not in TO_BE
