"""Names of mixtures of voices, and voices that cannot be mixed."""

from __future__ import annotations

import numpy as np
import pytest

from soundstorm_runtime import Voice
from soundstorm_runtime.errors import OptionError
from soundstorm_runtime.synthesis.options import mixture


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("anna", []),
        ("anna:0.7,ben:0.3", [(0.7, "anna"), (0.3, "ben")]),
        ("anna(2)+ben(1)", [(2, "anna"), (1, "ben")]),
        ("anna + ben:3", [(1, "anna"), (3, "ben")]),
        ("a.npz:1,b-2", [(1, "a.npz"), (1, "b-2")]),
        ("anna: .5, ben: 2.", [(0.5, "anna"), (2, "ben")]),
        ("anna:0,ben:1", [(1, "ben")]),
        ("anna(2)", [(2, "anna")]),
    ],
)
def test_mixtures_are_written_in_two_ways(name, parts):
    assert mixture(name) == parts


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("anna:0,ben:0", "has no weight above 0"),
        ("anna:0", "has no weight above 0"),
        ("anna:-1,ben", "has 'anna:-1', expected such as"),
        ("anna,,ben", "has '', expected such as"),
        ("anna:1e9,ben", "has 'anna:1e9', expected"),
        ("anna,anna", "names 2 voices, expected 1 to 4 different"),
        ("a+b+c+d+e", "names 5 voices, expected 1 to 4 different"),
    ],
)
def test_mixtures_that_are_none_are_refused(name, message):
    with pytest.raises(OptionError, match=message):
        mixture(name)


def test_the_path_of_a_prompt_may_look_like_a_mixture(make_bundle, tmp_path):
    bundle = make_bundle(voices={"slt": 6})
    file = tmp_path / "a,b+c.npz"
    file.write_bytes((bundle / "prompts" / "slt.npz").read_bytes())
    voice = Voice.load(bundle, threads=1, provider="cpu")
    np.testing.assert_array_equal(voice.speak("Hi.", voice=str(file)), voice.speak("Hi.", voice="slt"))


def test_a_network_without_a_cache_cannot_mix(make_bundle):
    voice = Voice.load(make_bundle(voices={"slt": 6, "rms": 9}), threads=1, provider="cpu")
    with pytest.raises(OptionError, match="cannot be mixed, since its network has no cache of prompts"):
        voice.speak("Good morning.", voice="slt:0.5,rms:0.5")
    with pytest.raises(
        OptionError, match="voice 'bob' was asked for, but the bundle has the voices slt, rms"
    ):
        voice.speak("Good morning.", voice="slt+bob")
    alone = voice.speak("Good morning.", voice="rms:1,slt:0")
    np.testing.assert_array_equal(alone, voice.speak("Good morning.", voice="rms"))
