"""Learns the trees of `soundstorm_runtime.text.letter_to_sound` from words and their phones.

    python -m scripts.train_letter_to_sound cmudict.dict --held-out 5000

measures how well they pronounce words that they were not learned from; `build_lexicon` and
`build_stressed_lexicon` write the trees of all words into a lexicon.
"""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import numpy as np

from soundstorm_edge.errors import CorpusError
from soundstorm_runtime.support.command import run
from soundstorm_runtime.text.letter_to_sound import (
    BEYOND,
    EDGE,
    JOINT,
    LETTERS,
    REACH,
    SILENT,
    LetterToSound,
    windows,
)

VOWEL_LETTERS = "aeiouy"

_CHARACTERS = BEYOND + EDGE + LETTERS
_LATE = 1e-6  # penalty that picks the earliest of equally likely alignments
_PRIOR = 4.0  # pseudo-count of the letter alone, against the letter between its neighbours
Costs = dict[str, dict[str, float]]
"""Maps a letter, or a letter between its neighbours, to the log probability of each of its answers."""


def learn_rules(pronunciations: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Learn one tree per letter.

    Args:
        pronunciations: words (letters a to z) and their phones; words that do not align, because a letter
            would have more than two phones, are left out.

    Returns:
        The tree of each letter, in the form of `LetterToSound`.
    """
    pairs = [(word, tuple(pronunciations[word])) for word in sorted(pronunciations)]
    costs = _alignment_costs(pairs)
    for _ in range(2):
        costs = _with_neighbours(costs, pairs)
    answers: dict[str, dict[str, Counter[str]]] = {letter: defaultdict(Counter) for letter in LETTERS}
    for word, phones in pairs:
        for letter, window, answer in zip(word, windows(word), align(word, phones, costs), strict=False):
            answers[letter][window][answer] += 1
    return {letter: _grow(answers[letter]) for letter in LETTERS}


def learn_clusters(
    pronunciations: Mapping[str, tuple[str, ...]], rules: LetterToSound
) -> tuple[set[str], set[str]]:
    """Return the letters before the first and after the last vowel of words that `rules` pronounce.

    A word with other clusters is read letter by letter.
    """
    onsets, codas = {""}, {""}
    for word, phones in pronunciations.items():
        vowels = [i for i, letter in enumerate(word) if letter in VOWEL_LETTERS]
        if vowels and len(word) > 1 and phones == rules(word):
            onsets.add(word[: vowels[0]])
            codas.add(word[vowels[-1] + 1 :])
    return onsets, codas


def align(word: str, phones: tuple[str, ...], costs: Costs) -> list[str]:
    """Return the phones (none, one or two) of each letter on the likeliest path; [] where there is none."""
    scores = {0: 0.0}
    steps: list[dict[int, int]] = []
    pairs = [JOINT.join(pair) for pair in itertools.pairwise(phones)]
    answers = [(SILENT, *phones[i : i + 1], *pairs[i : i + 1]) for i in range(len(phones) + 1)]
    for index, context in enumerate(_contexts(word)):
        likely = costs.get(context) or costs.get(context[1], {})
        following: dict[int, float] = {}
        back: dict[int, int] = {}
        for start, score in scores.items():
            for spent, answer in enumerate(answers[start]):
                if answer not in likely:
                    continue
                end = start + spent
                total = score + likely[answer] - _LATE * index * spent
                if end not in following or total > following[end]:
                    following[end] = total
                    back[end] = start
        scores = following
        steps.append(back)
    return _trace(phones, steps) if len(phones) in scores else []


def _trace(phones: tuple[str, ...], steps: list[dict[int, int]]) -> list[str]:
    path = []
    end = len(phones)
    for back in reversed(steps):
        path.append(_answer(phones[back[end] : end]))
        end = back[end]
    return path[::-1]


def _answer(phones: Sequence[str]) -> str:
    return JOINT.join(phones) or SILENT


def _contexts(word: str) -> list[str]:
    padded = f"{EDGE}{word}{EDGE}"
    return [padded[i : i + 3] for i in range(len(word))]


def _alignment_costs(pairs: list[tuple[str, tuple[str, ...]]], rounds: int = 6) -> Costs:
    """Estimate the probability of the phones of each letter by hard EM over a sample of the words."""
    sample = random.Random(0).sample(pairs, min(len(pairs), 12_000))
    costs = _log_probabilities(_cooccurrence(sample))
    for _ in range(rounds):
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for word, phones in sample:
            for letter, answer in zip(word, align(word, phones, costs), strict=False):
                counts[letter][answer] += 1
        costs = _log_probabilities(counts)
    return costs


def _with_neighbours(costs: Costs, pairs: list[tuple[str, tuple[str, ...]]]) -> Costs:
    """Refine the costs per letter and its two neighbours, smoothed by those of the letter alone."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for word, phones in pairs:
        for context, answer in zip(_contexts(word), align(word, phones, costs), strict=False):
            counts[context][answer] += 1
    refined = {letter: costs[letter] for letter in LETTERS if letter in costs}
    for context, seen in counts.items():
        total = seen.total() + _PRIOR
        prior = refined[context[1]]
        refined[context] = {
            answer: math.log((seen[answer] + _PRIOR * math.exp(cost)) / total)
            for answer, cost in prior.items()
        }
    return refined


def _log_probabilities(counts: Mapping[str, Counter[str]]) -> Costs:
    return {
        letter: {answer: math.log(n / seen.total()) for answer, n in seen.items()}
        for letter, seen in counts.items()
    }


def _cooccurrence(pairs: list[tuple[str, tuple[str, ...]]]) -> dict[str, Counter[str]]:
    """Count how often a letter and phones stand at about the same place in a word: the start of EM."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for word, phones in pairs:
        for i, letter in enumerate(word):
            place = i * len(phones) / len(word)
            near = range(max(0, math.ceil(place - 1.5)), min(len(phones), math.floor(place + 1.5) + 1))
            for j in near:
                counts[letter].update({phones[j]: 10, JOINT.join(phones[j : j + 2]): 1})
            counts[letter][SILENT] += 4
    return counts


def _grow(answers: Mapping[str, Counter[str]]) -> str:
    """Grow the tree of one letter until every window has the answer of most words."""
    if not answers:
        return SILENT
    seen = sorted(answers)
    chosen = [min(answers[w], key=lambda phones: (-answers[w][phones], phones)) for w in seen]
    leaves = sorted(set(chosen))
    places = np.array([[_CHARACTERS.index(c) for c in window] for window in seen])
    labels = np.array([leaves.index(phones) for phones in chosen])
    tokens: list[str] = []
    pending = [np.arange(len(seen))]
    while pending:  # prefix order: a question, its yes, its no
        rows = pending.pop()
        question = _best_question(places[rows], labels[rows])
        if question is None:
            tokens.append(leaves[np.bincount(labels[rows]).argmax()])
            continue
        place, character = question
        tokens.append(f"{place}{_CHARACTERS[character]}")
        yes = places[rows, place] == character
        pending += [rows[~yes], rows[yes]]
    return " ".join(tokens)


def _best_question(places: np.ndarray, labels: np.ndarray) -> tuple[int, int] | None:
    """Return the question that leaves the least entropy; None where all labels are equal."""
    _, labels = np.unique(labels, return_inverse=True)
    kinds = int(labels.max()) + 1
    if kinds == 1:
        return None
    size = len(_CHARACTERS)
    cells = (np.arange(2 * REACH) * size + places) * kinds + labels[:, None]
    yes = np.bincount(cells.ravel(), minlength=2 * REACH * size * kinds).reshape(-1, kinds)
    no = np.bincount(labels, minlength=kinds) - yes
    left = _entropy(yes) + _entropy(no)
    split = (yes.sum(1) > 0) & (no.sum(1) > 0)
    if not split.any():
        return None
    best = int(np.where(split, left, np.inf).argmin())
    return best // size, best % size


def _entropy(counts: np.ndarray) -> np.ndarray:
    """Entropy in nats of each row, times its number of samples."""
    total = counts.sum(1)
    return _x_log_x(total) - _x_log_x(counts).sum(1)


def _x_log_x(x: np.ndarray) -> np.ndarray:
    return x * np.log(np.maximum(x, 1))


def read_pronunciations(path: Path) -> dict[str, tuple[str, ...]]:
    """Read lines of a word and its phones; words with other characters than a to z are left out.

    Raises:
        CorpusError: the file cannot be read, or has no such line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusError(f"cannot read {path} ({error}); give a text file of words and phones") from error
    rows = [line.partition("#")[0].lower().split() for line in lines]
    found = {row[0]: tuple(row[1:]) for row in rows if len(row) > 1 and set(row[0]) <= set(LETTERS)}
    if not found:
        raise CorpusError(f"{path} has no line of a word and its phones, such as 'cat K AE1 T'")
    return found


def word_accuracy(pronunciations: Mapping[str, tuple[str, ...]], held_out: int) -> float:
    """Return the share of `held_out` random words that trees of the other words pronounce exactly.

    Raises:
        CorpusError: there are no words left to learn from.
    """
    if not 0 < held_out < len(pronunciations):
        raise CorpusError(
            f"{held_out} words of {len(pronunciations)} are held out; expected some to learn from"
        )
    words = random.Random(0).sample(sorted(pronunciations), len(pronunciations))
    rules = LetterToSound(learn_rules({word: pronunciations[word] for word in words[held_out:]}))
    return float(np.mean([rules(word) == pronunciations[word] for word in words[:held_out]]))


@click.command(context_settings={"show_default": True})
@click.argument("pronunciations", type=click.Path(path_type=Path))
@click.option("--held-out", type=click.IntRange(min=1), default=5000, help="Words to measure with.")
def main(pronunciations: Path, held_out: int) -> None:
    """Measure letter-to-sound trees learned from PRONUNCIATIONS: lines of a word and its phones.

    Example: python -m scripts.train_letter_to_sound cmudict.dict --held-out 5000
    """
    accuracy = word_accuracy(read_pronunciations(pronunciations), held_out)
    click.echo(f"{accuracy:.1%} of {held_out} held-out words are pronounced exactly")


if __name__ == "__main__":
    run(main)
