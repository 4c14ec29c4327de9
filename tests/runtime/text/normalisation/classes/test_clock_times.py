"""Times of day and ratios as they are read."""

import pytest

from soundstorm_runtime.text.sentences import normalise

CASES = [
    ("3:45 pm, 14:30, 4:05", "three forty five p m, fourteen thirty, four oh five"),
    ("at 5 a.m. or 6pm", "at five ay m or six p m"),
    ("10:00-11:30, 9am-5pm, 5pm-7 pm", "ten to eleven thirty, nine ay m to five p m, five p m to seven p m"),
    ("1:59 p.m. EST", "one fifty nine p m e s t"),
    ("10:00 and 01:01:01", "ten o'clock and one hour one minute and one second"),
    ("a ratio of 16:9, 3:1", "a ratio of sixteen to nine, three to one"),
    ("8.30 am", "eight thirty ay m"),
    ("10:00 UTC, 10:00", "ten u t c, ten o'clock"),
    ("noon-3pm, 9am-midnight", "noon to three p m, nine ay m to midnight"),
]


@pytest.mark.parametrize(("written", "spoken"), CASES)
def test_reads_clock_times(written: str, spoken: str) -> None:
    assert normalise(written) == spoken
