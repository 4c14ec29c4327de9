"""TextGrid files as aligners write them: what is read, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from soundstorm_edge.data.textgrid import read_times
from soundstorm_edge.data.utterances import Utterance
from soundstorm_edge.errors import CorpusError, UnusableRecordingError

SYMBOLS = ("ax", "ah", "b", "aw", "t", "pau")
ABOUT = [("", 0.3), ("AH0", 0.4), ("B", 0.5), ("AW1", 0.8), ("T", 1.0)]


def write(path: Path, phones: list[tuple[str, float]], tier: str = "phones") -> None:
    """Write a file as the Montreal Forced Aligner does: words, then phones."""
    end = phones[-1][1]
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0", f"xmax = {end}"]
    lines += ["tiers? <exists>", "size = 2", "item []:"]
    for number, (name, intervals) in enumerate([("words", [("about", end)]), (tier, phones)], 1):
        lines += [f"    item [{number}]:", '        class = "IntervalTier"', f'        name = "{name}"']
        lines += ["        xmin = 0", f"        xmax = {end}", f"        intervals: size = {len(intervals)}"]
        start = 0.0
        for place, (label, until) in enumerate(intervals, 1):
            lines += [f"        intervals [{place}]:", f"            xmin = {start}"]
            lines += [f"            xmax = {until}", f'            text = "{label}"']
            start = until
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*lines, ""]))


def utterance(seconds: float = 1.0) -> Utterance:
    return Utterance("a-1", "audio/a-1.flac", seconds, "About.", "a", held_out=False)


def test_arpabet_becomes_the_phones_of_the_voice(tmp_path: Path) -> None:
    write(tmp_path / "speaker" / "a-1.TextGrid", ABOUT)
    (timed,) = read_times(tmp_path, [utterance()], SYMBOLS)
    assert timed.phones == ("pau", "ax", "b", "aw", "t", "pau")
    assert timed.ends == (0.3, 0.4, 0.5, 0.8, 1.0, 1.0), "it ends with a pause, if one of no time"
    assert timed.text == "About."


@pytest.mark.parametrize(("text", "pause"), [("About.", "pau."), ('"About?"', "pau?"), ("About", "pau.")])
def test_stress_stays_where_the_voice_has_it(tmp_path: Path, text: str, pause: str) -> None:
    write(tmp_path / "a-1.TextGrid", ABOUT)
    symbols = ("ah0", "ah1", "b", "aw1", "t", "pau", "pau.", "pau?", "pau!")
    (timed,) = read_times(tmp_path, [replace(utterance(), text=text)], symbols)
    assert timed.phones == ("pau", "ah0", "b", "aw1", "t", pause)


def test_silences_are_one_pause_and_the_last_one_ends_with_the_audio(tmp_path: Path) -> None:
    write(
        tmp_path / "a-1.TextGrid",
        [("b", 0.2), ("sil", 0.3), ("<eps>", 0.4), ("sp", 0.5), ("AH1", 0.7), ("", 1.0)],
    )
    (timed,) = read_times(tmp_path, [utterance(1.02)], SYMBOLS)
    assert timed.phones == ("pau", "b", "pau", "ah", "pau")
    assert timed.ends == (0.0, 0.2, 0.5, 0.7, 1.02)


def test_the_tier_may_carry_the_speaker(tmp_path: Path) -> None:
    write(tmp_path / "a-1.TextGrid", ABOUT, tier="84 - phones")
    assert read_times(tmp_path, [utterance()], SYMBOLS)[0].phones[1] == "ax"


@pytest.mark.parametrize(
    ("phones", "tier", "message"),
    [
        (
            [("b", 0.5), ("q!", 1.0)],
            "phones",
            r"a-1\.TextGrid has the phone 'q!' at 1\.00 s, expected ARPA",
        ),
        ([("b", 3.0)], "phones", r"ends at 3\.00 s, expected 1\.00 s; is it of another recording\?"),
        ([("b", 1.0)], "states", "has the tiers words, states, expected one that is named 'phones'"),
    ],
)
def test_what_does_not_fit_is_named(
    tmp_path: Path, phones: list[tuple[str, float]], tier: str, message: str
) -> None:
    write(tmp_path / "a-1.TextGrid", phones, tier)
    with pytest.raises(CorpusError, match=message):
        read_times(tmp_path, [utterance()], SYMBOLS)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"has no a-1\.TextGrid \(1 of 1 are missing\); align these"):
        read_times(tmp_path, [utterance()], SYMBOLS)


@pytest.mark.parametrize("content", ["", "garbage", 'File type = "ooTextFile"\nObject class = "TextGrid"\n'])
def test_a_file_that_is_none_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "a-1.TextGrid").write_text(content)
    with pytest.raises(CorpusError, match=r"a-1\.TextGrid cannot be read as a TextGrid \(.+align it again"):
        read_times(tmp_path, [utterance()], SYMBOLS)


def test_speech_of_unknown_phones_is_refused_or_left_out(tmp_path: Path) -> None:
    write(tmp_path / "a-1.TextGrid", ABOUT)
    write(tmp_path / "a-2.TextGrid", [("b", 0.5), ("spn", 1.0)])
    both = [utterance(), replace(utterance(), id="a-2")]
    with pytest.raises(
        UnusableRecordingError, match=r"a-2\.TextGrid has 'spn' at 1\.00 s, speech of unknown"
    ):
        read_times(tmp_path, both, SYMBOLS)
    unusable: dict[str, str] = {}
    assert [u.id for u in read_times(tmp_path, both, SYMBOLS, unusable)] == ["a-1"]
    assert list(unusable) == ["a-2"]


def test_byte_order_marks_and_files_of_macos_are_ignored(tmp_path: Path) -> None:
    write(tmp_path / "a" / "a-1.TextGrid", ABOUT)
    path = tmp_path / "a" / "a-1.TextGrid"
    path.write_text("\ufeff" + path.read_text().replace('"AH0"', '"\ufeffAH0"'), encoding="utf-8")
    (tmp_path / "a" / "._a-1.TextGrid").write_bytes(b"\0\5\x16\7")
    assert read_times(tmp_path, [utterance()], SYMBOLS)[0].phones == ("pau", "ax", "b", "aw", "t", "pau")
