"""Text to phones: the words that letters do not tell, and letter-to-sound rules for all others.

The phones are those of flite's American English (CMU's set, `pau` for a pause), and so are the
habits: where it pauses, how "the" and "a" change with what follows, how it reads an acronym.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from ..errors import BundleError, TextError
from ..support.atomic import write_file
from ..support.files import gunzip, read_file, reason
from .letter_to_sound import LETTERS, LetterToSound
from .markup import MarkedText
from .sentences import OnDropped, log_dropped, split_sentences
from .user_lexicon import UserLexicon, as_symbol
from .words import Sentence, Word

LARGEST = 16 << 20  # bytes of a lexicon, unpacked; the largest dictionary of English has 4 million
PAUSE = "pau"
VOWELS = frozenset("aa ae ah ao aw ax ay eh er ey ih iy ow oy uh uw".split())
_SIBILANT = frozenset("s z sh zh ch jh".split())
_VOICELESS = frozenset("p t k f th".split())
_SUFFIXES = {"s": "z", "ll": "l", "ve": "v", "d": "d"}

# What makes a neighbour turn a noun into a verb (to use it, the use of it), as flite's tagger has it.
_CALL_A_VERB = frozenset("to will may would can could should must ought might".split())
_ASK_A_VERB = frozenset("who what where how when not".split())
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
_INFINITIVES = frozenset("to can can't cannot could couldn't will shall".split())
_READ_OR_LEAD = {"read": ("r eh d", "r iy d"), "lead": ("l eh d", "l iy d")}

_VOWEL_LETTERS = "aeiouy"


class Lexicon:
    """Pronounces words and sentences.

    Args:
        words: lower-case words to their phones, separated by spaces; only those need to be there
            that `rules` get wrong. The letters a to z must be, spoken as letters.
        verbs: words that sound otherwise as verbs ("use"), to those phones.
        rules: the letter-to-sound trees.
        onsets: letters that may stand before a word's first vowel.
        codas: letters that may stand after its last; a word with others is an acronym, read by letter.
    """

    FORMAT: ClassVar[str] = "soundstorm-lexicon 1"
    WORD_LINE: ClassVar[re.Pattern[str]] = re.compile(
        r"([a-z]+)\t([a-z]+(?: [a-z]+)*)(?:\t([a-z]+(?: [a-z]+)*))?"
    )

    def __init__(
        self,
        words: Mapping[str, str],
        verbs: Mapping[str, str],
        rules: LetterToSound,
        onsets: Iterable[str],
        codas: Iterable[str],
    ) -> None:
        self.words = dict(words)
        self.verbs = dict(verbs)
        self.rules = rules
        self.onsets = frozenset(onsets)
        self.codas = frozenset(codas)
        self._user: UserLexicon | None = None

    @cached_property
    def symbols(self) -> tuple[str, ...]:
        """Every phone that can come out, sorted, `pau` among them."""
        told = {phone for phones in (*self.words.values(), *self.verbs.values()) for phone in phones.split()}
        return tuple(
            sorted(told | self.rules.symbols() | {PAUSE, "ax", "dh", "iy", *_SUFFIXES.values(), "s"})
        )

    def add(self, own: UserLexicon) -> None:
        """Pronounce a user's words as they want it."""
        self.words |= own.phones
        self._user = own

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
        told = (verb and self.verbs.get(letters)) or self.words.get(letters)
        if told:
            return tuple(told.split())
        if self._is_speakable(letters) and (phones := self.rules(letters)):
            return phones
        return tuple(phone for letter in letters for phone in self.words[letter].split())

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

    @classmethod
    def load(cls, path: Path) -> Lexicon:
        """Read what `save` wrote. Raises `BundleError` for a file that is missing or damaged."""
        return cls.from_bytes(cls.read(path), str(path))

    @staticmethod
    def read(path: Path) -> bytes:
        """Read the file's content. Raises `BundleError` where it cannot be read."""
        try:
            return read_file(Path(path), LARGEST)
        except OSError as error:
            raise BundleError(
                f"cannot read lexicon {path} ({reason(error)}); export the bundle again"
            ) from error

    @classmethod
    def from_bytes(cls, content: bytes, name: str) -> Lexicon:
        """Read what `to_bytes` gave; `name` is how messages call it."""
        try:
            lines = gunzip(content, LARGEST).decode("utf-8").split("\n")
        except ValueError as error:
            raise BundleError(f"cannot read lexicon {name} ({error}); export the bundle again") from error
        if lines[0] != cls.FORMAT:
            raise BundleError(
                f"lexicon {name} begins with {lines[0][:40]!r}, expected {cls.FORMAT!r}; export again"
            )
        try:
            return cls._parse(lines[1:])
        except ValueError as error:
            raise BundleError(f"lexicon {name} is damaged: {error}; export the bundle again") from error

    @classmethod
    def _parse(cls, lines: list[str]) -> Lexicon:
        head = [line.split("\t") for line in lines[: len(LETTERS) + 3]]
        names = ["onsets", "codas", *LETTERS, "words"]
        if [cells[0] for cells in head] != names or any(len(cells) != 2 for cells in head):
            raise ValueError("its first lines are not onsets, codas, 26 rules and the number of words")
        values = dict(head)
        rows = lines[len(names) :]
        if rows[-1:] != [""] or str(len(rows) - 1) != values["words"]:
            raise ValueError(f"{values['words']} words expected, {max(len(rows) - 1, 0)} found")
        words: dict[str, str] = {}
        verbs: dict[str, str] = {}
        for row in rows[:-1]:
            match = cls.WORD_LINE.fullmatch(row)
            if match is None:
                raise ValueError(f"line {row[:60]!r} is not 'word<tab>phones[<tab>phones as a verb]'")
            word, phones, verb = match.groups()
            words[word] = phones
            if verb:
                verbs[word] = verb
        if not words.keys() >= set(LETTERS):
            raise ValueError("it does not tell how each of the letters a to z is spoken")
        rules = LetterToSound({letter: values[letter] for letter in LETTERS})
        return cls(words, verbs, rules, ["", *values["onsets"].split()], ["", *values["codas"].split()])


def _suffix(suffix: str, before: str) -> tuple[str, ...]:
    """Phones of 's, 'll, 've and 'd after the phone `before`."""
    phone = _SUFFIXES[suffix]
    if suffix != "s":
        return (phone,) if before in VOWELS else ("ax", phone)
    if before in _SIBILANT:
        return ("ax", phone)
    return ("s",) if before in _VOICELESS else (phone,)


def _is_verb(before: str, after: str) -> bool:
    if before in _CALL_A_VERB:
        return True
    if before in _ASK_A_VERB:
        return after not in PREPOSITIONS
    return after in OBJECTS and before not in DETERMINERS and before not in TO_BE
