"""Instructions inside a text: `[pause 0.5s]`, `[[hh ax l ow]]` and `[spell NASA]`.

They are taken out of the text before it is read, and a character of private use stands in the place of each.
SSML (`ssml.py`) comes to the same. Silence before the first word is left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ..errors import TextError
from .normalisation.cleaning import INSTRUCTIONS
from .normalisation.number_words import digits
from .normalisation.source_text import SourceText
from .normalisation.token_class import spell
from .words import Style

LONGEST_SILENCE = 60.0  # seconds

_FIRST, _LAST = ord(INSTRUCTIONS[0]), ord(INSTRUCTIONS[-1])
PRIVATE = re.compile(f"[{INSTRUCTIONS}]")
_INLINE = re.compile(
    r"\[pause(?: (?P<amount>\d{1,6}(?:\.\d{1,6})?) ?(?P<unit>ms|s))?\]"
    r"|\[\[(?P<phones>[A-Za-z]{1,3}[0-2]?(?: +[A-Za-z]{1,3}[0-2]?)*)\]\]"
    r"|\[spell (?P<spelled>[^\[\]\n]{1,100})\]"
)
_BLANK_LINE = re.compile(r"\n[ \t\r]*\n")
_PAUSE = 0.5  # seconds of `[pause]`


@dataclass(frozen=True)
class Instruction:
    """What a text asks for in a place.

    Args:
        words: Words that are said as they are.
        phones: Phones that are said, separated by spaces.
        silence: Seconds of silence; ends the sentence.
        style: How all that follows is spoken; ends the sentence.
    """

    words: str = ""
    phones: str | None = None
    silence: float | None = None
    style: Style | None = None


@dataclass
class MarkedText:
    """A text in which characters of private use stand for instructions.

    Args:
        source: The text.
        instructions: The instruction of each such character.
        paragraphs: Places of the original where one paragraph ends and another may begin, in order.
        marks: Places of the original and the names that they have, in order.
    """

    source: SourceText
    instructions: list[Instruction] = field(default_factory=list)
    paragraphs: list[int] = field(default_factory=list)
    marks: list[tuple[int, str]] = field(default_factory=list)

    def place(self, instruction: Instruction) -> str:
        """Add an instruction and return its character. Raises `TextError` for too many."""
        if len(self.instructions) > _LAST - _FIRST:
            raise TextError(f"text has more than {_LAST - _FIRST} instructions; speak it in several parts")
        self.instructions.append(instruction)
        return chr(_FIRST + len(self.instructions) - 1)

    def instruction(self, character: str) -> Instruction:
        """Return the instruction that a character stands for."""
        return self.instructions[ord(character) - _FIRST]


def without_private_use(text: str) -> str:
    """Return a text whose own characters of private use, which have no reading, are not taken for ours."""
    return text if text.isascii() else PRIVATE.sub("\ufffd", text)


def read_inline(text: str) -> MarkedText:
    """Take the instructions out of a text.

    Raises:
        TextError: A pause is too long, or there are too many instructions.
    """
    paragraphs = [match.start() for match in _BLANK_LINE.finditer(text)]
    marked = MarkedText(SourceText(without_private_use(text)), paragraphs=paragraphs)
    if "[" in text:
        marked.source = marked.source.sub(_INLINE, lambda match: marked.place(_instruction(match)))
    return marked


def spelled_out(text: str) -> str:
    """Read letters and digits one by one: `2FA` -> `two f ay`."""
    return " ".join(digits(c) if c in "0123456789" else spell(c) for c in text if c.isascii() and c.isalnum())


def check_silence(seconds: float) -> float:
    """Return seconds of silence. Raises `TextError` if they are too many."""
    if seconds > LONGEST_SILENCE:
        raise TextError(f"pause is {seconds:g} s, expected 0 to {LONGEST_SILENCE:g}")
    return seconds


def _instruction(match: re.Match[str]) -> Instruction:
    if match["phones"]:
        return Instruction("phones", phones=" ".join(match["phones"].lower().split()))
    if match["spelled"]:
        return Instruction(spelled_out(match["spelled"]))
    amount = float(match["amount"]) if match["amount"] else _PAUSE
    return Instruction(silence=check_silence(amount / 1000 if match["unit"] == "ms" else amount))
