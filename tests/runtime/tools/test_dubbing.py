"""Speech in the slots of subtitles."""

from __future__ import annotations

import numpy as np
import pytest

from soundstorm_runtime import SynthesisOptions, Voice
from soundstorm_runtime.errors import OptionError, TextError
from soundstorm_runtime.tools.dubbing import SLOWEST, Cue, fit_cues, read_cues

SRT = """1
00:00:00,500 --> 00:00:02,000
<i>Good</i> morning.

2
00:00:02,250 --> 00:00:03,600 X1:10
How are you
today?
"""
VTT = "WEBVTT\n\nNOTE none\n\n00:00.500 --> 00:02.000\nA &amp; b.\n\n01:00:00.000 --> 01:00:01.000\nWell.\n"


@pytest.fixture
def voice(make_bundle):
    return Voice.load(make_bundle(), threads=1, provider="cpu")


def test_subtitles_of_both_formats_are_read(tmp_path):
    (tmp_path / "a.srt").write_bytes(b"\xef\xbb\xbf" + SRT.replace("\n", "\r\n").encode())
    (tmp_path / "a.vtt").write_text(VTT)
    first = Cue(1, 0.5, 2.0, "Good morning.")
    assert read_cues(tmp_path / "a.srt") == [first, Cue(2, 2.25, 3.6, "How are you today?")]
    tea = Cue(1, 0.5, 2.0, "A & b.")
    assert read_cues(tmp_path / "a.vtt") == [tea, Cue(2, 3600.0, 3601.0, "Well.")]


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        (SRT.replace(" --> ", "-->"), ["Good morning.", "How are you today?"]),
        (SRT.replace(" --> ", "\t-->\t"), ["Good morning.", "How are you today?"]),
        (SRT.replace("\n", "\r"), ["Good morning.", "How are you today?"]),
        (SRT.replace("\n\n", "\n"), ["Good morning.", "How are you today?"]),  # no blank lines
        (SRT.replace("you\n", "you\n\n"), ["Good morning.", "How are you today?"]),  # one inside a text
        (SRT.replace("<i>", f'<font face="{60 * "a"}">'), ["Good morning.", "How are you today?"]),
        (SRT.replace("<i>Good</i> morning.", "42"), ["42", "How are you today?"]),
        (SRT.replace("today", "A --> B"), ["Good morning.", "How are you A --> B?"]),
        (VTT.replace("\nWell", "\talign:start\nWell\n\nNOTE not spoken"), ["A & b.", "Well"]),
    ],
)
def test_files_are_read_as_they_come(tmp_path, content, texts):
    (tmp_path / "a.srt").write_bytes(content.encode())
    assert [cue.text for cue in read_cues(tmp_path / "a.srt")] == texts


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("nothing", "has no subtitles"),
        (
            SRT.replace("00:00:02,250", "00:00:01,250"),
            "2 is from 1.250 to 3.600 s, expected to start at 2.000",
        ),
        (SRT.replace("00:00:03,600", "99:00:03,600"), "subtitles end at 356404 s, expected 43200 s at most"),
        (SRT.replace("00:00:03,600", "00:00:02,250"), "2 is from 2.250 to 2.250 s"),
        (
            SRT.replace("02,250", "01,250") + "\n3\n00:00:03,000 --> 00:00:02,000\nHi.\n",
            r"2 of 3 subtitles overlap .* Subtitle 2 is from 1.250 .* 2.000 s or later; 3 is from 3.000",
        ),
        (SRT.replace(",250", ""), "a.srt: line 6 is '00:00:02 -->.*, expected times such as"),
        (SRT.replace("02,250", "62,250"), "line 6 is '00:00:62,250 -->"),
    ],
)
def test_subtitles_that_cannot_be_spoken_are_refused(tmp_path, content, message):
    (tmp_path / "a.srt").write_text(content)
    with pytest.raises(OptionError, match=message):
        read_cues(tmp_path / "a.srt")
    with pytest.raises(OptionError, match=r"cannot read .*No such file"):
        read_cues(tmp_path / "b.srt")


def test_every_cue_is_in_its_slot(voice):
    natural = voice.seconds("Good morning.")
    assert natural * voice.sample_rate == len(voice.speak("Good morning."))
    slots = [(0.5, 0.5 + 0.7 * natural), (3.0, 3.0 + 1.1 * natural), (6.0, 6.0 + 3 * natural)]
    cues = [Cue(place, *slot, "Good morning.") for place, slot in enumerate(slots, 1)]
    audio = np.concatenate(list(fit_cues(voice, cues, SynthesisOptions())))
    assert len(audio) == round(slots[-1][1] * voice.sample_rate)
    frame = 16  # samples
    for cue, lasts in zip(cues, (0.7, 1.1, SLOWEST), strict=True):
        start, end = (
            round(cue.start * voice.sample_rate),
            round((cue.start + lasts * natural) * voice.sample_rate),
        )
        assert not audio[start - 100 : start].any()
        assert audio[start : start + frame].any()
        assert audio[end - 4 * frame : end].any()
        assert not audio[end + frame : end + 100].any()


def test_all_cues_that_would_be_too_fast_are_listed(voice):
    cues = [
        Cue(1, 0, 0.2, "Much too long for this slot."),
        Cue(2, 1, 4, "Hello."),
        Cue(3, 5, 5.1, "So is this."),
    ]
    with pytest.raises(
        OptionError, match=r"2 of 3 subtitles do not fit .* 1 'Much too.*; 3 'So is this"
    ) as error:
        fit_cues(voice, cues, SynthesisOptions())
    assert "2 'Hello" not in str(error.value)
    with pytest.raises(TextError, match=r"subtitle 1: text '\*' has no speakable character"):
        fit_cues(voice, [Cue(1, 0, 1, "*")], SynthesisOptions())
    with pytest.raises(TextError, match=r"subtitle 1: .*; subtitle 3: "):
        fit_cues(voice, [Cue(1, 0, 1, "*"), Cue(2, 1, 9, "Hi."), Cue(3, 9, 10, "_")], SynthesisOptions())
    with pytest.raises(OptionError, match="take no duration"):
        fit_cues(voice, cues, SynthesisOptions(duration=3))
