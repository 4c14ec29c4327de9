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
from .homographs import is_verb, meant
from .lexicon import PAUSE, SIBILANTS, VOICELESS, VOWELS, Lexicon
from .words import Word

FULL_PAUSES = {mark: PAUSE + mark for mark in ".?!"}
STRESSES = "012"

_CLITICS = {"s": "z", "ll": "ah0 l", "ve": "v", "d": "d", "re": "er0", "m": "m", "t": "t"}

LONGEST_ACRONYM = 5  # letters; a longer word with a vowel is never spelled, whatever its consonants


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
        stem, _, ending = spelled.rpartition("'")
        if ending in _CLITICS and stem:
            phones = self.pronounce(stem, verb=verb)
            return (*phones, *clitic(ending, phones[-1]))
        letters = spelled.replace("'", "")
        if not letters:
            raise TextError(f"word {word!r} has no letter; give a word of the letters a to z")
        if self._is_readable(letters) and (phones := self.rules(letters)):
            return with_one_stress(phones)
        return self.by_letter(letters)

    def _is_readable(self, letters: str) -> bool:
        has_vowel = any(letter in "aeiouy" for letter in letters)
        return self._is_speakable(letters) or (has_vowel and len(letters) > LONGEST_ACRONYM)

    def by_letter(self, letters: str) -> tuple[str, ...]:
        """Return the phones of letters read one by one; the last one has the stress."""
        spoken = [self.words[letter].split() for letter in letters]
        for phones in spoken[:-1]:
            phones[:] = [phone.replace("1", "2") for phone in phones]
        return tuple(phone for phones in spoken for phone in phones)

    def spoken(self, words: Sequence[Word]) -> list[tuple[tuple[str, ...], str]]:
        """Return for each word its phones and the pause after it, empty where the next word follows."""
        marks = [word.pause for word in words]
        marks[-1] = marks[-1] or "."
        phrases = _phrases(words)
        found: list[tuple[tuple[str, ...], str]] = []
        for i in reversed(range(len(words))):  # some words change with the sound of the next
            pause = FULL_PAUSES.get(marks[i], PAUSE) if marks[i] else ""
            following = "" if pause else found[-1][0][0]
            phones = words[i].phones
            said = tuple(phones.split()) if phones else self._said(words[i].text, *phrases[i], following)
            found.append((said, pause))
        return found[::-1]

    def _said(self, word: str, before: list[str], after: list[str], following: str) -> tuple[str, ...]:
        """Return the phones of a word.

        Args:
            word: In lower case.
            before: The words of the phrase before it, the nearest first.
            after: The words of the phrase after it.
            following: The first phone after it, empty before a pause.
        """
        before_vowel = following[-1:].isdigit()
        if word == "a" and following:
            return ("ah0",)
        if word == "the" and before_vowel:
            return ("dh", "iy0")
        if word == "to" and before_vowel:
            return ("t", "uw0")
        if phones := meant(word, before, after):
            return tuple(phones.split())
        if not following and word in STRONG:
            return tuple(STRONG[word].split())
        return self.pronounce(word, verb=word in self.verbs and is_verb(word, before, after))


def _phrases(words: Sequence[Word]) -> list[tuple[list[str], list[str]]]:
    """Return for each word the words of its phrase before it, the nearest first, and those after it."""
    found = []
    start = 0
    for end in (place for place, word in enumerate(words, 1) if word.pause or place == len(words)):
        phrase = [word.text for word in words[start:end]]
        found += [(phrase[:i][::-1], phrase[i + 1 :]) for i in range(len(phrase))]
        start = end
    return found


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


def clitic(ending: str, before: str) -> tuple[str, ...]:
    """Return the phones of 's, 'll, 've, 'd and the like after the phone `before`."""
    if ending == "s":
        if before in SIBILANTS:
            return ("ih0", "z")
        return ("s",) if before in VOICELESS else ("z",)
    if ending == "d":
        return ("ih0", "d") if before in ("t", "d") else ("d",)
    if ending == "ll" and before[-1].isdigit():
        return ("l",)
    if ending == "ve" and not before[-1].isdigit():
        return ("ah0", "v")
    return tuple(_CLITICS[ending].split())
