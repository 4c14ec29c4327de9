"""Signs, keys and characters as a screen reader reads them."""

from __future__ import annotations

import pytest

from soundstorm_runtime.integrations.spoken_signs import LEVELS, character, key, spelled, with_punctuation


@pytest.mark.parametrize(
    ("level", "read"),
    [
        ("none", "a+b, (c) end."),
        ("some", "a plus b, (c) end."),
        ("most", "a plus b, left paren c right paren end."),
        ("all", "a plus b comma, left paren c right paren end dot."),
    ],
)
def test_the_level_says_which_signs_are_words(level, read):
    assert " ".join(with_punctuation("a+b, (c) end.", level).split()) == read


def test_each_level_has_the_signs_of_the_one_before():
    none, some, most, every = (set(LEVELS[name]) for name in ("none", "some", "most", "all"))
    assert none < some < most < every
    assert every == {chr(code) for code in range(33, 127) if not chr(code).isalnum()}


@pytest.mark.parametrize(
    ("sign", "read"),
    [
        ("a", "[spell a]"),
        ("7", "[spell 7]"),
        (" ", "space"),
        (",", "comma"),
        ("é", "e with acute"),
        ("∑", "n ary summation"),
    ],
)
def test_a_character_is_named(sign, read):
    assert character(sign) == read


def test_capitals_are_named_where_asked_for():
    assert character("A", capitals=True) == "capital [spell A]"
    assert character("A") == "[spell A]"
    assert character("a", capitals=True) == "[spell a]"
    assert spelled("Ab 1", capitals=True) == "capital [spell A], [spell b], [spell 1]"


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("a", "[spell a]"),
        ("shift_a", "shift [spell a]"),
        ("KP_Enter", "keypad enter"),
        ("Control_L", "control [spell L]"),
        ("F12", "f12"),
        ("_", "underscore"),
    ],
)
def test_a_key_is_named(name, read):
    assert key(name) == read
