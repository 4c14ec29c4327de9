"""Named voices: their files, and how they are heard."""

from __future__ import annotations

import os
import zipfile
from contextlib import suppress

import numpy as np
import pytest

from soundstorm_runtime import Voice
from soundstorm_runtime.bundle.prompts import Prompt, read_prompt, write_prompt
from soundstorm_runtime.bundle.reader import read_bundle
from soundstorm_runtime.engines.base import Engine
from soundstorm_runtime.errors import BundleError, OptionError

TEXT = "This is the first sentence. This is a second one, and it is longer."


@pytest.fixture
def manifest(make_bundle):
    return read_bundle(make_bundle()).manifest


def prompt(codes=(6, 3), tokens=3, largest=7):
    return Prompt(np.full(codes, largest, np.int64), np.arange(tokens))


def test_a_prompt_survives_its_file(tmp_path, manifest):
    write_prompt(tmp_path / "a.npz", prompt())
    found = read_prompt(tmp_path / "a.npz", manifest)
    np.testing.assert_array_equal(found.codes, prompt().codes)
    np.testing.assert_array_equal(found.semantic_tokens, prompt().semantic_tokens)
    assert found.codes.dtype == found.semantic_tokens.dtype == np.int64
    assert found.seconds(manifest) == pytest.approx(6 * 16 / 800)


def test_the_file_is_small_and_always_the_same(tmp_path):
    for name, largest in (("a", 255), ("b", 256), ("again", 255)):
        write_prompt(tmp_path / f"{name}.npz", prompt(largest=largest))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "again.npz").read_bytes()
    assert np.load(tmp_path / "a.npz")["codes"].dtype == np.uint8
    assert np.load(tmp_path / "b.npz")["codes"].dtype == np.uint16


CODES, TOKENS = np.zeros((6, 3), np.uint8), np.zeros(3, np.uint8)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"codes": CODES}, r"it has the arrays \['codes'\], expected \['codes', 'semantic_tokens'\]"),
        (
            {"codes": CODES[0], "semantic_tokens": TOKENS},
            r"codes is uint8 \[3\], expected integers of 2",
        ),
        ({"codes": CODES + 0.5, "semantic_tokens": TOKENS}, r"codes is float64 \[6, 3\], expected integers"),
        ({"codes": CODES[:0], "semantic_tokens": TOKENS[:0]}, r"codes is uint8 \[0, 3\], expected integers"),
        ({"codes": CODES[:, :2], "semantic_tokens": TOKENS}, "expected 3 levels, 2 frames per token"),
        ({"codes": CODES[:5], "semantic_tokens": TOKENS}, r"codes \[5, 3\] and 3 semantic tokens, expected"),
        ({"codes": CODES.repeat(900, 0), "semantic_tokens": TOKENS.repeat(900)}, "at most 1500 frames"),
        ({"codes": CODES + 8, "semantic_tokens": TOKENS}, "codes from 8 to 8, expected 0 to 7; make it with"),
        (
            {"codes": CODES, "semantic_tokens": TOKENS - np.int8(1)},
            "tokens from -1 to -1, expected 0",
        ),
        ({"codes": CODES, "semantic_tokens": np.array([None])}, "cannot be read as a prompt .*pickle"),
    ],
)
def test_a_prompt_that_does_not_fit_is_refused(tmp_path, manifest, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(BundleError, match=rf"a\.npz .*{message}"):
        read_prompt(tmp_path / "a.npz", manifest)


def test_a_file_that_is_no_prompt_is_refused(tmp_path, manifest):
    write_prompt(tmp_path / "a.npz", prompt())
    whole = (tmp_path / "a.npz").read_bytes()
    for name, content in {"empty": b"", "text": b"codes", "cut": whole[:-30]}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BundleError, match=f"{name} cannot be read as a prompt .*make it again"):
            read_prompt(tmp_path / name, manifest)
    damaged = bytearray(whole)
    for place in range(len(whole)):
        damaged[place] ^= 0xFF
        (tmp_path / "damaged").write_bytes(damaged)
        damaged[place] ^= 0xFF
        with suppress(BundleError):  # and nothing else, whichever byte it is
            read_prompt(tmp_path / "damaged", manifest)
    with zipfile.ZipFile(tmp_path / "bomb", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("codes.npy", bytes(17 << 20))
    with pytest.raises(BundleError, match="it unpacks to 17825792 bytes, expected 16777216 at most"):
        read_prompt(tmp_path / "bomb", manifest)


def test_a_bundle_reads_its_voices_with_every_check(make_bundle):
    folder = make_bundle(voices={"slt": 6, "rms": 9})
    assert {name: len(p.codes) for name, p in read_bundle(folder).prompts().items()} == {"slt": 12, "rms": 18}
    os.truncate(folder / "prompts" / "slt.npz", 50)
    with pytest.raises(BundleError, match=r"slt\.npz has 50 bytes, expected \d+"):
        read_bundle(folder)


@pytest.mark.parametrize("kind", ["parallel", "autoregressive"])
def test_a_named_voice_is_heard_in_what_follows_and_not_itself(make_bundle, kind):
    folder = make_bundle(kind, voices={"slt": 6, "rms": 9})
    voice = Voice.load(folder, threads=1)
    assert voice.voices == ("slt", "rms")
    assert voice.speaker == "slt"
    usual, slt, rms = voice.speak(TEXT), voice.speak(TEXT, voice="slt"), voice.speak(TEXT, voice="rms")
    np.testing.assert_array_equal(usual, slt)
    assert len(slt) == len(rms)  # prompts of unlike lengths leave nothing behind
    np.testing.assert_array_equal(slt, voice.speak(TEXT, voice="slt", seed=0))


class Recorder(Engine):
    """Passes on to another engine, and keeps what it was fed."""

    def __init__(self, engine):
        super().__init__(engine.graph, engine.axes)
        self.engine = engine
        self.seen = []

    def _run(self, feeds):
        self.seen.append({name: array.copy() for name, array in feeds.items()})
        return self.engine.run(feeds)


def test_the_prompt_goes_before_the_sentence_and_is_cut_from_the_audio(make_bundle):
    folder = make_bundle(voices={"slt": 30})
    spoken = read_bundle(folder).prompts()["slt"]
    voice = Voice.load(folder, threads=1)
    acoustics = voice._acoustics
    step, decoder = Recorder(acoustics._step), Recorder(acoustics._decoder)
    acoustics._step, acoustics._decoder = step, decoder
    audio = voice.speak("Good morning.")
    for feeds in step.seen:
        np.testing.assert_array_equal(feeds["codes"][0, :60], spoken.codes)
        np.testing.assert_array_equal(feeds["semantic_tokens"][0, :60:2], spoken.semantic_tokens)
        assert feeds["lengths"].tolist() == [feeds["codes"].shape[1]]
    (decoded,) = (feeds["codes"][0] for feeds in decoder.seen)
    context = 26  # half a second of the prompt's frames, in whole tokens
    np.testing.assert_array_equal(decoded[:context], spoken.codes[-context:])
    whole = decoder.engine.run({"codes": decoded[None]})["audio"][0]
    np.testing.assert_array_equal(audio, whole[context * 16 :].clip(-1, 1))


def test_a_voice_that_is_not_there_is_refused_with_those_that_are(make_bundle):
    with pytest.raises(OptionError, match="'awb' was asked for, but the bundle has the voices slt, rms"):
        Voice.load(make_bundle(voices={"slt": 6, "rms": 9})).speak_sentences(TEXT, voice="awb")
    with pytest.raises(OptionError, match="but the bundle has no named voices"):
        Voice.load(make_bundle("autoregressive")).speak_sentences(TEXT, voice="slt")


def test_a_long_sentence_leaves_room_for_the_prompt(make_bundle):
    voice = Voice.load(make_bundle(voices={"slt": 600}), threads=1)
    words = ", ".join(["one two three four five"] * 9)
    alone = voice._acoustics.room(None)
    room = voice._acoustics.room(voice._prompts["slt"])
    assert (alone, room) == (1500, 900)
    assert len(voice.speak(f"{words}.")) > 0
