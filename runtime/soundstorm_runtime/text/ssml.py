"""A subset of SSML 1.1 (W3C): speak, p, s, break, say-as, phoneme, sub, prosody, emphasis, voice, mark.

Document types and entities of one's own are refused (defusedxml), and so is what is too deep or too long.
`mark` names a place, whose time comes with those of the words. `emphasis` is accepted and changes nothing,
because no voice has emphasis; its content is spoken.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ..errors import EngineError, TextError
from .markup import Instruction, MarkedText, check_silence, spelled_out, without_private_use
from .normalisation.number_words import ordinal
from .normalisation.source_text import SourceText
from .sentences import MAX_CHARACTERS, normalise
from .words import Style

DEEPEST = 32  # elements inside one another
_ATTRIBUTES = {
    "speak": "version lang", "p": "", "s": "", "break": "time strength",
    "say-as": "interpret-as format detail",
    "phoneme": "ph alphabet", "sub": "alias", "prosody": "rate volume", "emphasis": "level",
    "voice": "name", "mark": "name",
}  # fmt: skip
_STRENGTHS = {"none": 0.0, "x-weak": 0.1, "weak": 0.2, "medium": 0.4, "strong": 0.7, "x-strong": 1.2}
_RATES = {"x-slow": 0.6, "slow": 0.8, "medium": 1.0, "default": 1.0, "fast": 1.25, "x-fast": 1.6}
_VOLUMES = {
    "silent": 0.0, "x-soft": 0.25, "soft": 0.5, "medium": 1.0, "default": 1.0, "loud": 1.4, "x-loud": 2.0,
}  # fmt: skip
_SPELLED = ("characters", "spell-out", "verbatim", "digits")
_READ = ("cardinal", "number", "date", "time", "telephone", "currency", "unit", "fraction", "address")
_RATE_LIMITS = 0.5, 2.0
_PHONE = re.compile(r"[A-Za-z]{1,3}[0-2]?(?: +[A-Za-z]{1,3}[0-2]?)*")


def read_ssml(ssml: str, *, strict: bool = True) -> MarkedText:
    """Read an SSML document.

    Args:
        ssml: The document; its root is `speak`.
        strict: Refuse elements and attributes that are not of the subset; otherwise ignore them, and speak
            what they contain.

    Returns:
        The text, whose characters keep their places in the document, with its instructions.

    Raises:
        TextError: It is not well-formed, or has what is refused; with line and column.
        EngineError: The library defusedxml is not installed.
    """
    if len(ssml) > MAX_CHARACTERS:
        raise TextError(
            f"SSML has {len(ssml)} characters, the limit is {MAX_CHARACTERS}; speak it in several parts"
        )
    try:
        from defusedxml.common import DefusedXmlException
        from defusedxml.ElementTree import DefusedXMLParser, ParseError
    except ImportError as error:
        raise EngineError(
            "SSML is read by the library defusedxml, which is not installed; "
            "pip install 'soundstorm-edge[ssml]'"
        ) from error
    document = _Document(without_private_use(ssml), strict)
    parser = DefusedXMLParser(target=document, forbid_dtd=True)
    document.parser = parser.parser
    parser.parser.buffer_text = False  # so that each piece of text comes with its place
    try:
        parser.feed(ssml)
        parser.close()
        return document.marked()
    except ParseError as error:
        line, column = error.position
        reason = str(error).partition(":")[0]
        raise TextError(f"SSML line {line}, column {column + 1}: {reason}") from error
    except DefusedXmlException as error:
        raise document.error("document types and entities are refused; leave them out") from error


class _Document:
    """What the parser reports to: collects text, its places, and instructions."""

    parser: Any

    def __init__(self, ssml: str, strict: bool) -> None:
        self._strict = strict
        encoded = ssml.encode("utf-8")
        ascii_only = len(encoded) == len(ssml)
        # The parser counts bytes of UTF-8.
        self._place_of = None if ascii_only else [i for i, c in enumerate(ssml) for _ in c.encode("utf-8")]
        self._end = len(ssml)
        self._text: list[str] = []
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._marked = MarkedText(SourceText(""))
        self._open: list[str] = []
        self._styles = [Style()]
        self._replaced: tuple[int, Callable[[str], Instruction]] | None = None  # depth, what takes its place
        self._inside: list[str] = []
        self._inside_start = 0

    def error(self, what: str) -> TextError:
        """Return an error that says where the parser is."""
        line, column = self.parser.CurrentLineNumber, self.parser.CurrentColumnNumber
        return TextError(f"SSML line {line}, column {column + 1}: {what}")

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        name, own = _local(tag), {_local(key): value for key, value in attributes.items()}
        if not self._open and name != "speak":
            raise self.error(f"the root is <{name}>, expected <speak>")
        self._open.append(name)
        if len(self._open) > DEEPEST:
            raise self.error(f"elements are nested more than {DEEPEST} deep")
        self._styles.append(self._styles[-1])
        self._check(name, own)
        if name == "mark":
            self._marked.marks.append((self._place(), self._required("mark", "name", own)))
        if self._replaced:
            return
        if name in ("p", "s"):
            self._end_line(name)
        elif name == "break":
            self._instruct(Instruction(silence=self._break(own)))
        elif name in ("say-as", "phoneme", "sub"):
            if replacement := self._replacement(name, own):
                self._replaced = (len(self._open), replacement)
                self._inside, self._inside_start = [], self._place()
        elif name in ("prosody", "voice"):
            self._styles[-1] = self._style(name, own)
            self._instruct(Instruction(style=self._styles[-1]))

    def data(self, text: str) -> None:
        place = self._place()
        if self._replaced:
            if not self._inside:
                self._inside_start = place
            self._inside.append(text)
            return
        self._text.append(without_private_use(text))
        places = range(place, place + len(text))
        self._starts += [min(i, self._end - 1) for i in places]
        self._ends += [min(i + 1, self._end) for i in places]

    def end(self, tag: str) -> None:
        name = _local(tag)
        if self._replaced and self._replaced[0] == len(self._open):
            content = "".join(self._inside).strip()
            instruction = self._replaced[1](content)
            self._replaced = None
            if instruction.words:
                self._add(" ")
                self._add(self._marked.place(instruction), self._inside_start, self._place())
                self._add(" ")
        style = self._styles.pop()
        self._open.pop()
        if style != self._styles[-1]:
            self._instruct(Instruction(style=self._styles[-1]))
        elif name in ("p", "s") and not self._replaced:
            self._end_line(name)

    def close(self) -> None:
        """Do nothing; the parser calls it at the end."""

    def marked(self) -> MarkedText:
        """Return the text that was collected."""
        self._marked.source = SourceText("".join(self._text), self._starts, self._ends)
        return self._marked

    def _place(self) -> int:
        byte = self.parser.CurrentByteIndex
        if self._place_of is None:
            return min(byte, self._end - 1)
        return self._place_of[min(byte, len(self._place_of) - 1)]

    def _add(self, text: str, start: int | None = None, end: int | None = None) -> None:
        first = self._place() if start is None else start
        last = max(first + 1, end or 0)
        self._text.append(text)
        self._starts += [first] * len(text)
        self._ends += [last] * len(text)

    def _end_line(self, name: str) -> None:
        """End the line around `p` or `s`, and around `p` the paragraph."""
        if name == "p":
            self._marked.paragraphs.append(self._place())
        self._add("\n\n" if name == "p" else "\n")

    def _instruct(self, instruction: Instruction) -> None:
        self._add(self._marked.place(instruction))

    def _check(self, name: str, own: Mapping[str, str]) -> None:
        if not self._strict:
            return
        if name not in _ATTRIBUTES:
            raise self.error(f"<{name}> is not supported, expected one of {', '.join(_ATTRIBUTES)}")
        known = _ATTRIBUTES[name].split()
        if unknown := [key for key in own if key not in known]:
            raise self.error(
                f"<{name}> has the attribute {unknown[0]!r}, expected {', '.join(known) or 'none'}"
            )

    def _break(self, own: Mapping[str, str]) -> float:
        if "time" not in own:
            return self._one_of("strength", own.get("strength", "medium"), _STRENGTHS)
        found = re.fullmatch(r"\+?(\d{1,6}(?:\.\d{1,6})?)(ms|s)", own["time"].strip())
        if not found:
            raise self.error(f"the time of <break> is {own['time']!r}, expected such as '500ms' or '0.5s'")
        try:
            return check_silence(float(found[1]) / (1000 if found[2] == "ms" else 1))
        except TextError as error:
            raise self.error(str(error)) from error

    def _replacement(self, name: str, own: Mapping[str, str]) -> Callable[[str], Instruction] | None:
        """Return what makes the instruction that an element's content is replaced by; None for no such."""
        if name == "sub":
            alias = normalise(self._required("sub", "alias", own))
            return lambda content: Instruction(alias)
        if name == "phoneme":
            phones = self._required("phoneme", "ph", own)
            alphabet = own.get("alphabet", "x-arpabet")
            if alphabet != "x-arpabet" or not _PHONE.fullmatch(phones.strip()):
                raise self.error(
                    f"<phoneme> has {phones!r} in alphabet {alphabet!r}, expected phones of the voice in "
                    "'x-arpabet', such as 'hh ax l ow'"
                )
            return lambda content: Instruction("phones", phones=" ".join(phones.lower().split()))
        kind = self._required("say-as", "interpret-as", own)
        if kind in _SPELLED:
            return lambda content: Instruction(spelled_out(content))
        if kind == "ordinal":
            return self._ordinal
        if kind not in _READ and self._strict:
            raise self.error(
                f"interpret-as is {kind!r}, expected one of {', '.join((*_SPELLED, 'ordinal', *_READ))}"
            )
        return None

    def _ordinal(self, content: str) -> Instruction:
        if not re.fullmatch(r"[0-9,]{1,15}", content):
            raise self.error(f"an ordinal is {content!r}, expected digits")
        return Instruction(ordinal(content))

    def _style(self, name: str, own: Mapping[str, str]) -> Style:
        style = self._styles[-1]
        if name == "voice":
            return replace(style, voice=self._required("voice", "name", own))
        if "rate" in own:
            least, most = _RATE_LIMITS
            speed = style.speed * self._rate(own["rate"].strip())
            if not least <= speed <= most:
                raise self.error(f"the rate comes to {speed:g}, expected {least:g} to {most:g}")
            style = replace(style, speed=speed)
        if "volume" in own:
            style = replace(style, volume=self._volume(own["volume"].strip(), style.volume))
        return style

    def _rate(self, written: str) -> float:
        if found := re.fullmatch(r"([+-]?)(\d{1,3}(?:\.\d{1,3})?)%", written):
            share = float(found[2]) / 100
            return 1 + share * (1 if found[1] == "+" else -1) if found[1] else share
        if re.fullmatch(r"\d(?:\.\d{1,3})?", written):
            return float(written)
        return self._one_of("rate", written, _RATES)

    def _volume(self, written: str, outer: float) -> float:
        if found := re.fullmatch(r"([+-]?\d{1,2}(?:\.\d{1,3})?)dB", written):
            return min(outer * 10 ** (float(found[1]) / 20), 4.0)
        return self._one_of("volume", written, _VOLUMES)

    def _required(self, name: str, key: str, own: Mapping[str, str]) -> str:
        if not own.get(key, "").strip():
            raise self.error(f"<{name}> lacks the attribute {key!r}")
        return own[key]

    def _one_of(self, what: str, written: str, values: Mapping[str, float]) -> float:
        if written not in values:
            raise self.error(
                f"{what} is {written!r}, expected one of {', '.join(values)}, or a number with its unit"
            )
        return values[written]


def _local(tag: str) -> str:
    """Return a name without its namespace."""
    return tag.rpartition("}")[2]
