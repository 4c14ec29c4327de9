"""Characters of any script: what they are read as, and which are reported as left out."""

from __future__ import annotations

import pytest

from soundstorm_runtime.errors import TextError
from soundstorm_runtime.text.normalisation.cleaning import clean
from soundstorm_runtime.text.normalisation.source_text import SourceText
from soundstorm_runtime.text.sentences import normalise, refuse_dropped, split_sentences


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        (
            "exam\u00adple pronun\u00adciation na\u200cme word\u2060joiner",
            "example pronunciation name wordjoiner",
        ),
        ("\ufeffHello\u200b there", "hello there"),
        ("don´t can`t won’t", "don't can't won't"),
        ("Hello 世界 and ٣٤ apples.", "hello and thirty four apples."),
        ("２０２４ and ①", "twenty twenty four and one"),
        ("nice 👍 work 🎉🎉🎉", "nice thumbs up work party popper"),
        ("🇺🇸 team, 🇩🇪🇺🇸", "u s team, d e u s"),
        ("①② and ⌘C", "one two and command c"),
        ("ﬁne cafe\u0301", "fine cafe"),
        ("Αα", "alpha alpha"),
        (
            "αβγ, ΦΒΚ, αβγδ, Δx, β-test",
            "alpha beta gamma, phi beta kappa, alpha beta gamma delta, delta x, beta test",
        ),
        ("Καλημέρα, τι κάνει ο Γιώργος;", "kalimera, ti kani o yiorgos;"),
        ("the word λόγος, ΑΘΗΝΑ, Μάιος, αϊ", "the word logos, athina, maios, ai"),
        ("Ευρώπη ευχαριστώ αυγό αυτό", "evropi efharisto avgo afto"),
        ("μπορώ, άγγελος, πέντε, γκολ", "boro, angelos, pende, gol"),
        ("γνῶθι σεαυτόν", "gnothi seafton"),
        ("γνω\u0342θι σεαυτο\u0301ν", "gnothi seafton"),
        ("full-width ｙｅｓ！", "full width yes!"),
        ("Tom &amp; Jerry &lt;3", "tom and jerry less than three"),
    ],
)
def test_reads_characters(written: str, spoken: str) -> None:
    assert normalise(written) == spoken


def test_greek_words_keep_their_places() -> None:
    text = "The λόγος is καλημέρα κόσμε."
    (sentence,) = split_sentences(text)
    assert [text[word.start : word.end] for word in sentence.words] == "The λόγος is καλημέρα κόσμε".split()


def test_what_is_left_out_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    assert [s.spelled for s in split_sentences("Hello 世界. 世界 Again.")] == ["hello.", "again."]
    assert [record.getMessage() for record in caplog.records] == [
        "text has characters that are not spoken: 世 界"
    ]


def test_what_is_left_out_can_be_refused() -> None:
    with pytest.raises(TextError, match="text has characters that cannot be spoken: Я; leave them out"):
        split_sentences("Hello Я", on_dropped=refuse_dropped)


def test_nothing_is_reported_that_is_silent_or_spoken() -> None:
    assert clean(SourceText("“Quotes” — dashes… ½ × 3 ≠ π, naïve 😀 é ™ £5\u200b"))[1] == ""
