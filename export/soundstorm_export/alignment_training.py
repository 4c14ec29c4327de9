"""Measure which semantic tokens speak which phone, for the word times of an autoregressive text stage.

The text stage reads sentences, and a hidden Markov model with one state a phone is trained on them by Viterbi
training from a flat start: phones of equal length at first, then in turns the probabilities of the tokens of
each phone and the best path. No recordings and no durations are needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from soundstorm_runtime.bundle.manifest import LEXICON_FILE, AutoregressiveTextSchema
from soundstorm_runtime.bundle.reader import Bundle
from soundstorm_runtime.bundle.token_alignment import TokenAlignment
from soundstorm_runtime.engines.base import Engine
from soundstorm_runtime.synthesis.sentence_reader import SentenceReader
from soundstorm_runtime.text.lexicon_file import load_lexicon
from soundstorm_runtime.text.spelling import Phones

Reading = tuple[np.ndarray, np.ndarray]  # ids of phones, int64 [phones], and semantic tokens, int64 [tokens]

SENTENCES = 120
WORDS = 3  # of each half of a sentence
_MOST_UNUSABLE = 1  # sentences, before a stage that has not learned to read is given up
_ROUNDS = 8
_SMOOTHING = 10.0  # tokens that every phone has beside those that were counted, spread as all tokens are


def measure_alignment(
    bundle: Bundle, text: AutoregressiveTextSchema, engines: Mapping[str, Engine]
) -> TokenAlignment | None:
    """Measure the alignment of a voice; None where most sentences do not end, as in one without training.

    Args:
        bundle: a voice.
        text: its text stage, which reads phones.
        engines: an engine for each of its graphs, by name.
    """
    readings, unusable = list[Reading](), 0
    for reading in _readings(bundle, text, engines):
        if reading is not None:
            readings.append(reading)
            continue
        unusable += 1
        if unusable > _MOST_UNUSABLE and unusable > len(readings):
            return None
    return fit_alignment(readings, len(text.symbols), bundle.manifest.semantic.vocabulary)


def fit_alignment(readings: Sequence[Reading], symbols: int, vocabulary: int) -> TokenAlignment:
    """Train the probabilities of the tokens of each phone.

    Args:
        readings: sentences, each with as many tokens as phones or more.
        symbols: number of phones that there are.
        vocabulary: number of semantic tokens that there are.
    """
    counts = [_even(len(phones), len(tokens)) for phones, tokens in readings]
    phones = np.concatenate([own for own, _ in readings])
    tokens = np.concatenate([own for _, own in readings])
    usual = np.bincount(tokens, minlength=vocabulary) + 0.5
    for _ in range(_ROUNDS):
        table = np.tile(_SMOOTHING * usual / usual.sum(), (symbols, 1))
        np.add.at(table, (np.repeat(phones, np.concatenate(counts)), tokens), 1)
        alignment = TokenAlignment(np.log(table / table.sum(axis=1, keepdims=True)))
        counts = [alignment.counts(*reading) for reading in readings]
    return alignment


def random_sentences(bundle: Bundle) -> Iterator[str]:
    """Draw the words of sentences from the lexicon of a voice, so that all phones are frequent."""
    words = sorted(load_lexicon(bundle.file(LEXICON_FILE)).words)
    rng = np.random.default_rng(0)
    for place in range(SENTENCES):
        drawn = rng.choice(words, 2 * WORDS)
        yield f"{' '.join(drawn[:WORDS])}, {' '.join(drawn[WORDS:])}{'.?!'[place % 3]}"


def _readings(
    bundle: Bundle, text: AutoregressiveTextSchema, engines: Mapping[str, Engine]
) -> Iterator[Reading | None]:
    """Read sentences of random words; yield None for one that did not end, or ended before its last phone."""
    manifest = bundle.manifest
    spelling = Phones(load_lexicon(bundle.file(LEXICON_FILE)), text.symbols, manifest.name)
    reader = SentenceReader(manifest, text, engines, spelling)
    most = spelling.longest_unit * manifest.semantic.rate
    for place, words in enumerate(random_sentences(bundle)):
        for sentence in reader.sentences(words):
            for part in reader.read(sentence, np.random.SeedSequence(place)):
                phones = spelling.ids(list(part.units))
                usable = len(phones) <= len(part.tokens) < round(most * len(phones))
                yield (phones, part.tokens) if usable else None


def _even(phones: int, tokens: int) -> np.ndarray:
    """Return the tokens of each phone where all are as long as they can be alike, int64 [phones]."""
    return np.diff(np.arange(phones + 1) * tokens // phones)
