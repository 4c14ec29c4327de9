"""Word times as JSON, subtitles and TextGrid."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from soundstorm_runtime.errors import OptionError
from soundstorm_runtime.synthesis.word_times import MarkTime, PhoneTime, WordTime
from soundstorm_runtime.tools.timing_files import CUE_CHARACTERS, read_times, write_times

TEXT = 'He said: "It costs $100 & more." Then <he> left.'


def timed(text, written, gap=0.0):
    """Words of a text, each with its spoken forms, a tenth of a second each."""
    words, at, place = [], 0.1, 0
    for spoken, shown in written:
        place = text.index(shown, place)
        for word in spoken.split():
            phone = PhoneTime(word[0], at, at + 0.1)
            words.append(WordTime(word, at, at + 0.1, (place, place + len(shown)), (phone,)))
            at += 0.1
        at += gap
    return words


WORDS = timed(
    TEXT,
    [("he", "He"), ("said", "said"), ("it", "It"), ("costs", "costs"), ("one hundred dollars", "$100"),
     ("and", "&"), ("more", "more"), ("then", "Then"), ("he", "he"), ("left", "left")],
)  # fmt: skip


def written(tmp_path, name, text=TEXT, words=WORDS, duration=1.5):
    write_times(tmp_path / name, text, words, duration)
    return (tmp_path / name).read_text(encoding="utf-8")


def test_json_has_words_phones_and_spans(tmp_path):
    data = json.loads(written(tmp_path, "out.json"))
    assert data["duration"] == 1.5
    dollars = [word for word in data["words"] if word["text"] == "$100"]
    assert [word["word"] for word in dollars] == ["one", "hundred", "dollars"]
    assert dollars[0] == {
        "word": "one", "start": 0.5, "end": 0.6, "text": "$100", "span": [19, 23],
        "phones": [{"phone": "o", "start": 0.5, "end": 0.6}],
    }  # fmt: skip


def test_marks_are_in_json_and_in_a_tier_of_points(tmp_path):
    first, *rest = WORDS
    marked = [replace(first, marks=(MarkTime("a", 0.1), MarkTime('"b"', 0.2))), *rest]
    data = json.loads(written(tmp_path, "out.json", words=marked))
    assert data["words"][0]["marks"] == [{"name": "a", "time": 0.1}, {"name": '"b"', "time": 0.2}]
    assert all("marks" not in word for word in data["words"][1:])
    assert read_times(tmp_path / "out.json", 1.5)[0].marks == marked[0].marks
    grid = written(tmp_path, "out.TextGrid", words=marked)
    assert "size = 3\n" in grid
    tier = grid[grid.index("item [3]") :].splitlines()[1:]
    assert [line.strip() for line in tier] == [
        'class = "TextTier"', 'name = "marks"', "xmin = 0", "xmax = 1.5000", "points: size = 2",
        "points [1]:", "number = 0.1000", 'mark = "a"', "points [2]:", "number = 0.2000", 'mark = """b"""',
    ]  # fmt: skip


def test_subtitles_show_the_text_as_it_was_written(tmp_path):
    assert written(tmp_path, "out.srt") == (
        "1\n00:00:00,100 --> 00:00:01,000\n"
        'He said: "It costs $100 & more."\n\n'
        "2\n00:00:01,000 --> 00:00:01,300\nThen <he> left.\n\n"
    )
    found = written(tmp_path, "out.VTT")
    assert found.startswith("WEBVTT\n\n00:00:00.100 --> 00:00:01.000\n")
    assert "$100 &amp; more" in found
    assert "Then &lt;he&gt; left." in found


def test_long_sentences_and_pauses_end_a_subtitle(tmp_path):
    text = " ".join(f"word{number}" for number in range(60))
    words = timed(text, [(word, word) for word in text.split()])
    cues = written(tmp_path, "out.srt", text, words, 7.0).split("\n")[2::4]
    assert " ".join(cues) == text
    assert max(map(len, cues)) <= CUE_CHARACTERS
    slow = timed("one two", [("one", "one"), ("two", "two")], gap=0.7)
    assert written(tmp_path, "out.srt", "one two", slow, 3.0).count("-->") == 2


def test_times_beyond_an_hour(tmp_path):
    word = WordTime("yes", 3723.0004, 3723.4567, (0, 3), ())
    assert "01:02:03,000 --> 01:02:03,457" in written(tmp_path, "out.srt", "Yes", [word], 4000.0)


def test_a_text_grid_covers_all_of_the_audio(tmp_path):
    found = written(tmp_path, "out.TextGrid")
    assert found.startswith(
        'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\nxmax = 1.5000\n'
    )
    for name in ("words", "phones"):
        tier = found.split(f'name = "{name}"')[1].split("item [")[0]
        starts = [float(line.split("=")[1]) for line in tier.splitlines() if "    xmin" in line][1:]
        ends = [float(line.split("=")[1]) for line in tier.splitlines() if "    xmax" in line][1:]
        assert f"intervals: size = {len(starts)}\n" in tier
        assert starts[0] == 0
        assert ends[-1] == 1.5
        assert starts[1:] == ends[:-1]
        assert tier.count('text = ""') == 2


def test_another_suffix_or_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(OptionError, match=r"expected a name that ends in \.json, \.srt, \.vtt, \.textgrid"):
        write_times(tmp_path / "out.txt", TEXT, WORDS, 1.5)
    (tmp_path / "file").write_text("")
    with pytest.raises(OptionError, match=r"cannot write .*out\.srt"):
        write_times(tmp_path / "file" / "out.srt", TEXT, WORDS, 1.5)
