"""A user's own pronunciations: a TOML file of words, each with its phones between slashes or respelled.

nginx = "/eh n jh ih n eh k s/"
Xiaomi = "shao me"
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import OptionError, TextError
from ..support.files import parse_toml, read_text
from .normalisation.cleaning import clean
from .normalisation.source_text import SourceText

Pronunciations = str | Path | Mapping[str, str]
"""A TOML file, or a mapping with the same content."""


@dataclass(frozen=True)
class _Entry:
    """path, text: the file it is from, if any."""

    word: str
    sound: object
    path: Path | None = None
    text: str = ""

    @property
    def where(self) -> str:
        """What messages call it."""
        place = "lexicon" if self.path is None else f"{self.path}:{_line(self.text, self.word)}"
        return f"{place}: {self.word!r}"


class UserLexicon:
    """The pronunciations of a user.

    In a text, each word is replaced by a placeholder word before the text is normalised: numbers, capitals
    and signs in it would otherwise be read before any lexicon is looked up.

    Args:
        source: A word in lower case matches any case, every other word only as it is written.
        spoken: Returns the phones of a text, with `pau` at both ends.
        symbols: The phones of the voice.

    Attributes:
        phones: The phones of each placeholder word, separated by spaces.

    Raises:
        OptionError: A pronunciation cannot be used; the message names file, line and word.
    """

    def __init__(
        self, source: Pronunciations, spoken: Callable[[str], list[str]], symbols: Collection[str]
    ) -> None:
        self.phones: dict[str, str] = {}
        self._placeholders: dict[str, str] = {}
        for entry in _entries(source):
            placeholder = _placeholder(len(self.phones))
            self.phones[placeholder] = " ".join(_phones(entry, spoken, symbols))
            self._placeholders[_written(entry)] = placeholder
        words = sorted(self._placeholders, key=len, reverse=True)
        choices = (f"(?i:{re.escape(word)})" if word.islower() else re.escape(word) for word in words)
        self._pattern = re.compile(rf"(?<!\w)(?:{'|'.join(choices)})(?!\w)") if words else None

    def substitute(self, source: SourceText) -> SourceText:
        """Replace the words of the user by their placeholders."""
        return source if self._pattern is None else source.sub(self._pattern, self._placeholder_for)

    def _placeholder_for(self, match: re.Match[str]) -> str:
        return self._placeholders.get(match[0]) or self._placeholders[match[0].lower()]


def _placeholder(number: int) -> str:
    """Return a distinct word for a number: neither an acronym nor English."""
    letters = ""
    while number or not letters:
        number, letter = divmod(number, 26)
        letters += string.ascii_lowercase[letter] + "u"
    return f"zuzu{letters}"


def _entries(source: Pronunciations) -> list[_Entry]:
    if isinstance(source, Mapping):
        return [_Entry(word, sound) for word, sound in source.items()]
    text, path = _read(Path(source)), Path(source)
    return [_Entry(word, sound, path, text) for word, sound in _parse(text, path)]


def _read(path: Path) -> str:
    try:
        return read_text(path)
    except OSError as error:
        raise OptionError(f"cannot read lexicon {path} ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise OptionError(
            f"lexicon {path} is not UTF-8 text ({error.reason} at byte {error.start}); convert it"
        ) from error


def _parse(text: str, path: Path) -> list[tuple[str, object]]:
    try:
        return list(parse_toml(text).items())
    except ValueError as error:
        raise OptionError(
            f"lexicon {path} is not TOML: {error}; expected lines such as nginx = 'engine ex', with quotes "
            "around a word that has other signs than a to z and digits: 'C++' = 'see plus plus'"
        ) from error


def _line(text: str, word: str) -> int:
    """Find the line of a word, which tomllib does not report; of a table, that of its first key."""
    key = re.compile(rf"""\s*\[?\s*(["']?){re.escape(word)}\1\s*[=.\]]""")
    return next((number for number, line in enumerate(text.splitlines(), 1) if key.match(line)), 1)


def _written(entry: _Entry) -> str:
    """Return the word as it is in a cleaned text."""
    word = " ".join(clean(SourceText(entry.word))[0].text.split())
    if not any(c.isalnum() for c in word):
        raise OptionError(f"{entry.where} has no letter or digit that is read; write it as in the text")
    return word


def _phones(entry: _Entry, spoken: Callable[[str], list[str]], symbols: Collection[str]) -> list[str]:
    if not isinstance(entry.sound, str) or not entry.sound.strip(" /"):
        raise OptionError(
            f'{entry.where} is {entry.sound!r}, expected phones such as "/eh n jh ih n/" or a respelling '
            'such as "engine"; a word with dots goes into quotes'
        )
    sound = entry.sound.strip()
    if not (sound.startswith("/") and sound.endswith("/")):
        try:
            return spoken(sound)[1:-1]
        except TextError as error:
            raise OptionError(f"{entry.where} is respelled {sound!r}, but {error}") from error
    phones = [as_symbol(phone.lower(), symbols) for phone in sound.strip("/").split()]
    if unknown := [phone for phone in phones if phone not in symbols]:
        raise OptionError(
            f"{entry.where} has the phone {unknown[0]!r}, expected some of: {' '.join(sorted(symbols))}"
        )
    return phones


def as_symbol(phone: str, symbols: Collection[str]) -> str:
    """Return a phone as the voice writes it: with or without stress; a vowel without a mark is stressed."""
    plain = phone.rstrip(string.digits)
    return next((written for written in (phone, plain, f"{plain}1") if written in symbols), phone)
