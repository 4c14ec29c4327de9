"""The routes: what they answer, and how they refuse."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import time
import wave
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import numpy as np
import pytest
import soundfile

from soundstorm_runtime import Voice
from soundstorm_runtime.errors import OptionError
from soundstorm_runtime.server import voice_service as speaker
from soundstorm_runtime.server.app import create_app
from soundstorm_runtime.server.encoding import PCM_RATE, ffmpeg
from soundstorm_runtime.server.request_queue import Busy, Jobs
from soundstorm_runtime.server.settings import Settings

from .conftest import SENTENCE, SPEECH
from .test_processes import until


@pytest.fixture(scope="module")
def spoken(bundle):
    """What the voice makes of the sentence by itself, float32 [samples], and its rate."""
    voice = Voice.load(bundle)
    return np.concatenate(list(voice.stream(SENTENCE))), voice.sample_rate


def error(answer) -> dict:
    assert answer.headers["content-type"] == "application/json"
    found = answer.json()["error"]
    assert set(found) == {"message", "type", "param", "code"}
    return found


def test_mp3_is_the_default(client, spoken):
    answer = client().post(SPEECH, json={"input": SENTENCE, "model": "tts-1", "voice": "alloy"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "audio/mpeg"
    audio, rate = soundfile.read(io.BytesIO(answer.content))
    assert rate == 8000  # the lowest that MP3 has: the tiny voice has 800
    assert len(audio) / rate >= len(spoken[0]) / spoken[1]


def test_pcm_is_what_the_voice_speaks_at_24_khz(client, spoken):
    answer = client().post(SPEECH, json={"input": SENTENCE, "response_format": "pcm"})
    audio, rate = spoken
    heard = np.frombuffer(answer.content, "<i2")
    assert len(heard) == pytest.approx(len(audio) * PCM_RATE / rate, abs=2)


def test_wav_is_what_the_voice_speaks(client, spoken):
    answer = client().post(SPEECH, json={"input": SENTENCE, "response_format": "wav"})
    heard = np.frombuffer(answer.content[44:], "<i2")
    np.testing.assert_allclose(heard / 32767, spoken[0], atol=2e-3)


def test_the_seed_is_heard(client):
    asked = client()
    first, again, other = (
        asked.post(SPEECH, json={"input": SENTENCE, "response_format": "wav", "seed": seed}).content
        for seed in (1, 1, 2)
    )
    assert first == again != other


def test_speed_is_heard(client):
    asked = client()
    normal, fast = (
        len(asked.post(SPEECH, json={"input": SENTENCE, "response_format": "wav", "speed": speed}).content)
        for speed in (1, 2.0)
    )
    assert fast < 0.8 * normal


def test_server_sent_events_carry_the_audio(client):
    asked = client()
    request = {"input": SENTENCE, "response_format": "wav"}
    answer = asked.post(SPEECH, json=request | {"stream_format": "sse"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [json.loads(line.removeprefix("data: ")) for line in answer.text.split("\n\n") if line]
    assert {event["type"] for event in events[:-1]} == {"speech.audio.delta"}
    audio = b"".join(base64.b64decode(event["audio"]) for event in events[:-1])
    assert audio == asked.post(SPEECH, json=request).content
    assert events[-1]["type"] == "speech.audio.done"
    usage = events[-1]["usage"]
    assert usage["input_tokens"] == len(SENTENCE)
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]


@pytest.mark.parametrize("granularities", [["word"], ["word", "phone"]])
def test_events_carry_the_times_of_words(client, granularities):
    text = "It costs $100. Hello there."
    request = {"input": text, "response_format": "pcm", "stream_format": "sse"}
    asked = client()
    answer = asked.post(SPEECH, json=request | {"timestamp_granularities": granularities})
    events = [json.loads(line.removeprefix("data: ")) for line in answer.text.split("\n\n") if line]
    times = [event for event in events if event["type"] == "speech.words.delta"]
    words = [word for event in times for word in event["words"]]
    assert [word["word"] for word in words] == "it costs one hundred dollars hello there".split()
    assert all(word["text"] == text[slice(*word["span"])] for word in words)
    assert all(("phones" in word) == ("phone" in granularities) for word in words)
    assert [word["start"] for word in words] == sorted(word["start"] for word in words)
    audio = b"".join(base64.b64decode(e["audio"]) for e in events if e["type"] == "speech.audio.delta")
    assert words[-1]["end"] <= len(audio) / 2 / PCM_RATE
    plain = asked.post(SPEECH, json=request).text
    assert "speech.words.delta" not in plain
    assert audio == asked.post(SPEECH, json=request | {"stream_format": "audio"}).content


@pytest.mark.parametrize("stream_format", ["audio", "sse"])
def test_the_header_names_characters_that_are_not_spoken(client, stream_format):
    asked, request = client(), {"response_format": "wav", "stream_format": stream_format}
    answer = asked.post(SPEECH, json=request | {"input": "Good 漢 day, 漢字."})
    assert answer.status_code == 200
    assert unquote(answer.headers["X-Dropped-Characters"]) == "漢字"
    plain = asked.post(SPEECH, json=request | {"input": SENTENCE, "strict": True})
    assert plain.status_code == 200
    assert "X-Dropped-Characters" not in plain.headers


def test_the_header_of_characters_that_are_not_spoken_has_a_limit(client):
    many = "".join(map(chr, range(0x4E00, 0x4E00 + 2000)))
    answer = client().post(SPEECH, json={"input": f"Good day. {many}"})
    assert unquote(answer.headers["X-Dropped-Characters"]) == many[:100]


def test_ssml_is_read(client):
    asked, request = client(), {"response_format": "wav", "input_type": "ssml"}
    plain = asked.post(SPEECH, json={"input": SENTENCE, "response_format": "wav"}).content
    assert asked.post(SPEECH, json=request | {"input": f"<speak>{SENTENCE}</speak>"}).content == plain
    silent = f'<speak>{SENTENCE}<break time="1s"/></speak>'
    rate = int.from_bytes(plain[24:28], "little")
    longer = asked.post(SPEECH, json=request | {"input": silent}).content
    assert len(longer) - len(plain) == 2 * rate


def test_pauses_can_be_set(client):
    asked, request = client(), {"response_format": "wav", "input": "Hello. There.\n\nGood day."}
    pauses = [(0, 0), (1, 0), (0, 1), (1, None)]
    lengths = [
        len(asked.post(SPEECH, json=request | {"sentence_pause": s, "paragraph_pause": p}).content)
        for s, p in pauses
    ]
    second = lengths[1] - lengths[0]
    assert second == lengths[2] - lengths[0] > 0
    assert lengths[3] - lengths[0] == 2 * second


def test_pauses_of_marks_and_the_volume_can_be_set(client):
    asked, request = client(), {"response_format": "wav", "input": "Hello? There."}
    plain, longer, silent = (
        asked.post(SPEECH, json=request | change).content
        for change in ({}, {"mark_pauses": {"?": 2.15}}, {"volume": 0})
    )
    assert len(longer) - len(plain) == 2 * 2 * int.from_bytes(plain[24:28], "little")
    assert not np.frombuffer(silent[44:], "<i2").any()


def test_a_text_is_read_once_and_not_at_all_by_a_full_server(client, monkeypatch):
    def refuse(_):
        raise Busy("the queue is full", 1)

    asked, read = client(), []
    sentences = Voice.sentences
    monkeypatch.setattr(Voice, "sentences", lambda *given: read.append(given) or sentences(*given))
    assert asked.post(SPEECH, json={"input": SENTENCE}).status_code == 200
    assert len(read) == 1
    monkeypatch.setattr(Jobs, "admit", refuse)
    assert asked.post(SPEECH, json={"input": SENTENCE}).status_code == 429
    assert len(read) == 1


def test_a_named_voice_sounds_different(client, make_bundle):
    asked = client(make_bundle(voices={"slt": 6, "alloy": 9}))
    assert asked.get("/voices").json() == {"default": "default", "voices": ["default", "slt", "alloy"]}
    heard = {
        name: asked.post(SPEECH, json={"input": SENTENCE, "response_format": "wav", "voice": name}).content
        for name in ("default", "slt", "alloy", "nova")
    }
    assert heard["default"] == heard["slt"] == heard["nova"]  # the first voice is the bundle's usual one
    assert heard["alloy"] != heard["slt"]  # a voice of the bundle comes before OpenAI's names


def test_models_and_health(client):
    asked = client()
    (model,) = asked.get("/v1/models").json()["data"]
    assert model["id"] == "tiny"
    assert model["object"] == "model"
    for name in ("tiny", "tts-1", "gpt-4o-mini-tts"):
        assert asked.get(f"/v1/models/{name}").json() == model
    assert error(asked.get("/v1/models/other"))["code"] == "model_not_found"
    assert asked.get("/health").json() == {"status": "ok", "model": "tiny", "working": 0, "waiting": 0}


@pytest.mark.parametrize(
    ("change", "param", "message"),
    [
        ({"input": "?!"}, "input", "text '?!' has no speakable character; give letters or digits"),
        ({"input": ""}, "input", "input: String should have at least 1 character"),
        ({"input": "a" * 4097}, "input", "input: String should have at most 4096 characters"),
        ({"input": None}, "input", "input: Input should be a valid string"),
        ({"voice": "bob"}, "voice", "voice 'bob' was asked for, but there are default; take one of these"),
        ({"speed": 4.5}, "speed", "speed: Input should be less than or equal to 4"),
        ({"response_format": "au"}, "response_format", "'mp3', 'opus', 'aac', 'flac', 'wav' or 'pcm'"),
        (
            {"timestamp_granularities": ["word"]},
            "timestamp_granularities",
            "timestamp_granularities was given without stream_format 'sse'",
        ),
        (
            {"input": "Good 漢 day.", "strict": True},
            "input",
            "text has characters that cannot be spoken: 漢; leave them out",
        ),
        (
            {"input": "<speak>Hello.\n <blink>there</blink></speak>", "input_type": "ssml"},
            "input",
            "SSML line 2, column 2: ",
        ),
        ({"input": "<speak>Hello.", "input_type": "ssml"}, "input", "SSML line 1, column 14: "),
        ({"input_type": "html"}, "input_type", "'text' or 'ssml'"),
        ({"paragraph_pause": -1.0}, "paragraph_pause", "greater than or equal to 0"),
    ],
)
def test_what_is_wrong_is_named(client, change, param, message):
    answer = client().post(SPEECH, json={"input": SENTENCE, "voice": "default"} | change)
    assert answer.status_code == 400
    facts = error(answer)
    assert facts["param"] == param
    assert message in facts["message"]
    assert facts["type"] == "invalid_request_error"


def test_unknown_fields_are_ignored_and_named(client):
    request = {"input": SENTENCE, "response_format": "wav"}
    asked = client()
    plain = asked.post(SPEECH, json=request)
    answer = asked.post(SPEECH, json=request | {"lang_code": "a", "colour": "red", "a,\r\nX: b": None})
    assert answer.status_code == 200
    assert answer.headers["X-Ignored-Fields"] == "a%2C%0D%0AX%3A%20b,colour,lang_code"
    assert "X-Ignored-Fields" not in plain.headers
    assert answer.content == plain.content


def test_null_is_the_default(client):
    asked, request = client(), {"input": SENTENCE, "response_format": "wav"}
    absent = dict.fromkeys(
        "model voice speed seed stream stream_format strict input_type instructions sentence_pause "
        "paragraph_pause timestamp_granularities".split()
    )
    plain, null = asked.post(SPEECH, json=request), asked.post(SPEECH, json=request | absent)
    assert (null.status_code, null.content) == (200, plain.content)
    assert asked.post(SPEECH, json={"input": SENTENCE, "response_format": None}).headers["content-type"] == (
        "audio/mpeg"
    )


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded"])
def test_a_body_that_is_not_said_to_be_json_is_refused_with_a_hint(client, kind):
    """As curl sends it without -H; a web page of another origin may send these without being asked."""
    answer = client().post(SPEECH, content=b'{"input": "Hello."}', headers={"Content-Type": kind})
    assert answer.status_code == 415
    assert "send the header 'Content-Type: application/json'" in error(answer)["message"]


def test_the_type_of_pcm_says_what_it_is(client):
    answer = client().post(SPEECH, json={"input": SENTENCE, "response_format": "pcm"})
    assert answer.headers["content-type"] == "audio/pcm;rate=24000;channels=1"


@pytest.mark.skipif(ffmpeg() is None, reason="ffmpeg is absent: apt-get install ffmpeg")
@pytest.mark.parametrize("stream", [True, False])
def test_aac_is_what_the_voice_speaks(client, spoken, stream):
    request = {"input": SENTENCE, "response_format": "aac", "stream": stream}
    answer = client().post(SPEECH, json=request)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "audio/aac")
    command = "ffmpeg -v error -f aac -i pipe:0 -f s16le pipe:1".split()
    heard = subprocess.run(command, input=answer.content, capture_output=True, check=True).stdout
    seconds = len(spoken[0]) / spoken[1]
    assert len(heard) / 2 / 8000 == pytest.approx(seconds, abs=0.4)  # frames of 128 ms, and one of delay


def test_aac_without_ffmpeg_is_refused(client, monkeypatch):
    monkeypatch.setenv("PATH", "")
    answer = client().post(SPEECH, json={"input": SENTENCE, "response_format": "aac"})
    assert (answer.status_code, error(answer)["param"]) == (400, "response_format")
    assert "needs the program ffmpeg" in error(answer)["message"]


def test_names_of_models_of_openai_may_have_dates(client):
    asked = client()
    for model in ("tts-1", "tts-1-1106", "tts-1-hd-1106", "gpt-4o-mini-tts-2025-12-15", "tiny", None):
        assert asked.post(SPEECH, json={"input": SENTENCE, "model": model}).status_code == 200
    for model in ("tts-2", "tts-1-2024-1", "gpt-4o-mini-tts-latest", ""):
        assert asked.post(SPEECH, json={"input": SENTENCE, "model": model}).status_code == 404


def test_an_unknown_model_is_refused(client):
    answer = client().post(SPEECH, json={"input": SENTENCE, "model": "whisper-1"})
    assert answer.status_code == 404
    assert (
        error(answer)["message"] == "model 'whisper-1' was asked for, but there is 'tiny' alone; leave it out"
    )


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff", b"", b'{"input": "\\ud800"}', b'{"input": NaN}'])
def test_a_body_that_is_no_request_is_refused(client, body):
    answer = client().post(SPEECH, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert error(answer)["type"] == "invalid_request_error"


def test_unknown_paths_and_methods_are_refused_in_the_same_form(client):
    asked = client()
    assert asked.get("/v1/nothing").status_code == 404
    answer = asked.put(SPEECH, json={})
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
    assert error(answer)["type"] == "invalid_request_error"


def test_a_failure_of_ours_tells_no_secrets(client, monkeypatch, caplog):
    asked = client()
    monkeypatch.setattr(Voice, "stream", lambda *_, **__: 1 / 0)
    answer = asked.post(SPEECH, json={"input": SENTENCE})
    assert answer.status_code == 500
    assert error(answer)["message"] == "the speech could not be made; the server's log says why"


def test_a_text_that_takes_too_long_is_given_up(client, monkeypatch):
    asked = client(time_limit=0.2)
    monkeypatch.setattr(Voice, "stream", lambda *_, **__: time.sleep(1))
    answer = asked.post(SPEECH, json={"input": SENTENCE})
    assert answer.status_code == 503
    assert error(answer)["code"] == "timeout"


def test_the_server_is_not_ready_while_it_stops_or_its_queue_is_full(client, monkeypatch):
    asked = client()
    assert asked.get("/health/live").status_code == asked.get("/health/ready").status_code == 200
    speaker = asked.app.state.speaker
    monkeypatch.setattr(type(speaker.jobs), "is_full", True)
    assert error(asked.get("/health/ready"))["code"] == "queue_full"
    speaker.is_stopping = True
    answer = asked.get("/health/ready")
    assert (answer.status_code, error(answer)["code"]) == (503, "stopping")
    assert asked.get("/health/live").status_code == 200


@pytest.mark.parametrize("format", ["wav", "flac"])
def test_without_stream_the_header_states_the_length(client, format):
    asked = client()
    request = {"input": SENTENCE, "response_format": format}
    whole = asked.post(SPEECH, json=request | {"stream": False}).content
    found = soundfile.info(io.BytesIO(whole))
    audio, rate = soundfile.read(io.BytesIO(whole), dtype="int16")
    assert len(audio) == found.frames > 0.1 * rate
    streamed = asked.post(SPEECH, json=request).content
    if format == "wav":
        with wave.open(io.BytesIO(whole)) as file:
            assert file.getnframes() == len(audio)
        assert whole[44:] == streamed[44:]
        with wave.open(io.BytesIO(streamed)) as file:  # states the longest length, and can be read
            assert file.readframes(file.getnframes()) == whole[44:]
        np.testing.assert_array_equal(soundfile.read(io.BytesIO(streamed), dtype="int16")[0], audio)
    assert whole[-1000:] == streamed[-1000:]


def test_metrics_count(client):
    asked = client()
    asked.post(SPEECH, json={"input": SENTENCE})
    asked.get("/made-up")
    until(lambda: "soundstorm_texts 0.0" in asked.get("/metrics").text)  # its thread ends after the response
    counts = dict(
        line.rsplit(" ", 1) for line in asked.get("/metrics").text.splitlines() if not line.startswith("#")
    )
    assert counts['soundstorm_requests_total{path="/v1/audio/speech",status="200"}'] == "1.0"
    assert counts['soundstorm_requests_total{path="other",status="404"}'] == "1.0"
    assert counts["soundstorm_first_audio_seconds_count"] == "1.0"
    assert float(counts["soundstorm_audio_seconds_total"]) > 0.1
    assert float(counts["soundstorm_step_batch_count"]) > 0
    for name in ("queue_wait_seconds", "speech_duration_seconds", "rtf"):
        assert counts[f"soundstorm_{name}_count"] == "1.0"
    assert any(line.startswith("soundstorm_build{version=") for line in counts)
    assert "process_resident_memory_bytes" in counts
    assert counts["soundstorm_texts"] == counts["soundstorm_speaking"] == "0.0"


def test_the_pages_fetch_nothing_from_elsewhere(client):
    asked = client()
    static = Path(asked.app.routes[-1].app.directory)  # type: ignore[attr-defined]
    for path in ("/", "/docs", *(f"/static/{file.name}" for file in static.iterdir())):
        answer = asked.get(path)
        assert answer.status_code == 200
        assert "script-src 'self'" in answer.headers["content-security-policy"]
        text = answer.text.replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text
        assert "https://" not in text
        assert " style=" not in text  # the policy forbids it


def test_a_voice_without_text_stage_is_refused(monkeypatch, tmp_path):
    mute = SimpleNamespace(manifest=SimpleNamespace(name="mute", text=None))
    monkeypatch.setattr(speaker, "read_bundle", lambda _: mute)
    with pytest.raises(OptionError, match="'mute' has no text stage, so it cannot be served; take another"):
        create_app(Settings(tmp_path))
