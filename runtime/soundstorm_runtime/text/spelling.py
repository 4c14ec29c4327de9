"""How a sentence becomes the ids that a text stage reads: phones of a lexicon, or tokens of a tokenizer."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BundleError, EngineError, TextError
from ..support.files import read_file, reason
from .lexicon import Lexicon
from .markup import MarkedText
from .sentences import OnDropped, check_length, log_dropped, sentences_as_written
from .words import Sentence

LARGEST_TOKENIZER = 64 << 20  # bytes
PAUSE = "pau"  # what phones of silence begin with: at both ends of a sentence and at its phrase breaks


@dataclass(frozen=True, slots=True)
class Unit:
    """What a text stage reads as one: a phone, a pause, or a word for a tokenizer.

    Attributes:
        text: The symbol of the phone or pause, or the word.
        word: Index of its word in the sentence; None for a pause.
        mark: The punctuation mark that a pause within the sentence stands for.
    """

    text: str
    word: int | None = None
    mark: str = ""


class Spelling(ABC):
    """Spells sentences in units, and units as ids.

    longest_unit: seconds that one may last; what takes longer was read by a stage that lost its way.
    """

    longest_unit: float

    @abstractmethod
    def sentences(self, text: str | MarkedText, on_dropped: OnDropped = log_dropped) -> list[Sentence]:
        """Split a text into sentences; characters that are not spoken go to `on_dropped`, once.

        Raises `TextError` for a text that cannot be spoken.
        """

    @abstractmethod
    def units(self, sentence: Sentence) -> list[Unit]:
        """Spell a sentence. Raises `TextError` where nothing in it can be spoken."""

    @abstractmethod
    def halves(self, units: list[Unit]) -> list[list[Unit]]:
        """Split where one may pause, nearest to the middle; give nothing where there is no such place."""

    @abstractmethod
    def ids(self, units: list[Unit]) -> np.ndarray:
        """Return the ids of units, int64 [phones], as the text encoder takes them."""


class Phones(Spelling):
    """Spells by a lexicon; a phone's id is its place in `symbols`. name: of the voice.

    Raises `BundleError` for a lexicon with a phone that the text stage does not know.
    """

    longest_unit = 0.4  # speech is some five times faster

    def __init__(self, lexicon: Lexicon, symbols: tuple[str, ...], name: str) -> None:
        self._lexicon = lexicon
        self._ids = {symbol: place for place, symbol in enumerate(symbols)}
        if unknown := [symbol for symbol in lexicon.symbols if symbol not in self._ids]:
            raise BundleError(
                f"the lexicon of voice '{name}' has the phone {unknown[0]!r}, "
                f"expected one of {', '.join(self._ids)}; export it again with soundstorm-export"
            )

    def sentences(self, text: str | MarkedText, on_dropped: OnDropped = log_dropped) -> list[Sentence]:
        """Split a text, and read it as English."""
        return self._lexicon.sentences(text, on_dropped)

    def units(self, sentence: Sentence) -> list[Unit]:
        """Return the phones of a sentence, with the pauses between its words and at both ends."""
        units = [Unit(PAUSE)]
        for index, (phones, pause) in enumerate(self._lexicon.spoken(sentence.words)):
            units += [Unit(phone, index) for phone in phones]
            if pause:
                units.append(Unit(pause, mark=sentence.words[index].pause))
        # The last one belongs to the end of the sentence, behind which there is a silence of its own.
        return [*units[:-1], Unit(units[-1].text)]

    def halves(self, units: list[Unit]) -> list[list[Unit]]:
        """Split at a pause, which both halves have."""
        inner = range(1, len(units) - 1)
        pauses = [place for place in inner if units[place].word is None]
        if not pauses:
            return []
        middle = min(pauses, key=lambda place: abs(place - len(units) / 2))
        return [units[: middle + 1], [Unit(PAUSE), *units[middle + 1 :]]]

    def ids(self, units: list[Unit]) -> np.ndarray:
        """Look phones up."""
        return np.array([self._ids[unit.text] for unit in units], np.int64)


class Tokens(Spelling):
    """Spells by a tokenizer file of the library `tokenizers`, such as byte pairs; its units are words.

    vocabulary: how many ids the text stage reads. end: the id that it expects after the last, if any.

    Raises `BundleError` for a file that is none or has more ids, `EngineError` without the library.
    """

    longest_unit = 1.5  # of a token, which is up to a long word

    def __init__(self, file: Path, vocabulary: int, end: int | None) -> None:
        self._tokenizer, self._end = _read_tokenizer(file), end
        if (count := self._tokenizer.get_vocab_size()) > vocabulary:
            raise BundleError(
                f"{file} has {count} tokens, expected at most {vocabulary}, as the text stage of this voice; "
                "export it again with soundstorm-export"
            )

    def sentences(self, text: str | MarkedText, on_dropped: OnDropped = log_dropped) -> list[Sentence]:
        """Split a text and leave it as it is written, in any language."""
        if isinstance(text, MarkedText):
            raise TextError("this voice reads letters and no phones, and takes no SSML; give it plain text")
        check_length(text)
        parts = sentences_as_written(text)
        if not parts:
            raise TextError(f"text {text.strip()[:40]!r} has no letter or digit; give some words to speak")
        return parts

    def units(self, sentence: Sentence) -> list[Unit]:
        """Return the words of a sentence."""
        return [Unit(word.text, index) for index, word in enumerate(sentence.words)]

    def halves(self, units: list[Unit]) -> list[list[Unit]]:
        """Split after a clause, or between words where there is none."""
        between = range(1, len(units))
        places = [place for place in between if re.search(r"[,;:.)]$", units[place - 1].text)] or between
        if not places:
            return []
        middle = min(places, key=lambda place: abs(place - len(units) / 2))
        return [units[:middle], units[middle:]]

    def ids(self, units: list[Unit]) -> np.ndarray:
        """Return the ids of the tokens of words, and the end after them."""
        words = " ".join(unit.text for unit in units)
        ids = self._tokenizer.encode(words).ids
        if not ids:
            raise TextError(f"the tokenizer makes nothing of {words[:40]!r}; give other words")
        return np.array(ids if self._end is None else [*ids, self._end], np.int64)


def _read_tokenizer(file: Path) -> Any:
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise EngineError(
            "this voice reads text by a tokenizer, and the library tokenizers is not installed; "
            "pip install 'soundstorm-edge[tokenizer]'"
        ) from error
    try:
        return Tokenizer.from_str(read_file(file, LARGEST_TOKENIZER).decode("utf-8"))
    except Exception as error:  # the library raises nothing narrower
        raise BundleError(
            f"{file} is no file of the library tokenizers ({reason(error)[:200]}); export the bundle again"
        ) from error
