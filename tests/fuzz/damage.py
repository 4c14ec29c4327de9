"""Hypothesis strategies that damage what is valid: bytes, texts and trees of plain data."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

NUMBERS = (
    0,
    1,
    -1,
    2,
    3,
    127,
    128,
    255,
    256,
    1000,
    65535,
    65536,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**40,
    2**63 - 1,
    -(2**63),
    10**30,
)
VALUES = (
    *NUMBERS,
    0.0,
    -0.0,
    0.5,
    1e-300,
    1e300,
    float("inf"),
    float("nan"),
    True,
    False,
    None,
    "",
    "a",
    "\0",
    "\x1b[2J",
    "\u202e",
    "../a",
    "/etc/passwd",
    "x" * 10_000,
    "\ud800",
    [],
    {},
    [[]],
    [1, 2, 3],
    {"a": 1},
    [[[[[[1]]]]]],
)
# What means something in one of the texts, and what is rare in all of them.
PIECES = (
    "[pause ",
    "[pause 99999s]",
    "[[",
    "]]",
    "[spell ",
    "<speak>",
    "</speak>",
    "<break time='",
    "<![CDATA[",
    "]]>",
    "&lt;",
    "&#0;",
    "&x;",
    "<!DOCTYPE a [<!ENTITY x 'y'>]>",
    "<prosody rate='0'>",
    "<!--",
    "\0",
    "\x1b[31m",
    "\r\n",
    "\u2028",
    "\u202e",
    "\ufeff",
    "\ue000",
    "\uffff",
    "\U0001f600",
    "e\u0301" * 9,
    "[" * 999,
    "(" * 99,
    "1" * 500,
    "1/2",
    "$",
    "-" * 99,
    "." * 99,
    "'" * 9,
    '"',
    "\\",
    "{",
    "}",
    "=",
    "\n\n",
    "nan",
    "inf",
    "1e999",
    "0x",
    "true",
)


@st.composite
def damaged_bytes(draw: st.DrawFn, base: bytes, most: int = 4) -> bytes:
    """Bytes of which a few places are changed, removed, repeated or filled."""
    content = bytearray(base)
    for _ in range(draw(st.integers(1, most))):
        place = draw(st.integers(0, max(0, len(content) - 1)))
        length = draw(st.sampled_from((1, 1, 1, 2, 4, 8, 64, 1024)))
        match draw(st.integers(0, 6)):
            case 0:
                content[place : place + 1] = bytes([draw(st.integers(0, 255))])
            case 1:
                content[place : place + length] = b""
            case 2:
                content[place:place] = draw(st.binary(min_size=1, max_size=16))
            case 3:
                content[place:place] = content[place : place + length]
            case 4:
                number = draw(st.sampled_from(NUMBERS)) & (1 << 64) - 1
                width = draw(st.sampled_from((2, 4, 8)))
                content[place : place + width] = number.to_bytes(8, "little")[:width]
            case 5:
                content[place : place + length] = bytes([draw(st.sampled_from((0, 127, 128, 255)))]) * length
            case 6:
                del content[place:]
    return bytes(content)


@st.composite
def damaged_text(draw: st.DrawFn, bases: tuple[str, ...], most: int = 4) -> str:
    """A text with pieces of others in it, or with parts removed or repeated."""
    text = draw(st.sampled_from(bases))
    for _ in range(draw(st.integers(0, most))):
        place = draw(st.integers(0, len(text)))
        end = min(len(text), place + draw(st.sampled_from((1, 2, 5, 40))))
        match draw(st.integers(0, 4)):
            case 0:
                text = text[:place] + draw(st.sampled_from(PIECES)) + text[place:]
            case 1:
                text = text[:place] + draw(st.text(max_size=8)) + text[place:]
            case 2:
                text = text[:place] + text[end:]
            case 3:
                text = text[:place] + text[place:end] * draw(st.sampled_from((2, 3, 100))) + text[end:]
            case 4:
                text = text[:place] + draw(st.sampled_from(bases))[:2000] + text[end:]
    return text


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every container of a tree with each of its keys."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in items:
        yield tree, key
        if isinstance(value, dict | list):
            yield from _places(value)


@st.composite
def damaged_tree(draw: st.DrawFn, base: Any, most: int = 3, values: tuple[Any, ...] = VALUES) -> Any:
    """Dicts and lists of plain data of which a few are replaced, removed, renamed or exchanged."""
    tree = copy.deepcopy(base)
    for _ in range(draw(st.integers(1, most))):
        places = list(_places(tree))
        if not places:
            break
        container, key = draw(st.sampled_from(places))
        match draw(st.integers(0, 4)):
            case 0 | 1:
                container[key] = copy.deepcopy(draw(st.sampled_from(values)))
            case 2:
                del container[key]
            case 3:
                other, of_other = draw(st.sampled_from(places))
                container[key] = copy.deepcopy(other[of_other])
            case 4 if isinstance(container, dict):
                container[draw(st.sampled_from(("", "x", "kind", "\x1b")))] = container.pop(key)
            case _:
                value = container[key]
                if isinstance(value, int | float) and not isinstance(value, bool):
                    container[key] = value * draw(st.sampled_from((-1, 2, 10, 1000)))
    return tree
