import tracemalloc

import pytest

from soundstorm_runtime.text.stressed_lexicon import StressedLexicon
from soundstorm_runtime.text.word_table import WordTable

LINE = StressedLexicon.WORD_LINE
WORDS = {"a": "ey", "ab": "ae b", "ab's": "ae b z", "abc": "ey b iy s iy", "b": "b iy", "zoo": "z uw"}


def text(words: dict[str, str]) -> bytes:
    return "".join(f"{word}\t{phones}\n" for word, phones in sorted(words.items())).encode()


def test_is_the_mapping_that_its_lines_are() -> None:
    table = WordTable(text(WORDS), LINE)
    assert table == WORDS
    assert list(table) == sorted(WORDS)
    assert len(table) == len(WORDS)


@pytest.mark.parametrize("word", ["", "aa", "ab'", "abcd", "zoos", "é", "\t", "a\tey", "~"])
def test_other_words_are_not_in_it(word: str) -> None:
    table = WordTable(text(WORDS), LINE)
    assert word not in table
    assert table.get(word) is None


def test_has_the_phones_of_verbs_aside() -> None:
    table = WordTable(b"a\tey\nuse\ty uw1 s\ty uw1 z\n", LINE)
    assert table == {"a": "ey", "use": "y uw1 s"}
    assert list(table.values()) == ["ey", "y uw1 s"]
    assert table.verbs == {"use": "y uw1 z"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"b\tb iy\na\tey\n", r"line 'a\\tey' is not in alphabetical order"),
        (b"a\tey\na\tah\n", r"line 'a\\tah' is not in alphabetical order"),
        (b"a\tey\nb\n", "line 'b' is not 'word<tab>phones"),
        (b"a\tey", r"line 'a\\tey' is not 'word<tab>phones"),
        (b"\xff\tey\n", "is not 'word<tab>phones"),
    ],
)
def test_refuses_other_lines(content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WordTable(content, LINE)


def test_takes_little_more_memory_than_its_text() -> None:
    content = text({f"word{number:05}".translate(str.maketrans("0123456789", "abcdefghij")): "w er d"
                     for number in range(20_000)})  # fmt: skip
    tracemalloc.start()
    try:
        table = WordTable(content, LINE)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(table) == 20_000
    assert held < len(content)  # beside the text; a dictionary takes ten times as much
