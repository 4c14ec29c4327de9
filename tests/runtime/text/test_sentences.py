import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soundstorm_runtime.errors import TextError
from soundstorm_runtime.text.sentences import (
    MAX_CHARACTERS,
    PAUSES,
    SENTENCE_CHARACTERS,
    normalise,
    sentences_as_written,
    split_sentences,
)
from soundstorm_runtime.text.ssml import read_ssml

SPELLED = [
    ("He said, well -- okay; go (now).", "he said, well, okay; go now."),
    ("“Don’t,” said the ‘man’…", "don't, said the man."),
    ("the dogs' tails, rock 'n' roll", "the dogs tails, rock n roll"),
    ("naïve café, Łódź, æon", "naive cafe, lodz, aeon"),
    ("In 1984, 1905 and 2004", "in nineteen eighty four, nineteen oh five and two thousand four"),
    ("1,234.5 and 1066", "one thousand two hundred thirty four point five and one thousand sixty six"),
    ("-5, 0.5, .5, 007", "minus five, zero point five, point five, zero zero seven"),
    ("the 1st, 22nd and 103rd", "the first, twenty second and one hundred third"),
    ("1/2, 3/4 and 3½", "one half, three quarters and three and a half"),
    ("the 1990s and '60s", "the nineteen nineties and sixties"),
    ("pages 10-20, 1998–1999", "pages ten to twenty, nineteen ninety eight to nineteen ninety nine"),
    ("call 555-1234", "call five five five, one two three four"),
    ("(555) 123-4567", "five five five, one two three, four five six seven"),
    ("2024-11-22", "november twenty second, twenty twenty four"),
    ("11/22/2024", "november twenty second, twenty twenty four"),
    ("Nov. 22, 2024", "november twenty second, twenty twenty four"),
    ("the 4th of July", "the fourth of july"),
    ("3 Sept. 1999, 1 March", "the third of september nineteen ninety nine, the first of march"),
    ("2 of Mary's and 5 Jane", "two of mary's and five jane"),
    ("3:45 pm or 14:30 or 4:05", "three forty five p m or fourteen thirty or four oh five"),
    ("at 5 a.m. or 6pm", "at five ay m or six p m"),
    ("10:00-11:30, 9am-5pm", "ten to eleven thirty, nine ay m to five p m"),
    ("9.58s or 2.5 s", "nine point five eight seconds or two point five seconds"),
    ("C# and/or C++", "c sharp and or c plus plus"),
    ("$3.50, $1, £5, €7.50", "three dollars fifty cents, one dollar, five pounds, seven euros fifty cents"),
    ("$5 million and $1.5bn", "five million dollars and one point five billion dollars"),
    ("50% of 5 km at 60 mph", "fifty percent of five kilometers at sixty miles per hour"),
    ("1 kg, 20°C", "one kilogram, twenty degrees celsius"),
    ("Dr. Smith of St. John's St.", "doctor smith of saint john's street"),
    ("Mr. and Mrs. Jones, etc.", "mister and missus jones, etcetera"),
    ("e.g. this vs. that", "e g this versus that"),
    ("J. R. R. Tolkien, U.S.A.", "j r r tolkien, u s ay"),
    ("R & D, #5, 3 + 4 = 7", "r and d, number five, three plus four equals seven"),
    ("joe@example.com", "joe at example dot com"),
    ("see https://www.example.com/x.", "see h t t p s colon slash slash w w w dot example dot com slash x."),
    ("Henry VIII and World War II", "henry the eighth and world war two"),
    ("NASA, FBI, CDs", "nasa, f b i, c d's"),
    ("B2B, mp3, x86", "b two b, m p three, x eighty six"),
    ("12345678901234", "one two three four five six seven eight nine zero one two three four"),
    ("in '93, \"5 cents\" < 10", "in ninety three, five cents, less than ten"),
    ("<b>x_1</b> Pentium III", "x one pentium three"),
    ("??? ***", ""),
]  # fmt: skip


@pytest.mark.parametrize(("written", "spelled"), SPELLED)
def test_spells_out(written: str, spelled: str) -> None:
    assert normalise(written) == spelled


@pytest.mark.parametrize(("written", "spelled"), SPELLED)
def test_what_is_spelled_out_stays_as_it_is(written: str, spelled: str) -> None:
    assert normalise(spelled) == spelled


def test_splits_sentences_and_no_abbreviations() -> None:
    text = "Dr. A. B. Smith paid $3.50, e.g. for version 1.2. He left!  Why? “No.” (Yes.)\n\nNo stop\nhere"
    assert split_sentences(text) == [
        "Dr. A. B. Smith paid $3.50, e.g. for version 1.2.",
        "He left!",
        "Why?",
        '"No."',
        "(Yes.)",
        "No stop here",
    ]


def test_a_long_sentence_is_cut_at_its_commas() -> None:
    clause = "some words that make a clause of fair length"
    parts = split_sentences(", ".join([clause] * 9) + ".")
    assert len(parts) == 2
    assert all(part.strip(".,").split(", ") == [clause] * part.count(clause) for part in parts)


@pytest.mark.parametrize(
    "unit",
    [
        "x",
        "w",
        "abc ",
        "1",
        "1 ",
        "a.",
        "$1 ",
        "'",
        "é",
        "A.B@c",
        "1/",
        "½",
        "T½",
        "\N{GRINNING FACE}\N{PARTY POPPER}",
    ],
)
def test_100_000_characters_are_cut_to_size_at_once(unit: str) -> None:
    text = ("a" + unit * 100_000)[:100_000]
    started = time.process_time()
    parts = split_sentences(text)
    assert (
        time.process_time() - started < 5
    )  # at most 1.8 s on a busy machine; what is not linear takes minutes
    assert max(len(part.spelled) for part in parts) <= SENTENCE_CHARACTERS


@pytest.mark.parametrize(
    "token",
    [
        "$1,234.56",
        "+44 20 7946 0958",
        "https://a-b.example/c?d=1",
        "2024-10-01T12:30:00Z",
        "12 µg/m³",
        "AT&T",
    ],
)
@pytest.mark.parametrize("before", range(0, 24, 3))
def test_a_long_sentence_is_never_cut_inside_a_token(token: str, before: int) -> None:
    """Wherever the cut comes to lie, all words of a token are in one sentence, read as they are alone."""
    text = f"{'w' * before} {f'it is {token} ' * 40}"
    spoken = " ".join(word.strip(PAUSES) for word in normalise(token).split())
    parts = split_sentences(text)
    assert len(parts) > 2
    found = [" ".join(word.text for word in part.words).count(spoken) for part in parts]
    assert sum(found) == 40


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "text is empty; give some words to speak"),
        (" \n ", "text is empty"),
        ("?! -- …", r"text '\?! -- …' has no speakable character; give letters or digits"),
        ("日本", "has no speakable character"),
        (
            "a" * (MAX_CHARACTERS + 1),
            "text has 200001 characters, the limit is 200000; speak",
        ),
    ],
)
def test_refuses_what_cannot_be_spoken(text: str, message: str) -> None:
    with pytest.raises(TextError, match=message):
        split_sentences(text)


@settings(deadline=None)  # the first number loads a library
@given(st.text())
def test_any_text_becomes_words_and_pauses(text: str) -> None:
    for word in normalise(text).split():
        stem = word[:-1] if word[-1] in PAUSES else word
        assert stem.replace("'", "").isalpha()
        assert stem.isascii()
        assert stem == stem.lower()


@settings(deadline=None)  # the first number loads a library
@given(st.text(alphabet="aZ019 .,:/-$%'()@°\n", max_size=60))
def test_sentences_keep_all_that_is_spoken(text: str) -> None:
    try:
        parts = split_sentences(text)
    except TextError:
        assert not any(c.isalnum() for c in text)
    else:
        kept = "".join(c for c in "".join(parts) if c.isalnum())
        assert kept == "".join(c for c in text if c.isalnum())


@pytest.mark.parametrize("split", [split_sentences, sentences_as_written])
@pytest.mark.parametrize("blank", ["\n\n", "\r\n\r\n", "\n \t\n\n"])
def test_a_blank_line_ends_a_paragraph(split, blank):
    found = split(f"Dr. Who is one. Two, {'and more, ' * 60}three.\nFour.{blank}five. Six.{blank}")
    ends = [str(sentence)[-5:] for sentence in found if sentence.ends_paragraph]
    assert ends == ["Four.", "Six."]


@pytest.mark.parametrize("space", ["", "\n  ", "\n\n"])
def test_p_of_ssml_ends_a_paragraph(space):
    tags = (
        "<speak>",
        "<p>",
        "Café one. Two.",
        "</p>",
        "<p>",
        "<s>Three.</s>",
        "<s>Four.</s>",
        "</p>",
        "Five",
    )
    found = split_sentences(read_ssml(space.join(tags) + "</speak>"))
    assert found == ["Cafe one.", "Two.", "Three.", "Four.", "Five"]
    assert [str(sentence) for sentence in found if sentence.ends_paragraph] == ["Two.", "Four."]
