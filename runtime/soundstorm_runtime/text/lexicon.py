"""Text to phones: the words that letters do not tell, and letter-to-sound rules for all others.

`Lexicon` is what all have in common. Two kinds pronounce: `FliteLexicon` as flite does, without stress, and
`StressedLexicon` in the phones of the CMU dictionary, with stress. `load_lexicon` reads either.
"""

from __future__ import annotations

import gzip
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from ..errors import TextError
from ..support.atomic import write_file
from .letter_to_sound import LetterToSound
from .markup import MarkedText
from .sentences import OnDropped, log_dropped, split_sentences
from .user_lexicon import UserLexicon, as_symbol
from .words import Sentence, Word

PAUSE = "pau"
VOWELS = frozenset("aa ae ah ao aw ax ay eh er ey ih iy ow oy uh uw".split())
SIBILANTS = frozenset("s z sh zh ch jh".split())
VOICELESS = frozenset("p t k f th".split())

# What makes a neighbour turn a noun into a verb (to use it, the use of it), as flite's tagger has it.
DETERMINERS = frozenset(
    ("the a an no some this each another those every all any these both neither many").split()
)
OBJECTS = DETERMINERS | frozenset("her his their its our mine it".split())
TO_BE = frozenset("is am are was were has have had be".split())
PREPOSITIONS = frozenset(
    (
        "of for in on that with by at from as if against about before because under after over into "
        "while without through new between among until per up down to"
    ).split()
)

_VOWEL_LETTERS = "aeiouy"


class Lexicon(ABC):
    """Pronounces words and sentences.

    Args:
        words: lower-case words to their phones, separated by spaces; only those need to be there
            that `rules` get wrong. The letters a to z must be, spoken as letters.
        verbs: words that sound otherwise as verbs ("use"), to those phones.
        rules: the letter-to-sound trees.
        onsets: letters that may stand before a word's first vowel.
        codas: letters that may stand after its last; a word with others is an acronym, read by letter.
    """

    FORMAT: ClassVar[str]
    """The first line of its file."""
    WORD_LINE: ClassVar[re.Pattern[bytes]]
    """A line of its file for a word, as `WordTable` takes it."""

    def __init__(
        self,
        words: Mapping[str, str],
        verbs: Mapping[str, str],
        rules: LetterToSound,
        onsets: Iterable[str],
        codas: Iterable[str],
    ) -> None:
        self.words = words
        self.verbs = verbs
        self.rules = rules
        self.onsets = frozenset(onsets)
        self.codas = frozenset(codas)
        self._user: UserLexicon | None = None

    @property
    @abstractmethod
    def symbols(self) -> tuple[str, ...]:
        """Every phone and pause that can come out, sorted."""

    @abstractmethod
    def pronounce(self, word: str, *, verb: bool = False) -> tuple[str, ...]:
        """Return the phones of one word, without a pause. Raises `TextError` where it has no letter."""

    @abstractmethod
    def spoken(self, words: Sequence[Word]) -> list[tuple[tuple[str, ...], str]]:
        """Return for each word its phones and the pause after it, empty where the next word follows."""

    def add(self, own: UserLexicon) -> None:
        """Pronounce a user's words as they want it."""
        self._user = own

    def is_known(self, word: str) -> bool:
        """Return whether the lexicon has a word (lower case) of its own, beside what the rules read."""
        return word in self.words

    def sentences(self, text: str | MarkedText, on_dropped: OnDropped = log_dropped) -> list[Sentence]:
        """Read a text: its sentences and their words, with the user's words in the places of theirs.

        Args:
            text: The text as it was written.
            on_dropped: Called once with the characters that are not spoken, if there are any.

        Raises:
            TextError: Nothing in it is speakable.
        """
        rewrite = self._user.substitute if self._user else None
        found = split_sentences(text, self.is_known, rewrite=rewrite, on_dropped=on_dropped)
        return [self._with_symbols(sentence) for sentence in found]

    def _with_symbols(self, sentence: Sentence) -> Sentence:
        """Write phones of markup as the lexicon does. Raises `TextError` for one that it does not have."""
        if not any(word.phones for word in sentence.words):
            return sentence
        words = []
        for word in sentence.words:
            phones = [as_symbol(phone, self.symbols) for phone in (word.phones or "").split()]
            if unknown := [phone for phone in phones if phone not in self.symbols]:
                raise TextError(
                    f"text has the phone {unknown[0]!r} in [[{word.phones}]], "
                    f"expected some of: {' '.join(self.symbols)}"
                )
            words.append(word._replace(phones=" ".join(phones)) if phones else word)
        return Sentence(sentence, words, sentence.silence, sentence.style, sentence.ends_paragraph)

    def phones(self, text: str) -> list[str]:
        """Return the phones of a text, with `pau` at its start, a pause at each break, and one at its end.

        Raises `TextError` where nothing in it is speakable.
        """
        return self.phones_of([word for sentence in self.sentences(text) for word in sentence.words])

    def phones_of(self, words: Sequence[Word]) -> list[str]:
        """Return the phones of words, with the pauses between them and at both ends."""
        spoken = self.spoken(words)
        return [PAUSE, *(phone for phones, pause in spoken for phone in (*phones, *([pause] * bool(pause))))]

    def _listed(self, word: str, *, verb: bool) -> str | None:
        """Return the phones that the user or the lexicon lists for a word; None where it lists none."""
        own = self._user.phones.get(word) if self._user else None
        return own or (verb and self.verbs.get(word)) or self.words.get(word)

    def _is_speakable(self, word: str) -> bool:
        vowels = [i for i, letter in enumerate(word) if letter in _VOWEL_LETTERS]
        if not vowels:
            return False
        return word[: vowels[0]] in self.onsets and word[vowels[-1] + 1 :] in self.codas

    def to_bytes(self) -> bytes:
        """Return the lexicon as the content of a file; equal lexicons have equal bytes."""
        lines = [
            self.FORMAT,
            "onsets\t" + " ".join(sorted(self.onsets - {""})),
            "codas\t" + " ".join(sorted(self.codas - {""})),
            *(f"{letter}\t{rule}" for letter, rule in self.rules.rules.items()),
            f"words\t{len(self.words)}",
        ]
        for word, phones in sorted(self.words.items()):
            lines.append("\t".join([word, phones, *([self.verbs[word]] if word in self.verbs else [])]))
        return gzip.compress("\n".join([*lines, ""]).encode(), mtime=0)

    def save(self, path: Path) -> None:
        """Write the lexicon to a file."""
        write_file(path, self.to_bytes())
