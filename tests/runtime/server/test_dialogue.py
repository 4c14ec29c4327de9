"""`/v1/audio/dialogue`: turns as JSON."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
import soundfile

from soundstorm_runtime import Voice
from soundstorm_runtime.synthesis.dialogue.turns import Turn
from tests.runtime.conftest import _make_bundle

DIALOGUE = "/v1/audio/dialogue"
TURNS = [
    {"voice": "slt", "input": "Good morning."},
    {"voice": {"id": "rms"}, "input": "[overlap 0.1s] How are you?"},
    {"input": "Well.", "gap": 0.5},
]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return _make_bundle(tmp_path_factory.mktemp("dialogue") / "voice", voices={"slt": 40, "rms": 60})


@pytest.fixture(scope="module")
def whole(bundle):
    turns = [("slt", "Good morning."), Turn("rms", "How are you?", -0.1), Turn(None, "Well.", 0.5)]
    return Voice.load(bundle).dialogue(turns)


def test_a_dialogue_is_spoken_whole_and_streamed(client, bundle, whole):
    asked = client(bundle)
    lengths = []
    for stream in (False, True):
        request = {"turns": TURNS, "response_format": "flac" if not stream else "wav", "stream": stream}
        answer = asked.post(DIALOGUE, json=request)
        assert answer.status_code == 200, answer.text
        if stream:
            lengths.append((len(answer.content) - 44) // 2)
        else:
            audio, rate = soundfile.read(io.BytesIO(answer.content), dtype="float32")
            assert rate == 800
            np.testing.assert_allclose(audio, whole.audio, atol=1e-4)
            lengths.append(len(audio))
    assert lengths[0] == lengths[1] == len(whole.audio)


def test_events_have_the_times_of_the_turns(client, bundle, whole):
    request = {"turns": TURNS, "response_format": "wav", "stream_format": "sse", "voice": "rms", "extra": 1}
    answer = client(bundle).post(DIALOGUE, json=request)
    assert answer.headers["X-Ignored-Fields"] == "extra"
    events = [json.loads(line.removeprefix("data: ")) for line in answer.text.split("\n\n") if line]
    turns = [turn for event in events if event["type"] == "speech.turns.delta" for turn in event["turns"]]
    assert [turn["voice"] for turn in turns] == ["slt", "rms", "rms"]
    for found, own in zip(turns, whole.turns, strict=True):
        assert (found["start"], found["end"]) == pytest.approx((own.start, own.end), abs=1e-3)
    assert sum(len(base64.b64decode(event.get("audio", ""))) for event in events) == 44 + 2 * len(whole.audio)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"turns": []}, "turns"),
        ({"turns": [{"voice": "bob", "input": "Hello."}]}, "turn 1: voice 'bob' was asked for"),
        ({"turns": [{"voice": "slt:x,rms", "input": "Hello."}]}, "turn 1: the mixture 'slt:x,rms' has"),
        ({"turns": [{"voice": "slt+rms", "input": "Hello."}]}, "turn 1: a dialogue takes no mixed"),
        ({"turns": [TURNS[0], {"voice": "slt"}]}, "turns[1].input: Field required"),
        ({"turns": [{"input": "Hi.", "gap": "1"}]}, "turns[0].gap: Input should be a valid number"),
        ({"turns": ["Hi."]}, "turns[0]: Input should be"),
        ({"voice": "slt:x,rms"}, "the mixture 'slt:x,rms' has 'slt:x'"),
        ({"turns": [{"input": "[gap 100s] Hello."}]}, "a gap is 100 s"),
        (
            {"turns": [{"voice": "slt", "input": "Hello."}, {"input": "*"}]},
            "turn 2: text '*' has no speakable",
        ),
        ({"turns": [{"input": "Hello.", "speed": 2}]}, "turns[0].speed: Extra inputs are not permitted"),
        ({"turns": [{"input": "a" * 4000}] * 5}, "the turns have 20000 characters, expected"),
        ({"timestamp_granularities": ["word"]}, "a dialogue has the times of its turns"),
        ({"model": "other"}, "model 'other' was asked for"),
    ],
)
def test_what_cannot_be_spoken_is_refused(client, bundle, change, message):
    answer = client(bundle).post(DIALOGUE, json={"turns": TURNS} | change)
    assert answer.status_code in (400, 404, 422)
    error = answer.json()["error"]
    assert message in error["message"]
    assert error["param"] in change
