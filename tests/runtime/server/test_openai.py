"""The official client of OpenAI, unchanged but for its address."""

from __future__ import annotations

import pytest
import soundfile

pytest.importorskip("openai", reason="openai is absent: pip install 'soundstorm-edge[dev]'")

import openai

from soundstorm_runtime.server.encoding import ffmpeg

from .conftest import SENTENCE


@pytest.fixture
def ask(served):
    with openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_speech_to_a_file(ask, tmp_path):
    answer = ask.audio.speech.create(model="tts-1", voice="alloy", input=SENTENCE)
    answer.write_to_file(tmp_path / "speech.mp3")
    audio, _ = soundfile.read(tmp_path / "speech.mp3")
    assert len(audio) > 1000


AAC = pytest.param("aac", marks=pytest.mark.skipif(ffmpeg() is None, reason="ffmpeg is absent"))


@pytest.mark.parametrize("response_format", ["mp3", "opus", AAC, "flac", "wav", "pcm"])
def test_speech_as_it_is_made(ask, response_format):
    with ask.audio.speech.with_streaming_response.create(
        model="gpt-4o-mini-tts-2025-12-15",
        voice="coral",
        input=SENTENCE,
        instructions="Speak cheerfully.",
        response_format=response_format,
        speed=4.0,
        extra_body={"seed": 7},
    ) as answer:
        assert sum(map(len, answer.iter_bytes(512))) > 500


def test_errors_are_of_the_right_class(ask, bundle, start):
    with pytest.raises(openai.BadRequestError, match="voice 'bob' was asked for") as refused:
        ask.audio.speech.create(model="tts-1", voice="bob", input=SENTENCE)
    assert refused.value.param == "voice"
    with pytest.raises(openai.NotFoundError, match="model 'whisper-1'"):
        ask.audio.speech.create(model="whisper-1", voice="alloy", input=SENTENCE)
    with start(bundle, SOUNDSTORM_TOKEN="secret") as guarded:
        url = f"{guarded.url}/v1"
        with pytest.raises(openai.AuthenticationError, match="the token is absent or wrong"):
            openai.OpenAI(base_url=url, api_key="wrong").models.list()
        assert openai.OpenAI(base_url=url, api_key="secret").models.list().data[0].id == "tiny"


def test_models(ask):
    (model,) = ask.models.list().data
    assert ask.models.retrieve(model.id) == model
