"""The subset of SSML: what it comes to, and what is refused, with its place."""

from __future__ import annotations

import re

import pytest

from soundstorm_runtime.errors import TextError
from soundstorm_runtime.text.sentences import MAX_CHARACTERS, split_sentences
from soundstorm_runtime.text.ssml import read_ssml
from soundstorm_runtime.text.words import Mark, Sentence, Style


def sentences(inner: str, *, strict: bool = True) -> list[Sentence]:
    document = f'<speak version="1.1" xmlns="http://www.w3.org/2001/10/synthesis">{inner}</speak>'
    return split_sentences(read_ssml(document, strict=strict))


@pytest.mark.parametrize(
    ("inner", "spoken"),
    [
        ("Hello &amp; good day.", ["hello and good day."]),
        ("<p>One</p><p><s>Two</s><s>three</s></p>", ["one", "two", "three"]),
        ('<say-as interpret-as="characters">AB1</say-as>', ["ay b one"]),
        ('the <say-as interpret-as="ordinal">22</say-as> time', ["the twenty second time"]),
        (
            'on <say-as interpret-as="date">2024-11-22</say-as>',
            ["on november twenty second, twenty twenty four"],
        ),
        ('the <sub alias="World Wide Web">WWW</sub>!', ["the world wide web!"]),
        ('<emphasis level="strong">really</emphasis> <mark name="a"/>good', ["really good"]),
    ],
)
def test_reads_elements(inner: str, spoken: list[str]) -> None:
    assert [sentence.spelled for sentence in sentences(inner)] == spoken


def test_marks_stand_at_the_word_behind_them_and_change_nothing() -> None:
    inner = (
        '<mark name="a"/>Tea costs <mark name="b"/>$<mark name="c"/>100, <mark name="d"/><mark name="e"/>'
        '<prosody rate="slow">twice</prosody>. <break time="1s"/><mark name="f"/>Yes.<mark name="g"/>'
    )
    found = sentences(inner)
    assert [s.spelled for s in found] == [s.spelled for s in sentences(re.sub("<mark[^>]*>", "", inner))]
    marks = [(word.text, mark) for s in found for word in s.words for mark in word.marks]
    assert marks == [
        ("tea", Mark("a")), ("one", Mark("b")), ("twice", Mark("c")), ("twice", Mark("d")),
        ("twice", Mark("e")), ("yes", Mark("f")), ("yes", Mark("g", behind=True)),
    ]  # fmt: skip


def test_a_mark_has_a_name() -> None:
    with pytest.raises(TextError, match="<mark> lacks the attribute 'name'"):
        sentences("<mark/>Yes.")


def test_breaks_are_silence_after_a_sentence() -> None:
    found = sentences('One <break time="250ms"/> two <break strength="strong"/> three<break time="1s"/>')
    assert [(s.spelled, s.silence) for s in found] == [("one", 0.25), ("two", 0.7), ("three", 1.0)]


def test_styles_nest_and_end() -> None:
    found = sentences(
        'a <prosody rate="slow">b <prosody volume="-6dB" rate="150%">c</prosody> d</prosody> '
        '<voice name="slt">e</voice> f'
    )
    assert [s.style.speed for s in found] == [1, 0.8, pytest.approx(1.2), 0.8, 1, 1]
    assert [round(s.style.volume, 2) for s in found] == [1, 1, 0.5, 1, 1, 1]
    assert [s.style.voice for s in found] == [None, None, None, None, "slt", None]
    assert found[0].style == Style()


def test_words_have_their_places_in_the_document() -> None:
    document = (
        '<speak>é costs $5, <sub alias="et cetera">etc</sub> <phoneme ph="hh ax l ow">hi</phoneme></speak>'
    )
    words = [word for sentence in split_sentences(read_ssml(document)) for word in sentence.words]
    assert [document[w.start : w.end] for w in words] == ["é", "costs", "$5", "$5", "etc", "etc", "hi"]
    assert words[-1].phones == "hh ax l ow"


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (
            "<speak>a\n <b>c</b></speak>",
            "SSML line 2, column 2: <b> is not supported, expected one of speak, p,",
        ),
        ("<speak>a", "SSML line 1, column 9: no element found"),
        ("<speak>a</speek>", "SSML line 1, column 11: mismatched tag"),
        ("<p>a</p>", "line 1, column 1: the root is <p>, expected <speak>"),
        ("<!DOCTYPE x [<!ENTITY a 'b'>]><speak>&a;</speak>", "document types and entities are refused"),
        (f"<speak>{'<p>' * 40}x{'</p>' * 40}</speak>", "elements are nested more than 32 deep"),
        (
            '<speak><break time="5"/></speak>',
            "column 8: the time of <break> is '5', expected such as '500ms'",
        ),
        ('<speak><break time="99s"/></speak>', "pause is 99 s, expected 0 to 60"),
        ('<speak><prosody rate="900%">x</prosody></speak>', "the rate comes to 9, expected 0.5 to 2"),
        (
            '<speak><prosody pitch="high">x</prosody></speak>',
            "has the attribute 'pitch', expected rate, volume",
        ),
        ('<speak><phoneme alphabet="ipa" ph="ə">x</phoneme></speak>', "expected phones of the voice"),
        ("<speak><sub>x</sub></speak>", "<sub> lacks the attribute 'alias'"),
        (
            '<speak><say-as interpret-as="x">x</say-as></speak>',
            "interpret-as is 'x', expected one of characters",
        ),
        ("x" * (MAX_CHARACTERS + 1), "SSML has 200001 characters, the limit is 200000"),
    ],
)
def test_refuses_what_is_wrong_or_dangerous(document: str, message: str) -> None:
    with pytest.raises(TextError) as error:
        read_ssml(document)
    assert message in str(error.value)


def test_what_is_unknown_can_be_ignored() -> None:
    assert [s.spelled for s in sentences('a <b c="d">bold</b> word', strict=False)] == ["a bold word"]
