"""The dispatch of the tokeniser: which classes are tried at a character."""

from __future__ import annotations

import random
import re

from soundstorm_runtime.text.normalisation import tokens
from soundstorm_runtime.text.normalisation.classes.symbols import NAMES
from soundstorm_runtime.text.normalisation.cleaning import clean
from soundstorm_runtime.text.normalisation.source_text import SourceText

_PIECES = (
    "1 23 4,567 .5 1/2 ½ 10⁻⁶ -3 +4 (555) 123-4567 $5 -€3.50 US$ zl 5kg µg/m³ 6'2\" '80s 2024-10-01 May5 "
    "12:30 noon-1pm A. U.S. AT&T IV No. #5 #a @b a@b.c www.a.b /usr/bin ~/a ./a .NET a->b != ~5 x^2 √2 f(x) "
    "don't v1.2 MP3 Dr. Fri C:\\a"
).split(" ")


def test_a_class_names_every_character_that_it_begins_with() -> None:
    choice = random.Random(0).choice
    pieces = [*_PIECES, *sorted(NAMES), *" .,-'/\n"]
    written = [*_PIECES, *("".join(choice(pieces) for _ in range(6)) for _ in range(300))]
    texts = [clean(SourceText(each))[0].text for each in written]
    for token_class in tokens._CLASS.values():
        pattern = re.compile(token_class.pattern, re.ASCII)
        found = {text[i] for text in texts for i in range(len(text)) if pattern.match(text, i)}
        assert found <= set(token_class.starts), token_class.name


def test_classes_have_names_of_their_own() -> None:
    names = [token_class.name for token_class in tokens._CLASS.values()]
    assert len(set(names)) == len(names)
