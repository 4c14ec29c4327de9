"""A user's own pronunciations: a TOML file of words, each with its phones between slashes or respelled.

nginx = "/eh n jh ih n eh k s/"
Xiaomi = "shao me"
"""

from __future__ import annotations

import re
import string
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import OptionError, TextError
from .normalisation.cleaning import clean
from .normalisation.source_text import SourceText

Pronunciations = str | Path | Mapping[str, str]
"""A TOML file, or what it would say."""


@dataclass(frozen=True)
class _Entry:
    """where: names it in messages."""

    word: str
    sound: object
    where: str


class OwnWords:
    """Words with phones of their own.

    In a sentence, each gives its place to a word that nobody has: numbers, capitals and signs in it would
    be read otherwise before any lexicon is asked. `phones` are those of the invented words.

    source: a word in small letters stands for itself in any case, another one only as it is written.
    spoken: gives the phones of a text, `pau` at both ends. symbols: the phones that the voice has.

    Raises `OptionError` that names file, line and word.
    """

    def __init__(
        self, source: Pronunciations, spoken: Callable[[str], list[str]], symbols: Collection[str]
    ) -> None:
        self.phones: dict[str, str] = {}
        self._invented: dict[str, str] = {}
        for entry in _entries(source):
            invented = _invent(len(self.phones))
            self.phones[invented] = " ".join(_phones(entry, spoken, symbols))
            self._invented[_written(entry)] = invented
        words = sorted(self._invented, key=len, reverse=True)
        choices = (f"(?i:{re.escape(word)})" if word.islower() else re.escape(word) for word in words)
        self._pattern = re.compile(rf"(?<!\w)(?:{'|'.join(choices)})(?!\w)") if words else None

    def put(self, source: SourceText) -> SourceText:
        """Put the invented words in the places of the user's."""
        return source if self._pattern is None else source.sub(self._pattern, self._invented_for)

    def _invented_for(self, match: re.Match[str]) -> str:
        return self._invented.get(match[0]) or self._invented[match[0].lower()]


def _invent(number: int) -> str:
    """Give a word for a number: letters that look like no acronym and are no English."""
    letters = ""
    while number or not letters:
        number, letter = divmod(number, 26)
        letters += string.ascii_lowercase[letter] + "u"
    return f"zuzu{letters}"


def _entries(source: Pronunciations) -> list[_Entry]:
    if isinstance(source, Mapping):
        return [_Entry(word, sound, f"lexicon: {word!r}") for word, sound in source.items()]
    text, path = _read(Path(source)), Path(source)
    return [
        _Entry(word, sound, f"{path}:{_line(text, word)}: {word!r}") for word, sound in _parse(text, path)
    ]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise OptionError(f"cannot read lexicon {path} ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise OptionError(
            f"lexicon {path} is not UTF-8 text ({error.reason} at byte {error.start}); convert it"
        ) from error


def _parse(text: str, path: Path) -> list[tuple[str, object]]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return list(tomllib.loads(text).items())
    except tomllib.TOMLDecodeError as error:
        raise OptionError(
            f"lexicon {path} is not TOML: {error}; expected lines such as nginx = 'engine ex', with quotes "
            "around a word that has other signs than a to z and digits: 'C++' = 'see plus plus'"
        ) from error


def _line(text: str, word: str) -> int:
    """Find the line of a word, which the library does not tell; of a table, that of its first key."""
    key = re.compile(rf"""\s*\[?\s*(["']?){re.escape(word)}\1\s*[=.\]]""")
    return next((number for number, line in enumerate(text.splitlines(), 1) if key.match(line)), 1)


def _written(entry: _Entry) -> str:
    """Give the word as a cleaned text has it."""
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
    """Give a phone as the voice writes it: without stress, or with it; a vowel without one is stressed."""
    plain = phone.rstrip(string.digits)
    return next((written for written in (phone, plain, f"{plain}1") if written in symbols), phone)
