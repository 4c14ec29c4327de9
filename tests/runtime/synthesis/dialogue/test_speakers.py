"""Dialogues of a tiny real voice: one sequence, known prompts in it, times, overlaps, and streams."""

from __future__ import annotations

import numpy as np
import pytest

from soundstorm_runtime import Voice, read_ssml
from soundstorm_runtime.engines.base import Engine
from soundstorm_runtime.errors import OptionError, TextError
from soundstorm_runtime.synthesis.dialogue import speakers
from soundstorm_runtime.synthesis.dialogue.timeline import GAP_SECONDS
from soundstorm_runtime.synthesis.dialogue.turns import Turn

TURNS = [("slt", "Good morning."), ("rms", "How are you?"), ("slt", "Well, thank you.")]


@pytest.fixture
def voice(make_bundle):
    return Voice.load(make_bundle(voices={"slt": 40, "rms": 60}), threads=1, provider="cpu")


def steps(monkeypatch):
    """Return a list that gets the inputs of every step from now on."""
    found, run = [], Engine.run

    def watched(engine, feeds):
        if engine.graph.name == "step":
            found.append({name: np.array(array) for name, array in feeds.items()})
        return run(engine, feeds)

    monkeypatch.setattr(Engine, "run", watched)
    return found


def test_all_turns_are_decoded_in_one_sequence(voice, monkeypatch):
    seen = steps(monkeypatch)
    spoken = voice.dialogue(TURNS, seed=1)
    assert len(seen) == sum(voice.options.steps)
    slt, rms = (voice.named(name) for name in ("slt", "rms"))
    tokens = seen[0]["semantic_tokens"][0, ::2].tolist()
    text = [
        "".join(f"{token}," for token in part) for part in (tokens, slt.semantic_tokens, rms.semantic_tokens)
    ]
    assert text[0].startswith(text[1])  # the first speaker's prompt, then the other's, then its end again
    assert text[2] in text[0]
    anchor = "".join(f"{token}," for token in slt.semantic_tokens[-25:])
    assert text[0].count(anchor) == 2
    assert spoken.audio.dtype == np.float32


def test_turns_have_times_and_gaps(voice):
    spoken = voice.dialogue(TURNS)
    assert [(turn.voice, turn.text) for turn in spoken.turns] == TURNS
    first, second, third = spoken.turns
    assert first.start == 0
    for before, after in ((first, second), (second, third)):
        assert after.start - before.end == pytest.approx(GAP_SECONDS, abs=0.002)
        silent = spoken.audio[round(before.end * 800) : round(after.start * 800)]
        assert not silent.any()
    assert len(spoken.audio) == round(third.end * 800)
    for turn in spoken.turns:
        assert turn.start < turn.words[0].start < turn.words[-1].end <= turn.end
        word = turn.words[0]
        assert turn.text[slice(*word.span)].lower() == word.word
    assert second.to_json()["words"][0]["word"] == "how"
    lengths = [voice.seconds(text) for _, text in TURNS]
    assert [turn.end - turn.start for turn in spoken.turns] == pytest.approx(lengths, abs=0.002)


def test_overlaps_are_mixed_from_both_turns(voice):
    apart = voice.dialogue([TURNS[0], Turn("rms", "How are you?", gap=1.0)])
    over = voice.dialogue([TURNS[0], ("rms", "[overlap 0.2s] How are you?")])
    first, second = over.turns
    assert first.end - second.start == pytest.approx(0.2, abs=0.002)
    length = round(first.end * 800)
    alone, other = apart.audio[:length], apart.audio[length + 800 :]
    mixed = np.zeros(len(over.audio), np.float32)
    mixed[:length] += alone
    mixed[len(mixed) - len(other) :] += other
    np.testing.assert_allclose(over.audio, mixed.clip(-1, 1), atol=1e-6)


def test_a_back_channel_lies_inside_the_turn_before(voice):
    spoken = voice.dialogue(
        [("slt", "This is a long sentence, and it goes on."), Turn("rms", "Yes.", gap=-2.0)]
    )
    first, second = spoken.turns
    assert first.start <= second.start < second.end < first.end
    after = voice.dialogue(
        [("slt", "This is a long sentence, and it goes on."), Turn("rms", "Yes.", gap=-2.0), ("slt", "So.")]
    )
    assert after.turns[2].start == pytest.approx(first.end + GAP_SECONDS, abs=0.002)


def test_the_same_seed_gives_the_same_dialogue(voice):
    one, same, other = (voice.dialogue(TURNS, seed=seed).audio for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_long_dialogues_are_decoded_in_passes(voice, monkeypatch):
    monkeypatch.setattr(speakers, "PASS_SECONDS", 9.0)
    seen = steps(monkeypatch)
    spoken = voice.dialogue(TURNS * 3)
    assert len(seen) > sum(voice.options.steps)
    assert max(feeds["codes"].shape[1] for feeds in seen) <= (9 + 3 + 2) * 50
    assert len(spoken.turns) == 9


def test_streams_have_the_same_turns(voice, monkeypatch):
    turns = [*TURNS, Turn("rms", "Yes.", gap=-0.5), ("slt", "Goodbye."), Turn("rms", "Bye.", gap=-60.0)]
    whole = voice.dialogue(turns)
    chunks = list(voice.stream_dialogue(turns))
    assert sum(len(chunk.audio) for chunk in chunks) == len(whole.audio)
    spoken = [turn for chunk in chunks for turn in chunk.turns]
    assert [(t.voice, t.text) for t in spoken] == [(t.voice, t.text) for t in whole.turns]
    for streamed, own in zip(spoken, whole.turns, strict=True):
        assert (streamed.start, streamed.end) == pytest.approx((own.start, own.end), abs=1e-6)
        assert [(w.word, w.span) for w in streamed.words] == [(w.word, w.span) for w in own.words]
        starts = [word.start for word in own.words]
        assert [word.start for word in streamed.words] == pytest.approx(starts, abs=1e-6)
    assert len(chunks[0].audio) < len(whole.audio) / 2


def test_a_streamed_turn_continues_the_one_before(voice, monkeypatch):
    seen = steps(monkeypatch)
    voice.dialogue(TURNS[:2])
    whole = seen[0]["semantic_tokens"][0, ::2].tolist()
    slt, rms = (voice.named(name).semantic_tokens.tolist() for name in ("slt", "rms"))
    end = next(place for place in range(len(whole)) if whole[place : place + len(rms)] == rms)
    tail = whole[len(slt) : end][-50:]  # 2 s
    seen.clear()
    list(voice.stream_dialogue(TURNS[:2]))
    shown = [feeds["semantic_tokens"][0, ::2].tolist() for feeds in seen]
    before = [tail + rms == tokens[: len(tail) + len(rms)] for tokens in shown]
    assert before == sorted(before)  # the first turn follows its prompt alone
    assert 0 < sum(before) < len(before)


def test_ssml_has_turns(voice):
    document = (
        '<speak><voice name="slt">Good morning. How are you?</voice><break time="1s"/>'
        '<voice name="rms">Well.</voice></speak>'
    )
    ssml = read_ssml(document)
    first, second = voice.dialogue(ssml).turns
    assert [word["text"] for word in first.to_json(document)["words"]] == "Good morning How are you".split()
    assert (first.voice, second.voice) == ("slt", "rms")
    assert first.text == "Good morning. How are you?"
    assert second.start == pytest.approx(first.end, abs=0.002)


def test_ssml_names_voices_of_the_bundle_and_no_files(voice):
    with pytest.raises(OptionError, match=r"voice 'slt.npz' was asked for, but the bundle has"):
        voice.dialogue(read_ssml('<speak><voice name="slt.npz">Good morning.</voice></speak>'))


def test_ssml_has_gaps_and_overlaps(voice):
    document = (
        '<speak><voice name="slt">Good morning.</voice>'
        '<voice name="rms">[overlap 0.2s] How are <mark name="a"/>you?</voice> [gap 1s]'
        '<voice name="slt">Well.</voice></speak>'
    )
    first, second, third = voice.dialogue(read_ssml(document)).turns
    assert second.text == "How are you?"
    assert [word["text"] for word in second.to_json(document)["words"]] == "How are you".split()
    assert first.end - second.start == pytest.approx(0.2, abs=0.002)
    assert third.start - second.end == pytest.approx(1, abs=0.002)
    for wrong in ("Well, [gap 1s] yes.", "[gap 1s][gap 2s] Yes."):
        with pytest.raises(TextError, match="has more than one gap, or one that is not at its start"):
            voice.dialogue(read_ssml(f"<speak>{wrong}</speak>"))


def test_one_speaker_without_prompts_can_talk_to_himself(make_bundle):
    voice = Voice.load(make_bundle(), threads=1, provider="cpu")
    spoken = voice.dialogue([(None, "Good morning."), (None, "How are you?")])
    assert [turn.voice for turn in spoken.turns] == [None, None]


@pytest.mark.parametrize("options", [{"duration": 3}, {"budget_ms": 100}])
def test_options_of_one_speaker_are_refused(voice, options):
    with pytest.raises(OptionError, match="a dialogue takes no duration or budget_ms"):
        voice.dialogue(TURNS, **options)


def test_turns_that_cannot_be_spoken_are_named(voice):
    with pytest.raises(TextError, match="turn 2: text is empty"):
        voice.dialogue([TURNS[0], ("rms", " ")])
    with pytest.raises(OptionError, match="turn 2: voice 'bob' was asked for"):
        voice.stream_dialogue([TURNS[0], ("bob", "Hello.")])
    with pytest.raises(OptionError, match="turn 1: voice is 5, expected a name"):
        voice.dialogue([(5, "Hello.")])
    with pytest.raises(TextError, match="text '' has no speakable character"):
        voice.dialogue(read_ssml('<speak><voice name="slt"> </voice></speak>'))
