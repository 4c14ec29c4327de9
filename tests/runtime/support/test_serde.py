"""Plain data that becomes a dataclass: what a stranger may have written in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from soundstorm_runtime.support.serde import LARGEST, check_name, check_positive, check_printable, from_dict


@dataclass
class Size:
    size: int


def nested(depth: int) -> Any:
    found: list[Any] = []
    for _ in range(depth):
        found = [found]
    return found


@pytest.mark.parametrize("value", [nested(100_000), {"a": nested(100_000)}], ids=["list", "dict"])
def test_what_is_nested_too_deeply_is_an_error_like_others(value):
    with pytest.raises(
        ValueError, match=r"it\.size is a (list|dict) that is nested too deeply, expected a whole"
    ):
        from_dict(Size, {"size": value}, "it")


def test_sizes_have_an_upper_limit():
    check_positive(Size(LARGEST), "size")
    for size, message in ((0, "size is 0, expected 1 or more"), (9, "size is 9, expected at most 8")):
        with pytest.raises(ValueError, match=message):
            check_positive(Size(size), "size", most=8)


@pytest.mark.parametrize("text", ["a\x1b[2J", "a\nb", "\u202ea", "\x9b1m", "\ud800"])
def test_texts_have_no_control_characters(text):
    check_printable("it", "\u00e9 \u4f60 voice")
    with pytest.raises(ValueError, match=r"it has .*, expected no control characters"):
        check_printable("it", text)


@pytest.mark.parametrize("name", ["", ".a", "..", "a/b", "a\\b", "C:a", "x" * 201])
def test_a_name_is_no_path(name):
    check_name("it", "anna-2.b")
    with pytest.raises(ValueError, match=r"it is .*, expected a name that a file can have"):
        check_name("it", name)
