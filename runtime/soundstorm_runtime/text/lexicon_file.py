"""Reading the file of a lexicon, of either kind; `Lexicon.save` writes it.

Unpacked, its lines are: the format, `onsets`, `codas`, the letter-to-sound rule of each letter, the number of
`words`, and the words in alphabetical order, each with its phones and, where they differ, those as a verb;
separated by tabs.
"""

from __future__ import annotations

from pathlib import Path

from ..errors import BundleError
from ..support.files import gunzip, read_file, reason
from .flite_lexicon import FliteLexicon
from .letter_to_sound import LETTERS, LetterToSound
from .lexicon import Lexicon
from .stressed_lexicon import StressedLexicon
from .word_table import WordTable

LARGEST = 16 << 20  # bytes of a lexicon, unpacked; the largest dictionary of English has 4 million

_KINDS: dict[str, type[Lexicon]] = {kind.FORMAT: kind for kind in (FliteLexicon, StressedLexicon)}
_HEAD = ["onsets", "codas", *LETTERS, "words"]


def load_lexicon(path: Path) -> Lexicon:
    """Read a lexicon of either kind. Raises `BundleError` for a file that is missing or damaged."""
    try:
        content = read_file(Path(path), LARGEST)
    except OSError as error:
        raise BundleError(f"cannot read lexicon {path} ({reason(error)}); export the bundle again") from error
    return lexicon_from_bytes(content, str(path))


def lexicon_from_bytes(content: bytes, name: str) -> Lexicon:
    """Read what `Lexicon.to_bytes` returned; `name` is how messages call it. Raises `BundleError`."""
    try:
        lines = gunzip(content, LARGEST).split(b"\n", 1 + len(_HEAD))
    except ValueError as error:
        raise BundleError(f"cannot read lexicon {name} ({error}); export the bundle again") from error
    form = lines[0].decode("utf-8", "replace")
    if form not in _KINDS:
        raise BundleError(
            f"lexicon {name} begins with {form[:40]!r}, expected {' or '.join(map(repr, _KINDS))}; "
            "export again"
        )
    try:
        return _parse(lines[1:], _KINDS[form])
    except ValueError as error:
        raise BundleError(f"lexicon {name} is damaged: {error}; export the bundle again") from error


def _parse(lines: list[bytes], kind: type[Lexicon]) -> Lexicon:
    head = [line.decode("utf-8").split("\t") for line in lines[:-1]]
    if [cells[0] for cells in head] != _HEAD or any(len(cells) != 2 for cells in head):
        raise ValueError("its first lines are not onsets, codas, 26 rules and the number of words")
    values = dict(head)
    words = WordTable(lines[-1], kind.WORD_LINE)
    if str(len(words)) != values["words"]:
        raise ValueError(f"{values['words']} words expected, {len(words)} found")
    if not all(letter in words for letter in LETTERS):
        raise ValueError("it does not tell how each of the letters a to z is spoken")
    rules = LetterToSound({letter: values[letter] for letter in LETTERS})
    return kind(words, words.verbs, rules, ["", *values["onsets"].split()], ["", *values["codas"].split()])
