"""One set of options for everything that speaks: as an object, as keywords, or both."""

from __future__ import annotations

import asyncio
from dataclasses import fields
from typing import get_type_hints

import numpy as np
import pytest

from soundstorm_runtime import DecodeOptions, SynthesisOptions, Voice
from soundstorm_runtime.errors import OptionError
from soundstorm_runtime.synthesis.options import BatchKeywords, Keywords, merge, merge_each

TEXT = "Good morning. This is a second sentence."


@pytest.fixture
def voice(make_bundle):
    return Voice.load(make_bundle(voices={"slt": 6, "rms": 9}), threads=1, provider="cpu")


async def _collected(chunks):
    return [chunk async for chunk in chunks]


def ways(voice):
    """Every method that speaks a text, as a function of the options that returns all of the audio."""
    return {
        "speak": lambda *options, **keywords: voice.speak(TEXT, *options, **keywords),
        "speak_sentences": lambda *options, **keywords: np.concatenate(
            list(voice.speak_sentences(TEXT, *options, **keywords))
        ),
        "speak_many": lambda *options, **keywords: voice.speak_many([TEXT], *options, **keywords)[0],
        "stream": lambda *options, **keywords: np.concatenate(list(voice.stream(TEXT, *options, **keywords))),
        "astream": lambda *options, **keywords: np.concatenate(
            asyncio.run(_collected(voice.astream(TEXT, *options, **keywords)))
        ),
    }


@pytest.mark.parametrize("way", ["speak", "speak_sentences", "speak_many", "stream", "astream"])
@pytest.mark.parametrize(
    "chosen",
    [
        {"voice": "rms", "seed": 3},
        {"speed": 0.8, "pause": 0.4},
        {"mark_pauses": {".": 0.7}, "volume": 0.5},
        {"steps": (2, 1, 1), "temperature": 0.5},
        {"decode": DecodeOptions((1, 1, 0), noise=0.5)},
    ],
    ids=str,
)
def test_an_object_and_keywords_are_the_same_everywhere(voice, way, chosen):
    speak = ways(voice)[way]
    expected = speak(**chosen)
    np.testing.assert_array_equal(speak(SynthesisOptions(**chosen)), expected)
    other = SynthesisOptions(**{**chosen, "seed": 8})
    np.testing.assert_array_equal(speak(other, seed=chosen.get("seed", 0)), expected)
    usual = speak()
    assert len(usual) != len(expected) or (usual != expected).any()


@pytest.mark.parametrize("way", ["speak", "speak_sentences", "speak_many", "stream", "astream"])
def test_decode_options_alone_are_options(voice, way):
    speak, decode = ways(voice)[way], DecodeOptions((1, 1, 0))
    np.testing.assert_array_equal(speak(options=decode), speak(decode=decode))


def test_keywords_are_the_fields_of_the_options():
    """A TypedDict cannot be made of a dataclass: the table of keywords is held to it here."""
    expected = get_type_hints(SynthesisOptions)
    assert get_type_hints(Keywords) == expected
    assert get_type_hints(BatchKeywords).keys() == expected.keys()
    assert [field.name for field in fields(SynthesisOptions)] == list(expected)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"sped": 2}, "'sped' is not an option of speech; did you mean 'speed'?"),
        ({"colour": 2}, "'colour' is not an option of speech; valid options: voice, seed, speed"),
    ],
)
def test_unknown_keywords_are_named(voice, keywords, message):
    for speak in ways(voice).values():
        with pytest.raises(TypeError, match=message.replace("?", r"\?")):
            speak(**keywords)


def test_options_of_another_type_are_refused(voice):
    with pytest.raises(TypeError, match="options are of type dict, expected SynthesisOptions"):
        voice.speak(TEXT, {"speed": 2})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"seed": -1}, "seed is -1, expected a whole number of 0 or more"),
        ({"seed": True}, "seed is True"),
        ({"speed": 5}, r"speed is 5, expected 0\.25 to 4"),
        ({"pause": -0.1}, r"pause is -0\.1 s, expected 0 to 60"),
        ({"paragraph_pause": 61}, "paragraph_pause is 61 s, expected 0 to 60"),
        ({"pause": float("nan")}, "pause is nan s"),
        (
            {"mark_pauses": {"-": 1}},
            "mark_pauses has 1 s for '-', expected 0 to 60 for one of",
        ),
        ({"mark_pauses": {",": -1}}, "mark_pauses has -1 s for ','"),
        ({"volume": 5}, "volume is 5, expected 0 to 4"),
        ({"budget_ms": 0}, "the budget is 0 ms, expected a number above 0"),
        ({"budget_ms": float("inf")}, "the budget is inf ms"),
        ({"speed": 2, "duration": 3}, "duration and speed were both given"),
    ],
)
def test_values_out_of_range_are_refused_when_the_options_are_made(values, message):
    with pytest.raises(OptionError, match=message):
        SynthesisOptions(**values)


def test_options_are_frozen_and_can_be_keys():
    options = SynthesisOptions(steps=[2, 1, 1], mark_pauses={",": 0.3})
    assert options.steps == (2, 1, 1)
    assert {options: 1}[SynthesisOptions(steps=(2, 1, 1), mark_pauses={",": 0.3})] == 1
    with pytest.raises(AttributeError):
        options.seed = 3  # type: ignore[misc]


def test_what_a_way_of_speaking_cannot_do_is_refused(voice):
    with pytest.raises(OptionError, match="a stream starts before its length is known"):
        voice.stream(TEXT, duration=3)
    with pytest.raises(OptionError, match="speak_many returns all texts at once and takes no budget_ms"):
        voice.speak_many([TEXT], budget_ms=300)
    for option in ({"speed": 2}, {"duration": 3}, {"budget_ms": 300}):
        with pytest.raises(OptionError, match="semantic tokens take no speed, duration or budget_ms"):
            voice.speak_tokens(np.arange(5), **option)


def test_each_text_of_a_batch_may_have_options_of_its_own(voice):
    texts = ["Yes.", "This is a longer text.", "No."]
    each = [
        SynthesisOptions(steps=(1, 1, 1), duration=1.5),
        SynthesisOptions(voice="rms", seed=2),
        SynthesisOptions(pause=1, temperature=0.5),
    ]
    for text, own, found in zip(texts, each, voice.speak_many(texts, each), strict=True):
        np.testing.assert_allclose(found, voice.speak(text, own), atol=1e-5)
    with pytest.raises(OptionError, match="options has 1 values for 3 texts"):
        voice.speak_many(texts, each[:1])


def test_merging_does_not_change_what_is_merged():
    options, keywords = SynthesisOptions(seed=4), {"voice": ["a", None]}
    assert [own.voice for own in merge_each(options, keywords, 2)] == ["a", None]
    assert keywords == {"voice": ["a", None]}
    assert merge(options, {"speed": 2}) == SynthesisOptions(seed=4, speed=2)
    assert options == SynthesisOptions(seed=4)
