"""Instructions inside a text."""

from __future__ import annotations

import pytest

from soundstorm_edge.data.shipped_lexicon import shipped_lexicon
from soundstorm_runtime.errors import TextError
from soundstorm_runtime.text.sentences import split_sentences


def test_a_pause_ends_a_sentence_and_asks_for_silence() -> None:
    found = split_sentences("[pause] One [pause 0.5s] two. [pause 200 ms][pause 300ms] Three, four [pause]")
    assert [(sentence.spelled, sentence.silence) for sentence in found] == [
        ("one", 0.5),
        ("two.", 0.5),
        ("three, four", 0.5),
    ]


def test_letters_are_spelled() -> None:
    assert [s.spelled for s in split_sentences("Say [spell NASA 2], please.")] == [
        "say n ay s ay two, please."
    ]


@pytest.mark.parametrize(("lexicon", "phones"), [("flite", "hh ax l ow"), ("cmu", "hh ah0 l ow1")])
def test_phones_are_those_of_the_voice(lexicon: str, phones: str) -> None:
    own = shipped_lexicon(lexicon)
    text = f"Say [[{phones.upper()}]]!"
    (sentence,) = own.sentences(text)
    word = sentence.words[1]
    assert (word.phones, text[word.start : word.end], word.pause) == (phones, f"[[{phones.upper()}]]", "!")
    assert phones in " ".join(own.phones(text))
    with pytest.raises(TextError, match=r"text has the phone 'qx' in \[\[hh qx\]\], expected some of: "):
        own.sentences("Say [[hh qx]]")


def test_a_sentence_with_phones_may_end_a_paragraph() -> None:
    first, _ = shipped_lexicon("flite").sentences("Say [[hh ax l ow]].\n\nTwo.")
    assert first.ends_paragraph


@pytest.mark.parametrize("text", ["See [[Wikipedia page]] here", "a [note] here", "[pause now] and go"])
def test_other_brackets_are_text(text: str) -> None:
    (sentence,) = split_sentences(text)
    assert sentence.silence is None
    assert all(word.phones is None for word in sentence.words)


def test_a_pause_has_a_limit() -> None:
    with pytest.raises(TextError, match="pause is 61 s, expected 0 to 60"):
        split_sentences("One [pause 61s] two")


def test_private_use_characters_of_a_text_are_no_instructions(caplog: pytest.LogCaptureFixture) -> None:
    assert [s.spelled for s in split_sentences("one \ue000 two [pause] three")] == ["one two", "three"]
    assert "not spoken" in caplog.text
