"""Phones of words that no lexicon holds: one small decision tree per letter.

A tree asks which letter stands up to four places left or right and ends in the zero to two phones of
its letter (Black, Lenzo and Pagel, "Issues in building general letter to sound rules", 1998).
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence

LETTERS = string.ascii_lowercase
REACH = 4  # letters to each side that a question may look at
EDGE = "#"  # stands directly before and after the word
BEYOND = "0"  # stands everywhere further out
SILENT = "_"  # the leaf of a letter without a phone
JOINT = "-"  # between the two phones of one letter

Node = str | tuple[int, str, "Node", "Node"]
"""A leaf such as `k-s`, or (place in the window, letter asked for, tree if so, tree if not)."""


def windows(word: str) -> list[str]:
    """Give, for each letter of `word`, the `2 * REACH` characters around it, from left to right."""
    margin = BEYOND * (REACH - 1)
    padded = f"{margin}{EDGE}{word}{EDGE}{margin}"
    return [padded[i : i + REACH] + padded[i + REACH + 1 : i + 2 * REACH + 1] for i in range(len(word))]


class LetterToSound:
    """Letters to phones by the trees of `rules`: a letter to its tree, written in prefix order.

    A question is written as place and letter (`4e`: is the next letter an e?) and followed by the
    tree for yes and the tree for no. Raises `ValueError` for a rule that is not of that form.
    """

    def __init__(self, rules: Mapping[str, str]) -> None:
        if list(rules) != list(LETTERS):
            raise ValueError(f"rules for {''.join(rules)!r}, expected one for each of a to z")
        self.rules = dict(rules)
        self._trees = {letter: _parse(rule.split()) for letter, rule in rules.items()}

    def __call__(self, word: str) -> tuple[str, ...]:
        """Return the phones of `word`, which is of the letters a to z."""
        phones: list[str] = []
        for letter, window in zip(word, windows(word), strict=True):
            node = self._trees[letter]
            while not isinstance(node, str):
                place, asked, yes, no = node
                node = yes if window[place] == asked else no
            if node != SILENT:
                phones.extend(node.split(JOINT))
        return tuple(phones)

    def symbols(self) -> set[str]:
        """Return every phone that a leaf can hold."""
        leaves = (token for rule in self.rules.values() for token in rule.split() if not token[0].isdigit())
        return {phone for leaf in leaves if leaf != SILENT for phone in leaf.split(JOINT)}


def _parse(tokens: Sequence[str]) -> Node:
    # Read backwards, so that both trees of a question are complete when the question comes.
    stack: list[Node] = []
    for token in reversed(tokens):
        if not token[0].isdigit():
            stack.append(token)
        elif len(token) == 2 and int(token[0]) < 2 * REACH and len(stack) > 1:
            yes = stack.pop()
            stack.append((int(token[0]), token[1], yes, stack.pop()))
        else:
            raise ValueError(f"letter-to-sound question {token!r} is malformed or lacks its answers")
    if len(stack) != 1:
        raise ValueError(f"{len(stack)} letter-to-sound trees for one letter, expected 1")
    return stack[0]
