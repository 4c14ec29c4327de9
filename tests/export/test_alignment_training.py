"""Viterbi training of the alignment, on sentences whose durations are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.random import Generator

from soundstorm_export.alignment_training import Reading, fit_alignment, measure_alignment
from soundstorm_runtime.bundle.manifest import AutoregressiveTextSchema
from soundstorm_runtime.bundle.open_engines import open_engines
from soundstorm_runtime.bundle.reader import read_bundle
from soundstorm_runtime.bundle.token_alignment import TokenAlignment
from soundstorm_runtime.text.spelling import Phones
from tests.runtime.conftest import SYMBOLS, _make_bundle

PHONES, VOCABULARY = 12, 40


def spoken(rng: Generator, sentences: int) -> list[tuple[Reading, np.ndarray]]:
    """Sentences and their true counts: each phone has three tokens in turn, shared with other phones."""
    told = np.random.default_rng(0)
    sounds, usual = told.integers(VOCABULARY, size=(PHONES, 3)), told.integers(2, 9, size=PHONES)
    found = []
    for _ in range(sentences):
        phones = rng.integers(PHONES, size=rng.integers(10, 30))
        counts = usual[phones] + rng.integers(-1, 2, size=len(phones))
        pieces = [sounds[p, np.arange(n) * 3 // n] for p, n in zip(phones, counts, strict=True)]
        tokens = np.concatenate(pieces)
        noise = rng.random(len(tokens)) < 0.1
        tokens[noise] = rng.integers(VOCABULARY, size=noise.sum())
        found.append(((phones, tokens), counts))
    return found


def ends(counts: np.ndarray) -> np.ndarray:
    return np.cumsum(counts)[:-1]


def test_durations_are_found_without_having_been_told() -> None:
    trained = [reading for reading, _ in spoken(np.random.default_rng(1), 80)]
    alignment = fit_alignment(trained, PHONES, VOCABULARY)
    errors = [
        np.abs(ends(alignment.counts(*reading)) - ends(counts))
        for reading, counts in spoken(np.random.default_rng(2), 40)
    ]
    assert np.median(np.concatenate(errors)) == 0
    assert np.percentile(np.concatenate(errors), 95) <= 3
    assert np.allclose(np.exp(alignment.log_probabilities).sum(axis=1), 1)
    blind = TokenAlignment(np.zeros((PHONES, VOCABULARY)))
    (reading, counts), *_ = spoken(np.random.default_rng(2), 1)
    assert np.abs(ends(blind.counts(*reading)) - ends(counts)).mean() > 5


def test_a_voice_that_reads_is_aligned_and_one_that_does_not_end_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The text stage of this voice makes two tokens of each phone."""
    monkeypatch.setattr("soundstorm_export.alignment_training.SENTENCES", 12)
    bundle = read_bundle(_make_bundle(tmp_path / "voice", "autoregressive"))
    engines, text = open_engines(bundle, provider="cpu").by_name, bundle.manifest.text
    assert isinstance(text, AutoregressiveTextSchema)
    alignment = measure_alignment(bundle, text, engines)
    assert alignment is not None
    assert alignment.log_probabilities.shape == (len(SYMBOLS), 10)
    monkeypatch.setattr(Phones, "longest_unit", 2 / 25)  # no sentence may have more tokens than these have
    assert measure_alignment(bundle, text, engines) is None
