"""The held-out sentences: of all kinds, sayable as written, and seen by no training."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pocketsphinx
import pytest

from benchmarks.recognition import reference_words
from benchmarks.sentences import Sentence, read_sentences, take_evenly
from soundstorm_edge.data.sources.fortunes import fortune_sentences
from soundstorm_runtime.errors import TextError
from soundstorm_runtime.text.sentences import split_sentences

KINDS = ["short", "plain", "long", "questions", "numbers", "dates", "unusual words"]


@pytest.fixture(scope="module")
def sentences():
    return read_sentences()


def test_there_are_240_of_all_kinds_each_once(sentences):
    assert len({sentence.text for sentence in sentences}) == len(sentences) == 240
    counts = Counter(sentence.kind for sentence in sentences)
    assert list(counts) == KINDS
    assert min(counts.values()) >= 25


def test_each_is_one_sentence_as_the_runtime_splits_it(sentences):
    for sentence in sentences:
        assert split_sentences(sentence.text) == [sentence.text]


def test_each_is_what_its_kind_says(sentences):
    for kind, text in ((sentence.kind, sentence.text) for sentence in sentences):
        words = len(text.split())
        assert text.endswith("?") == (kind == "questions"), text
        assert bool(re.search("[0-9]", text)) <= (kind in ("numbers", "dates")), text
        assert kind != "short" or words <= 6, text
        assert kind != "long" or words >= 20, text


def test_the_recogniser_knows_every_word(sentences):
    """An unknown word would count against every voice alike and hide what they differ in."""
    path = Path(pocketsphinx.get_model_path("en-us/cmudict-en-us.dict"))
    known = {line.split()[0] for line in path.read_text().splitlines()}
    for sentence in sentences:
        assert set(reference_words(sentence.text).split()) <= known


@pytest.mark.flite
def test_no_training_saw_them(sentences):
    seen = set().union(*map(_runs, fortune_sentences()))
    for sentence in sentences:
        assert not _runs(sentence.text) & seen, sentence.text


def _runs(text: str, length: int = 6) -> set[tuple[str, ...]]:
    """The whole text, and every run of six words in it: a sentence may not even be half borrowed."""
    words = re.findall(r"[a-z0-9']+", text.lower())
    return {tuple(words), *(tuple(words[i : i + length]) for i in range(len(words) - length + 1))}


def test_a_short_run_takes_all_kinds_alike(sentences):
    chosen = take_evenly(sentences, 50)
    assert chosen == take_evenly(sentences, 50)
    assert Counter(sentence.kind for sentence in chosen) == {**dict.fromkeys(KINDS, 7), "short": 8}
    assert chosen[:2] == [sentences[0], sentences[40]]
    assert chosen == take_evenly(sentences, 240)[:50]
    assert sorted(take_evenly(sentences, 240), key=sentences.index) == sentences


@pytest.mark.parametrize("count", [0, 241])
def test_a_count_out_of_range_is_refused(sentences, count):
    with pytest.raises(TextError, match=f"{count} sentences were asked for, expected 1 to 240"):
        take_evenly(sentences, count)


def test_a_sentence_without_a_kind_is_refused(tmp_path):
    path = tmp_path / "sentences.txt"
    path.write_text("# Comment.\n[a]\nOne.\n\n[b c]\nTwo.\n")
    assert read_sentences(path) == [Sentence("a", "One."), Sentence("b c", "Two.")]
    path.write_text("One.\n[a]\nTwo.\n")
    with pytest.raises(TextError, match=r"sentences.txt:1 has a sentence before the first \[kind\]"):
        read_sentences(path)
