"""Forced alignment: on speech whose times are known, and on paths that are known by construction."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from soundstorm_edge.data.forced_alignment import STATES, align, likeliest_path
from soundstorm_edge.data.sources.flite import speak
from soundstorm_edge.data.sources.fortunes import fortune_sentences
from soundstorm_edge.data.utterances import Utterance
from soundstorm_edge.errors import CorpusError
from soundstorm_edge.training.pipeline import shipped_lexicon

RATE = 16_000


@pytest.fixture(scope="module")
def lexicon():
    return shipped_lexicon()


@pytest.fixture(scope="module")
def spoken() -> tuple[list[Utterance], dict[str, np.ndarray]]:
    utterances, audio = [], {}
    for number, text in enumerate(fortune_sentences()[:20]):
        sound = speak(text, "rms")
        seconds = len(sound.audio) / RATE
        noise = np.random.default_rng(number).standard_normal(len(sound.audio)) * 0.001  # no digital silence
        audio[str(number)] = (sound.audio + noise).astype(np.float32)
        utterances.append(Utterance(str(number), "", seconds, text, "rms", False, sound.phones, sound.ends))
    return utterances, audio


@pytest.mark.flite
def test_borders_come_out_where_flite_has_them(spoken, lexicon) -> None:
    truth, audio = spoken
    blank = [replace(utterance, ends=()) for utterance in truth]
    found = align(blank, lambda u: audio[u.id], RATE, lexicon, rounds=5)
    assert [u.phones for u in found] == [u.phones for u in truth]
    errors = np.concatenate(
        [np.subtract(f.ends[:-1], t.ends[:-1]) for f, t in zip(found, truth, strict=True)]
    )
    assert np.median(abs(errors)) < 0.02
    assert np.quantile(abs(errors), 0.9) < 0.06
    for utterance in found:
        assert utterance.ends[-1] == utterance.seconds
        assert list(utterance.ends) == sorted(utterance.ends)


@pytest.mark.flite
@pytest.mark.parametrize("name", ["flite", "cmu"])
def test_phones_come_from_the_text_where_there_are_none(spoken, name) -> None:
    (truth, audio), lexicon = spoken, shipped_lexicon(name)
    blank = [replace(utterance, phones=(), ends=()) for utterance in truth[:3]]
    for utterance in align(blank, lambda u: audio[u.id], RATE, lexicon, rounds=1):
        assert list(utterance.phones) == lexicon.phones(utterance.text)
        assert len(utterance.ends) == len(utterance.phones)


def test_speech_that_is_too_short_for_its_text_is_named(lexicon) -> None:
    utterance = Utterance("lj-7", "", 0.1, "A sentence of many phones.", "lj", False)
    with pytest.raises(
        CorpusError, match=r"utterance lj-7 lasts 0\.10 s, expected at least 0\.\d+ s for its"
    ):
        align([utterance], lambda u: np.ones(1600, np.float32), RATE, lexicon)


def scores(phones: list[int], count: int) -> np.ndarray:
    """Scores of frames that say to which phone they belong, in states that follow one another."""
    table = np.full((len(phones), count * STATES), -10.0)
    for frame, phone in enumerate(phones):
        table[frame, phone * STATES : (phone + 1) * STATES] = 0
    return table


@pytest.mark.parametrize(
    "phones",
    [
        [0] * 4 + [1] * 3 + [2] * 5 + [3] * 3,
        [0] * 4 + [2] * 5 + [3] * 3,  # the pause within is left out
        [1] * 3 + [2] * 3 + [3] * 4,  # the one at the start
        [1] * 3 + [2] * 4,  # those at both ends
    ],
)
def test_pauses_may_be_left_out(phones: list[int]) -> None:
    # Phones 0, 1 and 3 are pauses where the case leaves them out.
    pauses = np.array([place not in phones for place in range(4)])
    path = likeliest_path(scores(phones, 4), pauses)
    assert (path // STATES).tolist() == phones
    assert set(np.diff(path).tolist()) <= {0, 1, STATES + 1}


def test_a_phone_that_is_no_pause_keeps_its_states() -> None:
    path = likeliest_path(scores([0] * 4 + [2] * 8, 3), np.zeros(3, bool))
    assert np.bincount(path // STATES).tolist()[1] >= STATES, "however unlikely, it is spoken"
    assert (path[0], path[-1]) == (0, 3 * STATES - 1)
