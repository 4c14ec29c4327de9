"""A codec's decoder in pieces gives what it gives at once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soundstorm_runtime.audio.inverse_stft import InverseStft, inverse_stft
from soundstorm_runtime.bundle.manifest import AudioSchema
from soundstorm_runtime.engines.base import Engine
from soundstorm_runtime.engines.graphs import spectral_decoder_graph
from soundstorm_runtime.errors import EngineError
from soundstorm_runtime.synthesis.codec_decoder import (
    SpectralStreamDecoder,
    WholeDecoder,
    make_codec_decoder,
    streaming_latency,
)

HOP, WINDOW, LEVELS, CODES = 4, 16, 2, 8
CONTEXT, LOOKAHEAD, BINS = 5, 2, WINDOW // 2 + 1
FACTS = AudioSchema("spectral", 800, HOP, WINDOW, LEVELS, CODES, context=CONTEXT, lookahead=LOOKAHEAD)


class Decoder(Engine):
    """A spectrum of each frame that depends on frames around it, as one of convolutions does."""

    def __init__(self, context=CONTEXT, lookahead=LOOKAHEAD, bins=WINDOW // 2 + 1, source=False):
        super().__init__(spectral_decoder_graph(LEVELS, 2 * bins, source=source))
        rng = np.random.default_rng(0)
        self.spectra = rng.normal(size=(context + 1 + lookahead, CODES, 2 * bins)).astype(np.float32)
        self.padding = (context, lookahead)
        self.frames = []

    def _run(self, feeds):
        codes = feeds["codes"][0].sum(axis=1) % CODES
        self.frames.append(len(codes))
        seen = np.pad(codes, self.padding, constant_values=-1)
        spectrum = np.zeros((len(codes), self.spectra.shape[-1]), np.float32)
        for place, table in enumerate(self.spectra):
            here = seen[place : place + len(codes)]
            spectrum += np.where(here[:, None] >= 0, np.cos(table[here]) * 0.1, 0)
        return {"spectrum": spectrum[None]}


def drawn(frames):
    return np.random.default_rng(frames).integers(CODES, size=(frames, LEVELS))


def pushed(sound, codes, cuts):
    ends = [*sorted({cut for cut in cuts if cut < len(codes)}), len(codes)]
    starts = [0, *ends[:-1]]
    return [sound.push(codes[a:b], last=b == len(codes)) for a, b in zip(starts, ends, strict=True)]


@settings(deadline=None)
@given(st.integers(1, 40), st.lists(st.integers(0, 39), max_size=8), st.integers(0, 3))
def test_pieces_are_the_whole(frames, cuts, context):
    codes, before = drawn(frames), drawn(context)
    whole = WholeDecoder(FACTS, before, Decoder()).push(codes, last=True)
    assert len(whole) == frames * HOP
    found = np.concatenate(pushed(SpectralStreamDecoder(FACTS, before, Decoder()), codes, cuts))
    np.testing.assert_allclose(found, whole, atol=1e-5)


@settings(deadline=None)
@given(st.integers(1, 30), st.lists(st.integers(0, 29), max_size=6))
def test_pieces_of_short_transforms_are_the_whole(frames, cuts):
    """Two transforms in a frame, side by side in the spectrum, are so many frames of half the hop."""
    facts = replace(FACTS, window=WINDOW // 2, transforms=2)
    decoder = Decoder(bins=2 * (WINDOW // 4 + 1))
    whole = WholeDecoder(facts, drawn(0), decoder).push(drawn(frames), last=True)
    spectrum = decoder.run({"codes": drawn(frames)[None]})["spectrum"].reshape(1, 2 * frames, WINDOW // 2 + 2)
    np.testing.assert_array_equal(whole, inverse_stft(spectrum, WINDOW // 2, HOP // 2)[0].clip(-1, 1))
    found = np.concatenate(pushed(SpectralStreamDecoder(facts, drawn(0), decoder), drawn(frames), cuts))
    np.testing.assert_allclose(found, whole, atol=1e-5)


@settings(deadline=None)
@given(st.integers(1, 30), st.lists(st.integers(0, 29), max_size=6), st.integers(0, 3))
def test_pieces_of_pulses_and_noise_are_the_whole(frames, cuts, context):
    class Filters(Decoder):
        def _run(self, feeds):
            found = np.abs(super()._run(feeds)["spectrum"])
            found[..., -2] = 50 + 200 * found[..., -2]  # Hz
            return {"filters": found}

    facts, before = replace(FACTS, source=True), drawn(context)
    whole = WholeDecoder(facts, before, Filters(bins=BINS + 1, source=True)).push(drawn(frames), last=True)
    sound = SpectralStreamDecoder(facts, before, Filters(bins=BINS + 1, source=True))
    np.testing.assert_allclose(np.concatenate(pushed(sound, drawn(frames), cuts)), whole, atol=1e-5)


def test_sound_is_late_by_what_the_decoder_has_to_see():
    sound = SpectralStreamDecoder(FACTS, drawn(0), Decoder())
    chunk = sound.push(drawn(20))
    late = 20 - len(chunk) / HOP
    assert LOOKAHEAD < late <= streaming_latency(FACTS, None) == LOOKAHEAD + 2


def test_nothing_is_decoded_further_back_than_need_be():
    decoder = Decoder()
    pushed(SpectralStreamDecoder(FACTS, drawn(0), decoder), drawn(100), range(10, 100, 10))
    assert max(decoder.frames) == CONTEXT + LOOKAHEAD + 10


def test_too_short_a_context_would_be_heard():
    """The test above sees what it is to see."""
    facts = AudioSchema("spectral", 800, HOP, WINDOW, LEVELS, CODES, context=CONTEXT - 1, lookahead=LOOKAHEAD)
    whole = WholeDecoder(facts, drawn(0), Decoder()).push(drawn(40), last=True)
    found = np.concatenate(pushed(SpectralStreamDecoder(facts, drawn(0), Decoder()), drawn(40), [10, 20, 30]))
    assert np.abs(found - whole).max() > 1e-3


def test_without_facts_an_utterance_is_decoded_at_its_end():
    facts = AudioSchema("spectral", 800, HOP, WINDOW, LEVELS, CODES)
    sound = make_codec_decoder(facts, drawn(0), Decoder(), None)
    assert streaming_latency(facts, None) is None
    first, second = pushed(sound, drawn(20), [10])
    assert (len(first), len(second)) == (0, 20 * HOP)


def test_samples_that_are_no_numbers_are_refused():
    class Broken(Decoder):
        def _run(self, feeds):
            return {"spectrum": super()._run(feeds)["spectrum"] * np.float32(np.nan)}

    with pytest.raises(EngineError, match="samples that are not finite numbers"):
        SpectralStreamDecoder(FACTS, drawn(0), Broken()).push(drawn(20))


@settings(deadline=None)
@given(st.integers(1, 12), st.lists(st.integers(0, 11), max_size=5))
def test_the_inverse_transform_joins_pieces(frames, cuts):
    spectrum = np.random.default_rng(frames).normal(size=(2, frames, WINDOW + 2)).astype(np.float32)
    ends = [*sorted({cut for cut in cuts if cut < frames}), frames]
    inverse, start, pieces = InverseStft(WINDOW, HOP), 0, []
    for end in ends:
        pieces.append(inverse.push(spectrum[:, start:end], last=end == frames))
        start = end
    np.testing.assert_allclose(np.concatenate(pieces, 1), inverse_stft(spectrum, WINDOW, HOP), atol=1e-5)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"transforms": 3}, "transforms is 3, expected a divisor of hop 4 for codec 'spectral'"),
        ({"context": 3}, "context is 3 and lookahead None, expected two numbers of 0 or more"),
        ({"context": -1, "lookahead": 2}, "context is -1 and lookahead 2"),
        ({"state": ((4, 2),)}, "expected lengths of 1 or more for codec 'soundstream'"),
    ],
)
def test_facts_that_contradict_each_other_are_refused(facts, message):
    with pytest.raises(ValueError, match=message):
        AudioSchema("spectral", 800, HOP, WINDOW, LEVELS, CODES, **facts)
