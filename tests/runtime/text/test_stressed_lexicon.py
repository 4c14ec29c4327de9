"""The lexicon with stress: words, sentences, acronyms, homographs, its file."""

from pathlib import Path

import pytest

from soundstorm_edge.data.shipped_lexicon import shipped_lexicon
from soundstorm_runtime.errors import BundleError, TextError
from soundstorm_runtime.text.flite_lexicon import FliteLexicon
from soundstorm_runtime.text.lexicon_file import load_lexicon
from soundstorm_runtime.text.sentences import split_sentences
from soundstorm_runtime.text.spelling import Phones
from soundstorm_runtime.text.stressed_lexicon import StressedLexicon, with_one_stress


@pytest.fixture(scope="module")
def lexicon() -> StressedLexicon:
    found = shipped_lexicon("cmu")
    assert isinstance(found, StressedLexicon)
    return found


@pytest.mark.parametrize(
    ("word", "phones"),
    [
        ("banana", "b ah0 n ae1 n ah0"),
        ("Photograph", "f ow1 t ah0 g r ae2 f"),
        ("photography", "f ah0 t aa1 g r ah0 f iy0"),
        ("buses", "b ah1 s ih0 z"),
        ("boss's", "b ao1 s ih0 z"),
        ("cat's", "k ae1 t s"),
        ("don't", "d ow1 n t"),
    ],
)
def test_pronounces_a_word(lexicon: StressedLexicon, word: str, phones: str) -> None:
    assert " ".join(lexicon.pronounce(word)) == phones


@pytest.mark.parametrize(
    ("sentence", "phones"),
    [
        ("Go.", "pau g ow1 pau."),
        ("Go", "pau g ow1 pau."),
        ("Go!", "pau g ow1 pau!"),
        ("Go, or stay?", "pau g ow1 pau ao0 r s t ey1 pau?"),
        ("The end.", "pau dh iy0 eh1 n d pau."),
        ("The dog.", "pau dh ah0 d ao1 g pau."),
        ("A dog.", "pau ah0 d ao1 g pau."),
        ("What is it for?", "pau w ah2 t ih0 z ih0 t f ao1 r pau?"),
    ],
)
def test_speaks_a_sentence(lexicon: StressedLexicon, sentence: str, phones: str) -> None:
    assert " ".join(lexicon.phones(sentence)) == phones


@pytest.mark.parametrize(
    ("sentence", "noun", "word"),
    [
        ("They record the record.", (False, True), "record"),
        ("I use it; the use of it.", (False, True), "use"),
        ("She objects to objects.", (False, True), "objects"),
        ("He lives nine lives.", (False, True), "lives"),
    ],
)
def test_nouns_and_verbs_differ(
    lexicon: StressedLexicon, sentence: str, noun: tuple[bool, ...], word: str
) -> None:
    as_noun, as_verb = lexicon.pronounce(word), lexicon.pronounce(word, verb=True)
    assert as_noun != as_verb
    words = [word for part in split_sentences(sentence) for word in part.words]
    heard = [phones for phones, _ in lexicon.spoken(words) if phones in (as_noun, as_verb)]
    assert heard == [as_noun if is_noun else as_verb for is_noun in noun]


@pytest.mark.parametrize(
    ("sentence", "letters"),
    [
        ("the CEO left", 3),
        ("ask the FBI", 3),
        ("in the US now", 2),
        ("a GPU hums", 3),
        ("the XQZT file", 4),
    ],
)
def test_acronyms_are_spelled(lexicon: StressedLexicon, sentence: str, letters: int) -> None:
    acronym = next(word for word in sentence.split() if word.isupper() and len(word) > 1)
    assert len(acronym) == letters
    spelled = [phone for letter in acronym for phone in lexicon.pronounce(letter if letter != "A" else "ay")]
    strip = [phone.rstrip("012") for phone in lexicon.phones(sentence)]
    wanted = [phone.rstrip("012") for phone in spelled]
    assert any(strip[i : i + len(wanted)] == wanted for i in range(len(strip)))


@pytest.mark.parametrize(
    "sentence", ["NASA flew.", "It HURTS a lot.", "STOP THAT BUS NOW!", "He was in ROME."]
)
def test_words_in_capitals_are_words(lexicon: StressedLexicon, sentence: str) -> None:
    assert lexicon.phones(sentence) == lexicon.phones(sentence.lower())


def test_long_words_are_never_spelled(lexicon: StressedLexicon) -> None:
    assert lexicon.pronounce("tsvetkov")[:2] == ("t", "s")
    assert lexicon.pronounce("hghgh") == lexicon.by_letter("hghgh")


def test_every_phone_is_a_symbol(lexicon: StressedLexicon) -> None:
    known = set(lexicon.symbols)
    for phones in (*lexicon.words.values(), *lexicon.verbs.values()):
        assert known.issuperset(phones.split())
    assert known >= lexicon.rules.symbols()


def test_nothing_to_say(lexicon: StressedLexicon) -> None:
    with pytest.raises(TextError, match="no speakable character"):
        lexicon.phones("...")


def test_one_stress_stays() -> None:
    assert with_one_stress(("b", "ah1", "t", "ah1")) == ("b", "ah1", "t", "ah2")
    assert with_one_stress(("b", "ah0", "t", "ow0")) == ("b", "ah0", "t", "ow1")
    assert with_one_stress(("b", "ah0")) == ("b", "ah1")


def test_either_form_is_read(lexicon: StressedLexicon, tmp_path: Path) -> None:
    path = tmp_path / "lexicon.txt.gz"
    lexicon.save(path)
    assert isinstance(load_lexicon(path), StressedLexicon)
    shipped_lexicon("flite").save(path)
    assert type(load_lexicon(path)) is FliteLexicon
    path.write_bytes(b"\x1f\x8bnothing")
    with pytest.raises(BundleError, match="cannot read lexicon"):
        load_lexicon(path)


def test_long_sentences_are_split_at_any_pause(lexicon: StressedLexicon) -> None:
    spelling = Phones(lexicon, lexicon.symbols, "tiny")
    units = [*spelling.units(split_sentences("Go now?")[0]), *spelling.units(split_sentences("Stay.")[0])[1:]]
    halves = spelling.halves(units)
    assert [[unit.text for unit in half] for half in halves] == [
        ["pau", "g", "ow1", "n", "aw1", "pau?"],
        ["pau", "s", "t", "ey1", "pau."],
    ]
    assert spelling.halves(spelling.units(split_sentences("Go now.")[0])) == []
    assert len(spelling.ids(units)) == len(units)
