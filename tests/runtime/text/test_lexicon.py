import gzip
import itertools
import string
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soundstorm_runtime.errors import BundleError, TextError
from soundstorm_runtime.text.flite_lexicon import FliteLexicon
from soundstorm_runtime.text.letter_to_sound import LETTERS, SILENT, LetterToSound, windows
from soundstorm_runtime.text.lexicon import Lexicon
from soundstorm_runtime.text.lexicon_file import load_lexicon

SOUNDS = {letter: letter for letter in "bdfghjklmnprstvwyz"}
SOUNDS |= {
    "a": "ae",
    "c": "k",
    "e": "eh",
    "h": "hh",
    "i": "ih",
    "j": "jh",
    "o": "aa",
    "q": "k",
    "u": "ah",
    "x": "k-s",
}
SOUNDS = dict(sorted(SOUNDS.items()))
RULES = {**SOUNDS, "e": "4# _ eh", "c": "4h ch k", "h": "3c _ 3t _ hh", "t": "4h th t"}
LETTER_NAMES = {letter: f"{sound.replace('-', ' ')} iy" for letter, sound in SOUNDS.items()}
WORDS = {**LETTER_NAMES, "a": "ey", "the": "dh ax", "to": "t ax", "use": "y uw s", "w": "d ah b ax l y uw"}


@pytest.fixture(scope="module")
def lexicon() -> Lexicon:
    ends = ["", *string.ascii_lowercase, "st", "th", "ch", "ck", "nt"]
    return FliteLexicon(WORDS, {"use": "y uw z"}, LetterToSound(RULES), onsets=ends, codas=ends)


def test_windows_show_four_letters_to_each_side() -> None:
    assert windows("ab") == ["000#b#00", "00#a#000"]


@pytest.mark.parametrize(
    ("word", "phones"),
    [
        ("use", "y uw s"),
        ("Bat", "b ae t"),
        ("bathe", "b ae th"),
        ("don't", "d aa n t"),
        ("cat's", "k ae t s"),
        ("dog's", "d aa g z"),
        ("bus's", "b ah s ax z"),
        ("dog'll", "d aa g ax l"),
        ("bin'd", "b ih n ax d"),
        ("hi've", "hh ih v"),
        ("bbc", "b iy b iy k iy"),
        ("stbat", "s iy t iy b iy ey t iy"),
    ],
)
def test_pronounces_a_word(lexicon: Lexicon, word: str, phones: str) -> None:
    assert " ".join(lexicon.pronounce(word)) == phones


def test_a_word_that_the_rules_leave_silent_is_spelled() -> None:
    silent = dict.fromkeys(LETTERS, SILENT)
    lexicon = FliteLexicon({"a": "ey", "b": "b iy"}, {}, LetterToSound(silent), onsets={"b"}, codas={"b"})
    assert lexicon.pronounce("bab's") == tuple("b iy ey b iy z".split())
    assert " ".join(lexicon.phones("A bab.")) == "pau ax b iy ey b iy pau"


def test_a_verb_may_sound_otherwise(lexicon: Lexicon) -> None:
    assert lexicon.pronounce("use", verb=True) == ("y", "uw", "z")


@pytest.mark.parametrize(
    ("sentence", "phones"),
    [
        ("He said, bad -- hit; big (now).", "pau hh s ae ih d pau b ae d pau hh ih t pau b ih g n aa w pau"),
        ("the bat", "pau dh ax b ae t pau"),
        ("the ant", "pau dh iy ae n t pau"),
        ("the, ant", "pau dh ax pau ae n t pau"),
        ("a bat", "pau ax b ae t pau"),
        ("bat a.", "pau b ae t ey pau"),
        ("to use", "pau t ax y uw z pau"),
        ("the use of it", "pau dh ax y uw s aa f ih t pau"),
        ("I use the bat", "pau ih iy y uw z dh ax b ae t pau"),
        ("to read", "pau t ax r iy d pau"),
        ("I read", "pau ih iy r eh d pau"),
    ],
)
def test_speaks_a_sentence_as_flite_does(lexicon: Lexicon, sentence: str, phones: str) -> None:
    assert " ".join(lexicon.phones(sentence)) == phones


def test_symbols_are_every_phone_sorted(lexicon: Lexicon) -> None:
    assert lexicon.symbols == tuple(sorted(lexicon.symbols))
    assert {"pau", "ch", "ax", "y", "iy"} <= set(lexicon.symbols)


@settings(deadline=None)  # the first number loads a library
@given(text=st.text())
def test_any_text_gives_known_phones_or_an_error(lexicon: Lexicon, text: str) -> None:
    try:
        phones = lexicon.phones(text)
    except TextError as error:
        assert "text is empty" in str(error) or "has no speakable character" in str(error)  # noqa: PT017
    else:
        assert set(phones) <= set(lexicon.symbols)
        assert phones[0] == phones[-1] == "pau"
        assert ("pau", "pau") not in itertools.pairwise(phones)


def test_a_word_needs_a_letter(lexicon: Lexicon) -> None:
    with pytest.raises(TextError, match="word '42' has no letter; give a word of the letters a to z"):
        lexicon.pronounce("42")


def test_saves_and_loads(lexicon: Lexicon, tmp_path: Path) -> None:
    first, second = tmp_path / "first.gz", tmp_path / "second.gz"
    lexicon.save(first)
    loaded = load_lexicon(first)
    loaded.save(second)
    assert first.read_bytes() == second.read_bytes()
    assert (loaded.words, loaded.verbs, loaded.rules.rules) == (
        lexicon.words,
        lexicon.verbs,
        lexicon.rules.rules,
    )
    assert (loaded.onsets, loaded.codas) == (lexicon.onsets, lexicon.codas)
    assert loaded.symbols == lexicon.symbols


@pytest.mark.parametrize(
    ("given", "becomes", "message"),
    [
        ("lexicon 1", "lexicon 3", "begins with 'soundstorm-lexicon 3', expected 'soundstorm-lexicon 1' or"),
        ("use\ty uw s\ty uw z\n", "", "29 words expected, 28 found"),
        ("use\ty uw s", "use\ty,uw", "line 'use.ty,uw.*' is not 'word<tab>phones"),
        ("use\ty uw s", "usE\ty", "line 'usE"),
        ("\nq\tk iy", "\nqq\tk iy", "how each of the letters a to z is spoken"),
        ("c\t4h ch k", "c\t4h ch", "letter-to-sound tree ends before its last answer"),
        ("c\t4h ch k", "c\t4h", "letter-to-sound tree ends before its last answer"),
        ("c\t4h ch k", "c\t9h ch k", "letter-to-sound question '9h' is malformed"),
        ("c\t4h ch k", "c\t", "letter-to-sound tree ends before"),
        (
            "\nthe\tdh ax\nto\tt ax\n",
            "\nto\tt ax\nthe\tdh ax\n",
            r"line 'the.*' is not in alphabetical order",
        ),
        ("c\t4h ch k", "c\tch k", "letter-to-sound tree goes on with 'k' after its last answer"),
        ("c\t4h ch k", "d\t4h ch k", "first lines are not onsets, codas, 26 rules"),
    ],
)
def test_refuses_an_edited_file(
    lexicon: Lexicon, tmp_path: Path, given: str, becomes: str, message: str
) -> None:
    path = tmp_path / "lexicon.gz"
    lexicon.save(path)
    text = gzip.decompress(path.read_bytes()).decode()
    assert given in text
    path.write_bytes(gzip.compress(text.replace(given, becomes, 1).encode()))
    with pytest.raises(BundleError, match=message):
        load_lexicon(path)


def test_refuses_a_missing_or_truncated_file(lexicon: Lexicon, tmp_path: Path) -> None:
    path = tmp_path / "lexicon.gz"
    with pytest.raises(BundleError, match=r"cannot read lexicon .*lexicon\.gz .*; export the bundle again"):
        load_lexicon(path)
    lexicon.save(path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(BundleError, match="cannot read lexicon"):
        load_lexicon(path)
