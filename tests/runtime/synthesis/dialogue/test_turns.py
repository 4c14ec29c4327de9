"""Scripts of dialogues, and where their turns are in time."""

from __future__ import annotations

import numpy as np
import pytest

from soundstorm_runtime.errors import TextError
from soundstorm_runtime.synthesis.dialogue.timeline import Timeline
from soundstorm_runtime.synthesis.dialogue.turns import Turn, check_turns, read_script


def test_a_line_is_a_turn():
    script = (
        "anna: Good morning.\n\n  ben : [overlap 0.3s] Hi!\nHow are: you?\nanna: [gap 500ms] Fine: thanks.\n"
    )
    assert read_script(script) == [
        Turn("anna", "Good morning."),
        Turn("ben", "Hi!", -0.3),
        Turn("How are", "you?"),
        Turn("anna", "Fine: thanks.", 0.5),
    ]


def test_a_line_without_a_name_goes_on():
    assert read_script("anna: One two\nthree four.\nben: Five at 10:30.") == [
        Turn("anna", "One two three four."),
        Turn("ben", "Five at 10:30."),
    ]


def test_a_name_may_stand_on_its_own_line():
    script = "anna:\n  Good morning.\r\n\u00e9milie :\r\n[gap 1s]\nHi!\nben:\n"
    assert read_script(script) == [
        Turn("anna", "Good morning."),
        Turn("\u00e9milie", "Hi!", 1.0),
        Turn("ben", ""),  # which cannot be spoken
    ]


def test_names_may_be_bold():
    script = "**anna:** Hi **there:** you.\n**ben**: Yes."
    assert read_script(script) == [Turn("anna", "Hi **there:** you."), Turn("ben", "Yes.")]


def test_other_ways_to_write_a_line():
    script = "\ufeffanna:Hi!\nben:[Overlap 0.3S] Yes.\nhttp://a.b and\n10:30.\nanna:0.7,ben:0.3: Both."
    assert read_script(script) == [
        Turn("anna", "Hi!"),
        Turn("ben", "Yes. http://a.b and 10:30.", -0.3),
        Turn("anna:0.7,ben:0.3", "Both."),
    ]


def test_json_lines_are_turns():
    assert read_script('{"text": "a\u2028b"}\r\n{"text": "c"}') == [Turn(None, "a\u2028b"), Turn(None, "c")]
    script = '{"voice": "anna", "text": "Good morning."}\n{"text": "Hi!", "gap": -0.3}\n'
    assert read_script(script) == [Turn("anna", "Good morning."), Turn(None, "Hi!", -0.3)]


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("", "a dialogue has 0 turns, expected 1 to 1000"),
        ("Good morning.", "line 1 is 'Good morning.', expected a voice and what it says"),
        ('{"voice": "anna"}', "line 1 is .* expected such as"),
        ('{"text": "a"}\nben: b', "line 2 is 'ben: b'"),
        ('{"text": "a", "speed": 2}', "it has the key 'speed', expected voice, text and gap"),
        ('{"text": "a", "gap": 1' + 400 * "0" + "}", "too large"),
        ('{"text": "a", "gap": NaN}', "a gap is nan s, expected -60 to 60"),
        ('{"text": 1}', "voice and text are strings"),
        ('{"text": "a"}\n{"text": "a", "gap": true}', "line 2 is .*gap is a number"),
        ('{"text": "a", "gap": "1"}', "gap is a number"),
        ("anna: Hi\nben: Well\n[gap 1s]", r"line 2: a turn has '\[gap 1s\]'"),
        ("anna: [gap 100s] Hello", "a gap is 100 s, expected -60 to 60"),
        ("a: b\n" * 1001, "a dialogue has 1001 turns"),
    ],
)
def test_other_scripts_are_refused(script, message):
    with pytest.raises(TextError, match=message):
        read_script(script)


@pytest.mark.parametrize(
    "text",
    [
        "[gap -1s] Hi",
        "[overlap 0.3] Hi",
        "[gap 1s] [overlap 1s] Hi",
        "Well, [overlap 0.3s] hi",
        "[gap",
        "[Gap0.5s] Hi",
        "[ OVERLAP: 1s]",
    ],
)
def test_no_mark_of_a_gap_is_spoken(text):
    with pytest.raises(TextError, match=r"(?i)a turn has '\[ ?(gap|overlap).*, once, at its start"):
        Turn("anna", text)


def test_turns_are_pairs():
    assert check_turns(pair for pair in [("anna", "Hi.")]) == [Turn("anna", "Hi.")]
    for wrong in ("anna: Hi.", [("anna", "Hi.", 0.5)], [("anna", None)]):
        with pytest.raises(TypeError, match="expected a Turn, or a pair of voice and text"):
            check_turns(wrong)
    for text, gap in ((None, None), ("Hi.", "1")):
        with pytest.raises(TypeError, match="expected a string and a number"):
            Turn("anna", text, gap)


def test_a_gap_is_given_once():
    with pytest.raises(TextError, match="has a gap, and 1 s was given"):
        Turn("anna", "[gap 1s] Hello", 1.0)


def test_overlapping_audio_is_added_and_comes_out_in_order():
    timeline = Timeline()
    timeline.add(0, np.full(10, 0.5, np.float32))
    start = timeline.start_of(-4, 0)
    assert start == 6
    taken = [timeline.take(start)]
    timeline.add(start, np.full(8, 0.75, np.float32))
    after = timeline.start_of(3, start)
    taken.append(timeline.take(after))
    timeline.add(after, np.full(2, 0.25, np.float32))
    taken.append(timeline.take(timeline.end))
    assert [len(audio) for audio in taken] == [6, 8, 5]
    np.testing.assert_allclose(
        np.concatenate(taken), [0.5] * 6 + [1.0] * 4 + [0.75] * 4 + [0.0] * 3 + [0.25] * 2
    )


def test_a_turn_never_starts_before_the_one_before():
    timeline = Timeline()
    timeline.add(5, np.zeros(10, np.float32))
    assert timeline.start_of(-100, 5) == 5
