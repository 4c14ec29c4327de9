"""Letter-to-sound trees: alignment, learning, and the script that measures them."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from scripts.train_letter_to_sound import align, learn_rules, main, read_pronunciations, word_accuracy
from soundstorm_edge.errors import CorpusError
from soundstorm_runtime.text.letter_to_sound import LetterToSound

PAIRS = {
    "cat": "k ae t", "chat": "ch ae t", "hat": "hh ae t", "tax": "t ae k s", "cab": "k ae b", "bat": "b ae t",
    "back": "b ae k", "tack": "t ae k", "hatch": "hh ae ch", "batch": "b ae ch", "at": "ae t", "ax": "ae k s",
}  # fmt: skip


def test_a_letter_is_pronounced_by_its_neighbours() -> None:
    rules = LetterToSound(learn_rules({word: tuple(phones.split()) for word, phones in PAIRS.items()}))
    assert {word: " ".join(rules(word)) for word in PAIRS} == PAIRS
    assert rules("chax") == ("ch", "ae", "k", "s")


def test_alignment_spends_every_phone_or_gives_up() -> None:
    costs = {"x": {"k-s": -1.0, "_": -2.0}, "a": {"ae": -1.0}}
    assert align("ax", ("ae", "k", "s"), costs) == ["ae", "k-s"]
    assert align("ax", ("ae", "k"), costs) == []


def test_held_out_words_are_pronounced_by_the_trees_of_the_others(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    consonants = {"b": "b", "d": "d", "f": "f", "h": "hh", "m": "m", "p": "p", "t": "t", "v": "v"}
    rows = [f"{a}i{b} {p} IH {q}" for a, p in consonants.items() for b, q in consonants.items()]
    path.write_text("\n".join([*rows, "it's IH T S", "# a comment"]))
    pronunciations = read_pronunciations(path)
    assert len(pronunciations) == len(rows)
    assert pronunciations["hit"] == ("hh", "ih", "t")
    assert word_accuracy(pronunciations, 10) == 1.0
    done = CliRunner().invoke(main, [str(path), "--held-out", "10"], catch_exceptions=False)
    assert done.output == "100.0% of 10 held-out words are pronounced exactly\n"
    with pytest.raises(CorpusError, match="64 words of 64 are held out"):
        word_accuracy(pronunciations, 64)


def test_a_file_without_pronunciations_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("cat\n")
    with pytest.raises(CorpusError, match="empty has no line of a word and its phones"):
        read_pronunciations(tmp_path / "empty")
    with pytest.raises(CorpusError, match=r"cannot read .*none"):
        read_pronunciations(tmp_path / "none")


@pytest.mark.parametrize("name", ["build_lexicon", "build_stressed_lexicon", "train_letter_to_sound"])
def test_scripts_run_as_modules(name: str) -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", f"scripts.{name}", "--help"], cwd=root, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "Usage: python -m scripts." in done.stdout
