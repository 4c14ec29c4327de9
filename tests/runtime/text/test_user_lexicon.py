"""A user's own pronunciations: what they change in a sentence, and what is wrong with a bad file."""

from __future__ import annotations

import pytest

from soundstorm_runtime import Voice
from soundstorm_runtime.bundle.reader import read_bundle
from soundstorm_runtime.errors import OptionError

SYMBOLS = "aa ae ah ao aw ax ay"  # the first that a message lists


@pytest.fixture
def bundle(make_bundle):
    return read_bundle(make_bundle())


def spell(bundle, words, text):
    """Give the phones of a text of one sentence; in the tiny lexicon each letter has one of its own."""
    spelling = bundle.spelling(words)
    (sentence,) = spelling.sentences(text)
    return " ".join(unit.text for unit in spelling.units(sentence))


def write(tmp_path, text):
    file = tmp_path / "words.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_word_has_the_phones_between_slashes(bundle):
    assert spell(bundle, None, "a cab.") == "pau ax k ae b pau"
    assert spell(bundle, {"cab": "/T ae0 K s iy1/"}, "a cab.") == "pau ax t ae k s iy pau"


def test_a_word_is_respelled(bundle):
    assert spell(bundle, {"cab": "taxi"}, "a cab.") == spell(bundle, None, "a taxi.")
    assert spell(bundle, {"NATO": "nay toe"}, "NATO met.") == spell(bundle, None, "nay toe met.")


def test_words_that_are_read_otherwise_before_the_lexicon_is_asked(bundle):
    words = {
        "SQL": "/s iy/",
        "k8s": "/k ey/",
        "C++": "/s/",
        "New York": "/n y/",
        "naïve": "/n/",
        "3.5": "/th/",
    }
    assert spell(bundle, words, "SQL k8s C++ New York naïve 3.5") == "pau s iy k ey s n y n th pau"


def test_case_counts_where_a_word_has_a_capital(bundle):
    words = {"polish": "/p/", "Reading": "/r/"}
    assert spell(bundle, words, "Polish polish Reading ad.") == "pau p p r ae d pau"
    assert "r eh ae d" in spell(bundle, words, "reading")


def test_a_word_within_a_word_is_left_and_endings_stay(bundle):
    assert spell(bundle, {"cab": "/t iy/"}, "cabs") == spell(bundle, None, "cabs")
    assert spell(bundle, {"cab": "/t iy/"}, "the cab's cab.") == "pau dh ax t iy z t iy pau".replace(
        "dh ax", spell(bundle, None, "the b").removesuffix(" b pau").removeprefix("pau ")
    )


def test_the_longest_word_counts(bundle):
    assert spell(bundle, {"New": "/n/", "New York": "/y/"}, "New York New") == "pau y n pau"


def test_a_file_says_the_same(tmp_path, bundle):
    file = write(tmp_path, '# mine\ncab = "/t iy/"\n"C++" = "cee"\n')
    assert spell(bundle, file, "a cab. ") == spell(bundle, {"cab": "/t iy/"}, "a cab. ")
    assert spell(bundle, str(write(tmp_path, "")), "a cab.") == spell(bundle, None, "a cab.")


def test_it_is_heard(make_bundle, tmp_path):
    folder, file = make_bundle(), write(tmp_path, 'cab = "/t iy s iy/"\n')
    plain, own = (Voice.load(folder, provider="cpu", lexicon=lexicon) for lexicon in (None, file))
    assert len(plain.speak("A cab.")) != len(own.speak("A cab."))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'a = "b"\n\ncab = "/t q/"\n',
            rf"words\.toml:3: 'cab' has the phone 'q', expected some of: {SYMBOLS}",
        ),
        (
            "cab = 5\n",
            r'words\.toml:1: \'cab\' is 5, expected phones such as "/eh n jh ih n/" or a respelling',
        ),
        ('"U.S" = "you ess"\nU.K = "you kay"\n', r"words\.toml:2: 'U' is \{.*\}, .*dots goes into quotes"),
        ('x = "a"\n[cab]\ny = "b"\n', r"words\.toml:2: 'cab' is \{'y': 'b'\}, expected phones"),
        ('cab = "//"\n', r"words\.toml:1: 'cab' is '//', expected phones"),
        (
            'cab = "?!"\n',
            r"words\.toml:1: 'cab' is respelled '\?!', but text '\?!' has no speakable character",
        ),
        ('"..." = "dots"\n', r"words\.toml:1: '\.\.\.' has no letter or digit that is read; write it as in"),
        (
            'a = "b"\ncab =\n',
            r"words\.toml is not TOML: .*line 2.*; expected lines such as nginx = 'engine ex'",
        ),
        ('cab = "a"\ncab = "b"\n', r"words\.toml is not TOML: .*line 2"),
    ],
)
def test_a_bad_line_is_named(tmp_path, bundle, text, message):
    with pytest.raises(OptionError, match=message) as caught:
        bundle.spelling(write(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path, bundle):
    with pytest.raises(OptionError, match=r"cannot read lexicon .*none\.toml \(No such file or directory\)"):
        bundle.spelling(tmp_path / "none.toml")
    (tmp_path / "odd.toml").write_bytes(b'a = "\xff"')
    with pytest.raises(OptionError, match=r"odd\.toml is not UTF-8 text \(invalid start byte at byte 5\)"):
        bundle.spelling(tmp_path / "odd.toml")
