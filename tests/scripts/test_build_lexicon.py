import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

import scripts.build_lexicon
from scripts.build_lexicon import build_lexicon, default_words, flite_pronunciations, rule_pronunciations
from soundstorm_edge.errors import CorpusError
from soundstorm_runtime.text.letter_to_sound import LETTERS
from soundstorm_runtime.text.lexicon_file import load_lexicon

needs_flite = pytest.mark.skipif(shutil.which("flite") is None, reason="flite is not installed")


def test_words_are_folded_and_listed_once(tmp_path: Path) -> None:
    (tmp_path / "words").write_text("Café\ncafé's\ndon't\nEngland's\n", encoding="utf-8")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "cookie").write_text("It’s the cat's! % 42nd\n", encoding="utf-8")
    words = default_words(tmp_path / "words", tmp_path / "texts")
    assert set(words) - set(LETTERS) == {"cafe", "dont", "england", "it", "the", "cat", "nd"}
    assert words == sorted(words)


def test_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CorpusError, match=r"no word list .*; install it with 'apt-get install wamer"):
        default_words(tmp_path / "none", tmp_path)
    (tmp_path / "words").write_text("a\n")
    (tmp_path / "texts").mkdir()
    with pytest.raises(CorpusError, match=r"no text in .*; install it with 'apt-get install fortunes'"):
        default_words(tmp_path / "words", tmp_path / "texts")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CorpusError, match="flite is not installed; install it with 'apt-get install flite'"):
        flite_pronunciations(["cat"])


def test_asks_only_for_words() -> None:
    with pytest.raises(CorpusError, match='"don\'t" is not a word for flite; give up to 29 letters a to z'):
        flite_pronunciations(["don't"])


def test_notices_an_answer_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scripts.build_lexicon, "run_flite", lambda *_: "pau k ae t pau\n")
    with pytest.raises(CorpusError, match="flite returned 1 answers for 2 words after 'cat'"):
        flite_pronunciations(["cat", "dog"])


@needs_flite
def test_asks_flite_with_and_without_its_dictionary() -> None:
    assert flite_pronunciations(["colonel", "cat"]) == {
        "colonel": ("k", "er", "n", "ax", "l"),
        "cat": ("k", "ae", "t"),
    }
    assert rule_pronunciations(["colonel", "cat"]) == {
        "colonel": ("k", "aa", "er", "n", "ax", "l"),
        "cat": ("k", "ae", "t"),
    }
    assert flite_pronunciations(["use"], before="to", after="it") == {"use": ("y", "uw", "z")}


@needs_flite
def test_builds_a_lexicon_that_speaks_as_flite_does() -> None:
    words = (
        "the of use colonel cat cats chat hat bat back tack batch hatch nato fbi street use minute".split()
    )
    lexicon = build_lexicon(words)
    assert {word: lexicon.pronounce(word) for word in words} == flite_pronunciations(words)
    assert lexicon.pronounce("use", verb=True) == ("y", "uw", "z")
    assert "cat" not in lexicon.words  # the rules say it right
    assert lexicon.pronounce("bgx") == ("b", "iy", "jh", "iy", "eh", "k", "s")


@needs_flite
def test_the_script_writes_a_lexicon(tmp_path: Path) -> None:
    (tmp_path / "words").write_text("cat\nhat\ncolonel\n")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "cookie").write_text("The cat sat.\n")
    output = tmp_path / "lexicon.txt.gz"
    arguments = [str(output), "--words", str(tmp_path / "words"), "--texts", str(tmp_path / "texts")]
    done = CliRunner().invoke(scripts.build_lexicon.main, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert load_lexicon(output).pronounce("colonel") == ("k", "er", "n", "ax", "l")
