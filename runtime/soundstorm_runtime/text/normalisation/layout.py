"""Lines, lists, headings and the marks of Markdown: what they look like is silent, where they end is a pause.

`lay_out` leaves a line break only where a phrase ends: after an item of a list, a heading, a short line, and
at
a paragraph's end. Lines that were broken because a page is so wide are joined.
"""

from __future__ import annotations

import re

from .source_text import Edit, SourceText

_WIDE = 40  # characters of a line that may go on in the next one, although that has a capital

_LINE = re.compile(r"[^\n]*\n?")
_DIVIDER = re.compile(r"[ \t>]*(?:[-=_*~#+|:.`•][ \t]*){3,}\n?$|[ \t]*[•*_~=+-]\n?$")
_FENCE = re.compile(r"[ \t]*(?:```|~~~)[\w+-]*\n?$")
_BULLET = re.compile(r"[ \t>]*(?:[-*+•](?: \[[ xX]\])?|--|#{1,6})[ \t]+(?=\S)|[ \t]*>[> \t]*")
_NUMBERED = re.compile(
    r"[ \t]*((?:\d{1,3}(?:\.\d{1,2})*[.)]|(?:[a-z]|[ivx]{1,4})(?:\)|\.(?![ \t]*\d)))"
    r"|\((?:\d\d?|[a-z]|[ivx]{1,4})\))[ \t]+(?=\S)"
)
_TABLE = re.compile(r"[ \t]*\|.*\|[ \t]*\n?$")
_TRAILING_HASHES = re.compile(r"[ \t]{1,9}#{1,9}[ \t]*(?=\n?$)")
_LINKS = re.compile(r"(!?\[)[^\[\]\n]{1,200}(\]\([^()\s]{1,500}\))")
_EMPHASIS = re.compile(
    r"(?<![\w*~=_`])(\*{1,3}|_{1,3}|~~|==|`{1,2})(?=[^\s*_~=`])[^*~=`\n]{0,200}?(?<=[^\s*_~=`])(\1)(?![\w*~=_`])"
    r"|(?<=[A-Za-z])(\*\*)(?=[A-Za-z])[A-Za-z ]{1,60}(?<=[A-Za-z])(\*\*)"
    r"|(?<![\w*])(\*\*)(?=[A-Za-z])[A-Za-z ]{1,60}(?<=[A-Za-z])(\*\*)(?=[A-Za-z])"
)
_TAGS = re.compile(
    r"(</?(?:b|i|u|em|strong|span|a|code|small|big|sub|sup|img|font|center"
    r"|mark|del|ins|s)(?:\s[^<>\n]{0,200})?/?>)",
    re.IGNORECASE,
)

_BREAKS = re.compile(r"<br(?:\s[^<>\n]{0,200})?/?>", re.IGNORECASE)
_BLOCKS = re.compile(
    r"</?(?:p|hr|div|ul|ol|li|h[1-6]|pre|table|tr|td|th|blockquote)(?:\s[^<>\n]{0,200})?/?>", re.IGNORECASE
)
_UNKNOWN_TAGS = re.compile(r"(</?)[A-Za-z][\w-]{0,30}( ?/?>)")


def lay_out(source: SourceText) -> SourceText:
    """Make marks of layout silent, and leave line breaks where phrases end."""
    if "<" in source.text:
        source = source.sub(_BREAKS, "\n").sub(_BLOCKS, "\n\n").erase(_TAGS).erase(_UNKNOWN_TAGS)
    if "[" in source.text:
        source = source.erase(_LINKS)
    if re.search("[*_~=`]", source.text):
        source = source.erase(_EMPHASIS)
    if "\n" not in source.text and not re.match(r"\s*(?:[-*+>#•|(=_~]|\w{1,5}[.)])", source.text):
        return source
    return source.edit(_edits(source.text))


def _edits(text: str) -> list[Edit]:
    edits: list[Edit] = []
    lines = [match for match in _LINE.finditer(text) if match[0]]
    for number, match in enumerate(lines):
        line, start = match[0], match.start()
        following = lines[number + 1][0] if number + 1 < len(lines) else ""
        if _DIVIDER.match(line) or _FENCE.match(line):
            edits.append((start, match.end(), "\n"))
            continue
        if bullet := _BULLET.match(line):
            edits.append((start, start + bullet.end(), " "))
        elif numbered := _NUMBERED.match(line):
            edits += [(start + place, start + place + 1, "," if place == numbered.end(1) - 1 else " ")
                      for place in range(numbered.start(1), numbered.end(1)) if line[place] in "(.)"
                      and (place == numbered.end(1) - 1 or line[place] == "(")]  # fmt: skip
        if _TABLE.match(line):
            edits += _cells(line, start)
        if hashes := _TRAILING_HASHES.search(line) if line.lstrip().startswith("#") else None:
            edits.append((start + hashes.start(), start + hashes.end(), ""))
        if line.endswith("\n") and _goes_on(line, following):
            edits.append((match.end() - 1, match.end(), " "))
    return edits


def _cells(line: str, start: int) -> list[Edit]:
    bars = [place for place, character in enumerate(line) if character == "|"]
    return [
        (start + place, start + place + 1, " " if place in (bars[0], bars[-1]) else ",") for place in bars
    ]


def _goes_on(line: str, following: str) -> bool:
    """Return whether a sentence goes on in the next line."""
    if (
        not following.strip()
        or _BULLET.match(following)
        or _NUMBERED.match(following)
        or _DIVIDER.match(following)
    ):
        return False
    if _TABLE.match(following) or _TABLE.match(line) or line.lstrip().startswith("#"):
        return False
    first = following.lstrip()[0]
    return (
        first.islower()
        or len(line.strip()) > _WIDE
        or (line.rstrip().endswith((",", "--", "-", "(")) and not first.isupper())
    )
