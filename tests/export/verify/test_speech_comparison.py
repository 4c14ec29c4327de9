"""How much a precision may change speech."""

from __future__ import annotations

import numpy as np
import pytest

from soundstorm_export.errors import ExportError
from soundstorm_export.verify import speech_comparison
from soundstorm_export.verify.speech_comparison import ReferenceSpeech, compare_speech, spectral_distance
from soundstorm_runtime.bundle.reader import Bundle

NOISE = np.random.default_rng(0).standard_normal(16_000, np.float32) * 0.1


def test_a_spectral_distance_is_the_change_of_level_in_decibels() -> None:
    assert spectral_distance([NOISE], [NOISE * 10**0.1], 16_000) == pytest.approx(2, abs=0.01)
    assert spectral_distance([NOISE], [NOISE[:8000]], 16_000) == pytest.approx(0, abs=0.2)


@pytest.mark.parametrize(("decibels", "of_seed", "allowed"), [(3, 0.5, "1.50"), (3, 2, "2.50")])
def test_speech_that_changes_too_much_is_refused_with_both_bounds(
    decibels: float,
    of_seed: float,
    allowed: str,
    full_bundle: Bundle,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reference = ReferenceSpeech(full_bundle)
    monkeypatch.setitem(reference.__dict__, "audio", [NOISE])
    monkeypatch.setitem(reference.__dict__, "seed_distance", of_seed)
    monkeypatch.setattr(speech_comparison, "_speak", lambda *_: [NOISE * 10 ** (decibels / 20)])
    with pytest.raises(
        ExportError,
        match=rf"between int8 and fp32 is 3.00 dB, expected at most {allowed} dB, the larger of 1.5 dB and "
        rf"1.25 times the {of_seed:.2f} dB between two seeds; nothing was written; export without",
    ):
        compare_speech(full_bundle, "int8", reference)


def test_lost_words_are_refused(full_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = ReferenceSpeech(full_bundle)
    for name, value in (("audio", [NOISE]), ("seed_distance", 2.0), ("word_errors", 3.0)):
        monkeypatch.setitem(reference.__dict__, name, value)
    monkeypatch.setattr(speech_comparison, "_speak", lambda *_: [NOISE])
    monkeypatch.setattr(speech_comparison, "word_error_rate", lambda *_: 8.5)
    with pytest.raises(
        ExportError, match=r"in int8 is 8\.5 %, in fp32 3\.0 %, expected at most 5 points more"
    ):
        compare_speech(full_bundle, "int8", reference)
    monkeypatch.setattr(speech_comparison, "word_error_rate", lambda *_: 7.5)
    assert compare_speech(full_bundle, "int8", reference).word_error_rate == 7.5
