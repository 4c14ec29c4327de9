"""Phones of words that no lexicon holds: one small decision tree per letter.

A tree asks which letter stands up to four places left or right and ends in the zero to two phones of
its letter (Black, Lenzo and Pagel, "Issues in building general letter to sound rules", 1998).
"""

from __future__ import annotations

import re
import string
from array import array
from collections.abc import Mapping

LETTERS = string.ascii_lowercase
REACH = 4  # letters to each side that a question may look at
EDGE = "#"  # stands directly before and after the word
BEYOND = "0"  # stands everywhere further out
SILENT = "_"  # the leaf of a letter without a phone
JOINT = "-"  # between the two phones of one letter

_LEAF = 2 * REACH  # in the place of a question's place


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
        self._trees = {letter: _Tree(rule) for letter, rule in rules.items()}

    @property
    def rules(self) -> dict[str, str]:
        """The rules as they are written."""
        return {letter: " ".join(tree.tokens()) for letter, tree in self._trees.items()}

    def __call__(self, word: str) -> tuple[str, ...]:
        """Return the phones of `word`, which is of the letters a to z."""
        phones: list[str] = []
        for letter, window in zip(word, windows(word), strict=True):
            leaf = self._trees[letter].leaf(window)
            if leaf != SILENT:
                phones.extend(leaf.split(JOINT))
        return tuple(phones)

    def symbols(self) -> set[str]:
        """Return every phone that a leaf can hold."""
        leaves = {leaf for tree in self._trees.values() for leaf in tree.leaves}
        return {phone for leaf in leaves if leaf != SILENT for phone in leaf.split(JOINT)}


class _Tree:
    """A tree in 6 bytes a node, for a lexicon has some 150,000: three parallel sequences, in prefix order.

    Attributes:
        leaves: Every distinct leaf, such as `k-s`.
    """

    def __init__(self, rule: str) -> None:
        places, letters, targets = bytearray(), [], array("I")
        leaves: dict[str, int] = {}
        unanswered: list[int] = []  # questions whose tree for no is to come
        complete = False
        for node, match in enumerate(re.finditer(r"\S+", rule)):  # the list of all takes megabytes
            token = match[0]
            if complete:
                raise ValueError(f"letter-to-sound tree goes on with {token!r} after its last answer")
            if not token[0].isdigit():
                places.append(_LEAF)
                letters.append(token[0])
                targets.append(leaves.setdefault(token, len(leaves)))
                complete = not unanswered
                if unanswered:
                    targets[unanswered.pop()] = node + 1
            elif len(token) == 2 and int(token[0]) < _LEAF:
                places.append(int(token[0]))
                letters.append(token[1])
                targets.append(0)
                unanswered.append(node)
            else:
                raise ValueError(f"letter-to-sound question {token!r} is malformed")
        if not complete:
            raise ValueError("letter-to-sound tree ends before its last answer")
        self.leaves = tuple(leaves)
        self._places = bytes(places)  # in the window, of a question
        self._letters = "".join(letters)  # that it asks for
        self._targets = targets  # the node to go to if the answer is no; of a leaf, its index in `leaves`

    def leaf(self, window: str) -> str:
        """Return the leaf for the letters around a letter."""
        places, letters, targets, node = self._places, self._letters, self._targets, 0
        while (place := places[node]) != _LEAF:
            node = node + 1 if window[place] == letters[node] else targets[node]
        return self.leaves[targets[node]]

    def tokens(self) -> list[str]:
        """Return the tree as it is written."""
        nodes = zip(self._places, self._letters, self._targets, strict=True)
        return [
            self.leaves[target] if place == _LEAF else f"{place}{letter}" for place, letter, target in nodes
        ]
