"""Words of finished speech replaced, spoken again, or filled in, with a tiny real voice."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import numpy as np
import pytest

from soundstorm_runtime import Voice
from soundstorm_runtime.engines.base import Engine
from soundstorm_runtime.errors import OptionError, TextError
from soundstorm_runtime.synthesis.editing.repair import BORDER_SECONDS
from soundstorm_runtime.synthesis.word_times import TimedAudio

TEXT = "we will all meet on a sunny tuesday at the old stone bridge"


@pytest.fixture
def voice(make_bundle):
    return Voice.load(make_bundle(hears=True, voices={"slt": 40}), threads=1, provider="cpu")


@pytest.fixture
def speech(voice):
    return voice.speak_timed(TEXT)


def spoken(speech):
    return [word.word for word in speech.words]


def check_rest(voice, before, after, start, end):
    """Audio before and after the words of a span, with borders, is what it was, to the bit."""
    border = BORDER_SECONDS + 2 * 32 / voice.sample_rate  # a token more, since borders are whole tokens
    first, last = (round(place * voice.sample_rate) for place in (start - border, end + border))
    np.testing.assert_array_equal(after.audio[:first], before.audio[:first])
    tail = len(before.audio) - last
    np.testing.assert_array_equal(after.audio[-tail:], before.audio[-tail:])
    assert first > 0
    assert tail > 0


def test_words_are_replaced_and_the_rest_stays(voice, speech):
    (old,) = [word for word in speech.words if word.word == "tuesday"]
    edited = voice.edit(speech, "Tuesday", "Saturday morning")
    assert spoken(edited) == TEXT.replace("tuesday", "saturday morning").split()
    check_rest(voice, speech, edited, old.start, old.end)
    assert edited.audio.dtype == np.float32
    assert len(edited.audio) > len(speech.audio)
    moved = (len(edited.audio) - len(speech.audio)) / voice.sample_rate
    np.testing.assert_allclose(edited.words[-1].end, speech.words[-1].end + moved)
    for first, second in pairwise(edited.words):
        assert first.start < first.end <= second.start + 1e-9
    new = edited.words[7:9]
    assert new[0].start == pytest.approx(old.start, abs=1e-6)
    assert {word.span for word in new} == {old.span}
    # The new words differ from silence and from what was there.
    changed = edited.audio[round(new[0].start * 800) : round(new[1].end * 800)]
    assert len(np.unique(changed)) > 10


def test_edits_can_follow_one_another(voice, speech):
    once = voice.edit(speech, "Tuesday", "Friday")
    back = voice.edit(once, "old stone", "new")
    assert spoken(back) == TEXT.replace("tuesday", "friday").replace("old stone", "new").split()


def test_several_words_are_replaced_at_once(voice, speech):
    edited = voice.edit(speech, {"Tuesday": "Friday", "we": "they", "old stone": "new"})
    text = TEXT.replace("tuesday", "friday").replace("we ", "they ").replace("old stone", "new")
    assert spoken(edited) == text.split()
    one_by_one = speech
    for old, new in (("old stone", "new"), ("Tuesday", "Friday"), ("we", "they")):
        one_by_one = voice.edit(one_by_one, old, new)
    np.testing.assert_array_equal(edited.audio, one_by_one.audio)
    swapped = voice.edit(speech, {"sunny": "old", "old": "sunny"})
    assert " ".join(spoken(swapped)) == "we will all meet on a old tuesday at the sunny stone bridge"
    with pytest.raises(OptionError, match=r"two replacements overlap at \d\.\d\d s; make them one"):
        voice.edit(speech, {"sunny tuesday": "day", "a sunny": "a"})
    for old, new in (("sunny", None), ({"sunny": "cloudy"}, "cloudy")):
        with pytest.raises(TypeError, match="takes two texts, or a dict"):
            voice.edit(speech, old, new)


@pytest.mark.parametrize(
    ("replaced", "text"),
    [
        ({"a": "", "sunny": ""}, "we will all meet on tuesday at the old stone bridge"),
        ({"we": "", "all": ""}, "will meet on a sunny tuesday at the old stone bridge"),
        ({"sunny": "", "a": "one"}, "we will all meet on one tuesday at the old stone bridge"),
        ({"tuesday": "", "at": "by", "we": "they"}, "they will all meet on a sunny by the old stone bridge"),
    ],
)
def test_neighbours_are_replaced_and_removed_at_once(voice, speech, replaced, text):
    assert spoken(voice.edit(speech, replaced)) == text.split()


def test_a_removed_word_takes_the_pause_of_its_sentence_along(voice):
    speech = voice.speak_timed("We meet. The old bridge.")
    shorter = voice.edit(speech, "the", "")
    assert spoken(shorter) == "we meet old bridge".split()
    np.testing.assert_array_equal(shorter.words[1].end, speech.words[1].end)  # "old" was spoken again


@pytest.mark.parametrize("words", ["sunny", "we will", "stone bridge"])
def test_words_can_be_removed(voice, speech, words):
    shorter = voice.edit(speech, words, "")
    assert spoken(shorter) == TEXT.replace(words, "").split()
    assert len(shorter.audio) < len(speech.audio)


def test_not_all_words_can_be_removed(voice, speech):
    with pytest.raises(OptionError, match="the speech would have no words any more"):
        voice.edit(speech, TEXT, "")


def test_a_recording_is_edited_in_a_prompted_voice(voice, speech, monkeypatch):
    seen, run = [], Engine.run

    def watched(engine, feeds):
        if engine.graph.name == "step":
            seen.append(np.array(feeds["codes"][0]))
        return run(engine, feeds)

    monkeypatch.setattr(Engine, "run", watched)
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, len(speech.audio)).astype(np.float32)
    recording, prompt = TimedAudio(noise, speech.words), voice.named("slt")
    edited = voice.edit(recording, "Tuesday", "Friday", voice=prompt)
    (old,) = [word for word in speech.words if word.word == "tuesday"]
    check_rest(voice, recording, edited, old.start, old.end)
    start = len(prompt.codes)
    np.testing.assert_array_equal(seen[0][:start], prompt.codes)
    masked = (seen[0] == 8).all(axis=1)
    assert not masked[: start + 20].any()  # the recording before the word, by the encoder
    assert masked[start + 20 :].any()


def test_the_same_seed_gives_the_same_edit(voice, speech):
    one, same, other = (voice.edit(speech, "sunny", "cloudy", seed=seed).audio for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_a_retake_lasts_as_long(voice, speech):
    again = voice.retake(speech, "a sunny Tuesday", seed=5)
    assert spoken(again) == spoken(speech)
    assert len(again.audio) == len(speech.audio)
    assert (again.audio != speech.audio).any()
    first, last = speech.words[5], speech.words[7]
    check_rest(voice, speech, again, first.start, last.end)


def test_a_gap_is_filled_in_its_time(voice, speech):
    damaged = speech.audio.copy()
    start, end = speech.words[4].start, speech.words[6].end
    damaged[round(start * 800) : round(end * 800)] = 0
    known = tuple(word for word in speech.words if not start <= word.start < end)
    filled = voice.fill(TimedAudio(damaged, known), start, end, "on a windy")
    assert spoken(filled) == TEXT.replace("sunny", "windy").split()
    assert len(filled.audio) == len(damaged)
    check_rest(voice, TimedAudio(damaged), filled, start, end)
    assert filled.audio[round(start * 800) : round(end * 800)].any()
    inside = voice.fill(
        speech, start + 0.05, end - 0.05, "on a windy"
    )  # of the words at the ends, some remains
    for first, second in pairwise(inside.words):
        assert first.start <= first.end <= second.start + 1e-9


@pytest.mark.parametrize(("old", "new"), [("we", "you"), ("stone bridge", "mill"), (TEXT, "something else")])
def test_the_ends_of_speech_can_be_replaced(voice, speech, old, new):
    edited = voice.edit(speech, old, new)
    assert spoken(edited) == TEXT.replace(old, new).split()
    assert np.isfinite(edited.audio).all()


def test_a_voice_can_be_named(voice, speech):
    named = voice.edit(speech, "Tuesday", "Friday", voice="slt")
    assert spoken(named) == TEXT.replace("tuesday", "friday").split()


def test_what_cannot_be_done_is_said(voice, speech, make_bundle):
    with pytest.raises(OptionError, match="does not have the words 'monday'; it has: we will all meet"):
        voice.edit(speech, "Monday", "Tuesday")
    twice = dataclasses.replace(speech, words=(*speech.words, *speech.words))
    with pytest.raises(
        OptionError, match=r"the words 'sunny' at \d.\d\d s, \d.\d\d s; give words beside them"
    ):
        voice.edit(twice, "sunny", "cloudy")
    late = dataclasses.replace(speech, audio=speech.audio[:800])
    with pytest.raises(OptionError, match=r"the words end at \d.\d\d s, but the speech at 1.00 s"):
        voice.edit(late, "bridge", "mill")
    with pytest.raises(OptionError, match="the gap is from 3 to 2 s, expected a part of 0 to"):
        voice.fill(speech, 3, 2, "on")
    with pytest.raises(OptionError, match=r"time for \d semantic tokens, but the words have \d+ phones"):
        voice.fill(speech, 1.0, 1.1, "extraordinarily long words")
    with pytest.raises(TypeError, match="is of type ndarray, expected TimedAudio"):
        voice.edit(speech.audio, "bridge", "mill")
    with pytest.raises(TextError, match=r"have no pauses of their own, and 'mill \[pause\]' was given"):
        voice.edit(speech, "bridge", "mill [pause]")
    for sample in (np.nan, 1.5):
        broken = dataclasses.replace(speech, audio=np.full_like(speech.audio, sample))
        with pytest.raises(OptionError, match="has samples that are not from -1 to 1"):
            voice.retake(broken, "bridge")
    for audio in (np.zeros((800, 2)), np.zeros(800, np.int16)):
        with pytest.raises(OptionError, match=r"the speech is .*, expected float32 \[samples\]"):
            voice.fill(TimedAudio(audio), 0.2, 0.6, "on")
    with pytest.raises(TextError, match="text is empty"):
        voice.edit(speech, " ", "Tuesday")


def test_a_voice_without_prompt_encoder_or_durations_edits_nothing(make_bundle):
    silent = TimedAudio(np.zeros(800, np.float32))
    with pytest.raises(OptionError, match="has an autoregressive text stage, which has no durations"):
        Voice.load(make_bundle("autoregressive")).fill(silent, 0.2, 0.6, "on")
    with pytest.raises(OptionError, match="makes no prompts of recordings"):
        Voice.load(make_bundle()).fill(silent, 0.2, 0.6, "on")


def test_words_of_an_aligner_are_read_first(voice, speech):
    """Numbers and signs are no words as they are spoken."""
    first, second, *others = speech.words
    written = (dataclasses.replace(first, word="42"), dataclasses.replace(second, word="*"), *others)
    edited = voice.edit(TimedAudio(speech.audio, written), "sunny", "cloudy")
    assert spoken(edited) == ["forty", "two", *TEXT.replace("sunny", "cloudy").split()[2:]]
    forty, two = edited.words[:2]
    assert (forty.start, two.end) == (first.start, first.end)
    assert forty.end == two.start
    assert spoken(voice.edit(TimedAudio(speech.audio, written), "42 all", "they all"))[0] == "they"


@pytest.mark.parametrize("options", [{"duration": 3}, {"budget_ms": 100}, {"volume": 2}])
def test_options_of_whole_texts_are_refused(voice, speech, options):
    with pytest.raises(OptionError, match="take no duration, budget_ms or volume"):
        voice.edit(speech, "sunny", "cloudy", **options)
