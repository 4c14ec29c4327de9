"""Voices that clients make of recordings: by forms, and with the official client of OpenAI."""

from __future__ import annotations

import io
import json
import shutil
import subprocess

import numpy as np
import pytest
import soundfile

from soundstorm_runtime.audio.recording import read_recording
from soundstorm_runtime.bundle.prompts import read_prompt
from soundstorm_runtime.bundle.reader import read_bundle
from soundstorm_runtime.errors import OptionError
from soundstorm_runtime.server import uploaded_voices
from soundstorm_runtime.server.processes import serve
from soundstorm_runtime.server.settings import Settings
from soundstorm_runtime.voice import Voice

from ..conftest import SENTENCE, SPEECH

RATE = 16_000
VOICES = "/v1/voices"


def tone(seconds=2.0, hertz=110.0, level=0.3):
    time = np.arange(round(seconds * RATE)) / RATE
    return level * np.sin(2 * np.pi * hertz * time) * (0.3 + 0.7 * np.abs(np.sin(9 * time)))


def sound(audio=None, format="WAV"):
    file = io.BytesIO()
    soundfile.write(file, tone() if audio is None else audio, RATE, format=format)
    return file.getvalue()


@pytest.fixture
def uploads(tmp_path):
    return tmp_path / "uploads"


@pytest.fixture
def asked(client, make_bundle, uploads):
    return client(make_bundle(hears=True, voices={"slt": 6}), voice_uploads=uploads)


def upload(asked, name="anna", content=None, path=VOICES, key="audio_sample", **fields):
    files = {key: ("anna.wav", sound() if content is None else content, "audio/wav")}
    return asked.post(path, data={"name": name} | fields, files=files)


def listed(asked):
    return [voice["id"] for voice in asked.get(VOICES).json()["voices"]]


def speech(asked, voice):
    answer = asked.post(SPEECH, json={"input": SENTENCE, "response_format": "wav", "voice": voice})
    assert answer.status_code == 200, answer.text
    return answer.content


@pytest.mark.parametrize("format", ["WAV", "FLAC", "OGG", "MP3"])
def test_a_recording_becomes_a_voice_at_once(asked, uploads, format):
    assert listed(asked) == ["default", "slt"]
    answer = upload(asked, content=sound(format=format))
    assert answer.status_code == 200, answer.text
    made = answer.json()
    assert (made["id"], made["object"], made["uploaded"]) == ("anna", "audio.voice", True)
    assert made["description"].startswith("Made of ")
    assert listed(asked) == ["default", "slt", "anna"]
    assert "anna" in asked.get("/voices").json()["voices"]
    assert speech(asked, "anna") != speech(asked, "slt")
    assert speech(asked, {"id": "anna"}) == speech(asked, "anna")
    assert [file.name for file in uploads.iterdir()] == ["anna.npz"]


def test_it_is_the_prompt_that_the_command_makes(asked, uploads, tmp_path):
    (tmp_path / "anna.wav").write_bytes(sound())
    upload(asked)
    bundle = read_bundle(tmp_path / "parallel")
    made = read_prompt(uploads / "anna.npz", bundle.manifest)
    recording = read_recording(tmp_path / "anna.wav")
    expected = Voice.load(bundle.path).prompt(recording.samples, recording.sample_rate)
    np.testing.assert_array_equal(made.codes, expected.codes)
    np.testing.assert_array_equal(made.semantic_tokens, expected.semantic_tokens)


def test_a_voice_is_deleted(asked, uploads):
    upload(asked)
    answer = asked.delete(f"{VOICES}/anna")
    assert answer.json() == {"id": "anna", "object": "audio.voice.deleted", "deleted": True}
    assert listed(asked) == ["default", "slt"]
    assert list(uploads.iterdir()) == []
    assert asked.delete(f"{VOICES}/anna").status_code == 404
    assert asked.delete(f"{VOICES}/slt").status_code == 403
    for name in ("..%2F..%2Fetc", "%2E%2E", "x" * 500, "a%00b"):
        assert asked.delete(f"{VOICES}/{name}").status_code == 404
    answer = asked.post(SPEECH, json={"input": SENTENCE, "voice": "anna"})
    assert "voice 'anna' was asked for" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"no sound", "the recording is not audio that can be read"),
        (b"", "the recording is not audio that can be read"),
        (sound(np.zeros(2 * RATE)), "at -120 dB of full scale, expected -50 or more"),
        (sound(tone(0.5)), "0.50 s of speech, expected 1 s or more"),
        (sound(tone(121.0)), "the recording has 121 s, expected 120 s at most; cut it"),
        (sound(np.clip(tone(level=9), -1, 1)), "is clipped"),
    ],
)
def test_a_recording_that_cannot_serve_is_refused(asked, uploads, content, says):
    answer = upload(asked, content=content)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "audio_sample"
    assert says in answer.json()["error"]["message"]
    assert list(uploads.iterdir()) == []


def test_several_speakers_are_suspected(asked):
    two = np.concatenate([tone(hertz=100), tone(hertz=210)])
    (first, *_) = upload(asked, content=sound(two)).json()["warnings"]
    assert first.startswith("the recording may have several speakers: its pitch changes from 100 to 2")
    assert not any("several" in warning for warning in upload(asked, "one").json()["warnings"])


@pytest.mark.parametrize("name", ["", "../anna", "an na", "a" * 65, ".anna", "anna.npz", "änna", "a/b"])
def test_a_name_that_is_no_name_is_refused(asked, name):
    answer = upload(asked, name)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "name")


def test_a_name_that_is_taken_is_refused(asked):
    assert upload(asked).status_code == 200
    for name in ("anna", "slt", "default"):
        answer = upload(asked, name)
        assert (answer.status_code, answer.json()["error"]["param"]) == (409, "name")


def test_there_is_a_limit_on_voices(asked, monkeypatch):
    monkeypatch.setattr(uploaded_voices, "MOST_VOICES", 1)
    assert upload(asked).status_code == 200
    assert "the most that are kept" in upload(asked, "ben").json()["error"]["message"]


def test_a_file_that_is_too_large_is_refused(asked):
    answer = upload(asked, content=bytes(11 << 20))
    assert answer.status_code == 413
    assert "send a shorter recording" in answer.json()["error"]["message"]


def test_what_is_no_form_is_refused_with_a_hint(asked):
    answer = asked.post(VOICES, json={"name": "anna"})
    assert answer.status_code == 415
    assert "multipart/form-data" in answer.json()["error"]["message"]
    assert (
        asked.post(VOICES, data={"name": "a"}, files={"other": b""}).json()["error"]["param"]
        == "audio_sample"
    )
    garbage = {"Content-Type": "multipart/form-data; boundary=x"}
    assert asked.post(VOICES, content=b"no form", headers=garbage).status_code == 400


def test_a_file_that_is_no_prompt_is_no_voice(asked, uploads):
    (uploads / "odd.npz").write_bytes(b"no prompt")
    assert listed(asked) == ["default", "slt"]


def test_uploads_are_off_unless_asked_for_and_need_a_token(client, make_bundle, uploads, tmp_path):
    bundle = make_bundle(hears=True)
    asked = client(bundle)
    assert asked.get(VOICES).json()["uploads"] is False
    assert upload(asked).json()["error"]["code"] == "uploads_off"
    guarded = client(bundle, voice_uploads=uploads, token="secret")
    assert upload(guarded).status_code == guarded.get(VOICES).status_code == 401
    with pytest.raises(OptionError, match="--voice-uploads lets clients make voices, which needs a token"):
        serve(Settings(bundle, voice_uploads=uploads))


def test_a_voice_that_makes_no_prompts_says_so(client, bundle, uploads):
    answer = upload(client(bundle, voice_uploads=uploads))
    assert answer.status_code == 400
    assert "voice 'tiny' makes no prompts of recordings" in answer.json()["error"]["message"]


def test_the_official_client_curl_and_several_processes(start, make_bundle, uploads, tmp_path):
    openai = pytest.importorskip("openai")
    bundle = make_bundle(hears=True, voices={"slt": 6})
    options = ("--workers", 2, "--voice-uploads", uploads)
    with start(bundle, *options, SOUNDSTORM_TOKEN="secret") as served:
        ask = openai.OpenAI(base_url=f"{served.url}/v1", api_key="secret", max_retries=0)
        made = ask.audio.voices.create(name="anna", audio_sample=("anna.wav", sound()), consent="cons_1")
        assert (made.id, made.object) == ("anna", "audio.voice")
        spoken = {}
        for name in ("anna", "slt"):
            spoken[name] = {  # each on a connection of its own, so that both processes are asked
                openai.OpenAI(base_url=f"{served.url}/v1", api_key="secret", max_retries=0)
                .audio.speech.create(model="tts-1", voice={"id": name}, input=SENTENCE)
                .content
                for _ in range(6)
            }
        assert len(spoken["anna"]) == len(spoken["slt"]) == 1
        assert spoken["anna"] != spoken["slt"]
        with pytest.raises(openai.ConflictError, match="there is a voice 'anna'"):
            ask.audio.voices.create(name="anna", audio_sample=sound(), consent="cons_1")
        if curl := shutil.which("curl"):
            (tmp_path / "ben.wav").write_bytes(sound())
            form = ("-F", "name=ben", "-F", f"audio_sample=@{tmp_path / 'ben.wav'}")
            command = [curl, "-sf", f"{served.url}{VOICES}", "-H", "Authorization: Bearer secret", *form]
            assert json.loads(subprocess.check_output(command))["id"] == "ben"
        assert ask.audio.voices.delete("anna").deleted
        with pytest.raises(openai.BadRequestError, match="voice 'anna' was asked for"):
            ask.audio.speech.create(model="tts-1", voice={"id": "anna"}, input=SENTENCE)
