"""The WebSocket, with the client library `websockets` and a server that runs as a process."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager

import numpy as np
import pytest
from starlette.testclient import TestClient
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from soundstorm_runtime import Voice
from soundstorm_runtime.server.app import create_app
from soundstorm_runtime.server.encoding import PCM_RATE
from soundstorm_runtime.server.routes import speech_socket
from soundstorm_runtime.server.settings import Settings
from soundstorm_runtime.synthesis.incremental_speech import IncrementalSpeech

from ..test_processes import LONG, counts, until

TEXT = "It costs $100. Hello there. Good day"
PATH = speech_socket.PATH


class Client:
    """A client of the WebSocket, and what it has received."""

    def __init__(self, socket):
        self.socket = socket
        self.audio, self.events = b"", []

    def send(self, type, **fields):
        self.socket.send(json.dumps({"type": type, **fields}))

    def until(self, type):
        """Receive until an event of a type, which is returned."""
        while True:
            message = self.socket.recv(timeout=120)
            if isinstance(message, bytes):
                self.audio += message
                continue
            self.events.append(json.loads(message))
            if self.events[-1]["type"] == type:
                return self.events[-1]

    def until_audio(self):
        """Receive until there is sound."""
        while not self.audio:
            message = self.socket.recv(timeout=120)
            self.audio += message if isinstance(message, bytes) else b""

    def words(self):
        return [w for e in self.events if e["type"] == "speech.words.delta" for w in e["words"]]


@contextmanager
def opened(served, **options):
    with connect(served.url.replace("http", "ws") + PATH, proxy=None, **options) as socket:
        yield Client(socket)


@pytest.fixture
def client(served):
    with opened(served) as client:
        yield client


def seconds(audio):
    return len(audio) / 2 / PCM_RATE


def test_a_text_is_spoken_as_it_is_appended(client, bundle):
    client.send("start")
    for fragment in ("It costs ", "$100. Hel", "lo there. ", "Good day"):
        client.send("append", text=fragment)
    client.send("finish")
    client.until("speech.done")
    assert [event["type"] for event in client.events] == ["speech.started", "speech.done"]
    voice = Voice.load(bundle)
    samples = sum(map(len, voice.stream(TEXT)))
    assert seconds(client.audio) == pytest.approx(samples / voice.sample_rate, abs=0.01)
    assert np.frombuffer(client.audio, "<i2").any()


def test_sound_comes_before_the_text_is_complete(client):
    client.send("start")
    client.send("append", text="Hello there. And")
    client.until_audio()
    client.send("append", text=" then")
    client.send("finish")
    begun = len(client.audio)
    client.until("speech.done")
    assert len(client.audio) > begun


def test_flush_speaks_what_is_incomplete(client):
    client.send("start")
    client.send("append", text="Hello")
    client.send("flush")
    client.until("speech.flushed")
    first = len(client.audio)
    assert first > 0
    client.send("flush")  # nothing is left
    client.until("speech.flushed")
    assert len(client.audio) == first
    client.send("append", text="there")
    client.send("finish")
    client.until("speech.done")
    assert len(client.audio) > first


def test_words_come_with_their_times_and_places(client):
    client.send("start", timestamp_granularities=["word", "phone"])
    for place in range(0, len(TEXT), 5):
        client.send("append", text=TEXT[place : place + 5])
    client.send("finish")
    client.until("speech.done")
    words = client.words()
    assert [word["word"] for word in words] == "it costs one hundred dollars hello there good day".split()
    assert all(word["text"] == TEXT[slice(*word["span"])] and word["phones"] for word in words)
    starts = [word["start"] for word in words]
    assert starts == sorted(starts)
    assert words[-1]["end"] <= seconds(client.audio) + 0.01


def test_texts_follow_each_other_and_their_options_are_their_own(client):
    lengths = []
    for speed in (1, 4):
        client.send("start", speed=speed, colour="red")
        client.send("append", text="Hello there, and good day.")
        client.send("finish")
    for _ in range(2):
        before = len(client.audio)
        client.until("speech.done")
        lengths.append(len(client.audio) - before)
    assert lengths[1] < 0.7 * lengths[0]  # each phone lasts one token of 40 ms at least
    assert client.events[0] == {"type": "speech.started", "ignored": ["colour"]}


def test_cancel_stops_at_once_and_another_text_may_follow(start, slow_bundle):
    with start(slow_bundle) as served, opened(served) as client:
        client.send("start")
        client.send("append", text=LONG)
        client.until_audio()
        cancelled = time.monotonic()
        client.send("cancel")
        client.until("speech.cancelled")
        assert time.monotonic() - cancelled < 20  # of minutes
        heard = len(client.audio)
        client.send("append", text="There is no text now.")
        assert client.until("error")["error"]["code"] == "no_text"
        assert len(client.audio) == heard
        client.send("start")
        client.send("append", text="Go.")
        client.send("finish")
        client.until("speech.done")
        assert counts(served.url)["soundstorm_abandoned_total"] == 1


def test_a_client_that_hangs_up_stops_the_work(start, slow_bundle):
    with start(slow_bundle) as served:
        with opened(served) as client:
            client.send("start")
            client.send("append", text=LONG)
            client.until("speech.started")
            client.until_audio()
        until(lambda: counts(served.url)["soundstorm_texts"] == 0)


@pytest.mark.parametrize(
    ("message", "code", "says"),
    [
        ("{", 1007, "the message is not JSON"),
        (b"\x00\x01", 1007, "a binary message was sent, expected JSON"),
        ("[]", 1008, "the message: "),
        ("{}", 1008, "the message: "),
        ('{"type": "shout"}', 1008, "the message: Input tag 'shout'"),
        ('{"type": "' + 200 * "漢" + '"}', 1008, "the message: Input tag '漢"),
        ('{"type": "append"}', 1008, "append.text: Field required"),
        ('{"type": "append", "text": 3}', 1008, "append.text: Input should be a valid string"),
        ('{"type": "start", "speed": 9}', 1008, "start.speed: Input should be less than or equal to 4"),
        ('{"type": "start", "response_format": "mp3"}', 1008, "start.response_format: Input should be 'pcm'"),
    ],
)
def test_garbage_is_named_and_closes_the_connection(client, message, code, says):
    client.socket.send(message)
    assert says in client.until("error")["error"]["message"]
    with pytest.raises(ConnectionClosed) as closed:
        client.socket.recv(timeout=120)
    assert closed.value.rcvd.code == code
    assert closed.value.rcvd.reason


def test_a_failure_of_ours_is_an_error_and_the_connection_stays(bundle, monkeypatch):
    """In this process, where the voice can be broken."""

    def broken(*_):
        raise RuntimeError("the engine has failed")

    with (
        TestClient(create_app(Settings(bundle)), "http://localhost") as asked,
        asked.websocket_connect(f"ws://localhost{PATH}") as socket,
    ):
        with monkeypatch.context() as patch:
            patch.setattr(IncrementalSpeech, "speak", broken)
            for message in ({"type": "start"}, {"type": "append", "text": "Hello."}, {"type": "finish"}):
                socket.send_json(message)
            assert socket.receive_json()["type"] == "speech.started"
            error = socket.receive_json()["error"]
        assert error["message"] == "the speech could not be made; the server's log says why"
        socket.send_json({"type": "start"})
        assert socket.receive_json()["type"] == "speech.started"


@pytest.mark.parametrize("first", ["start", "flush"])
def test_a_connection_on_which_nothing_happens_is_closed(bundle, monkeypatch, first):
    """Whether a text has begun or not."""
    with (
        TestClient(create_app(Settings(bundle)), "http://localhost") as asked,
        asked.websocket_connect(f"ws://localhost{PATH}") as socket,
    ):
        socket.send_json({"type": first})
        monkeypatch.setattr(speech_socket, "IDLE_SECONDS", 0.1)
        socket.send_json({"type": "flush"})
        while (event := socket.receive_json())["type"] != "error":
            assert event["type"] in ("speech.started", "speech.flushed")
        assert event["error"]["message"] == "nothing was sent for 0.1 s"


def test_a_message_that_is_too_large_closes_the_connection(client):
    client.send("start")
    client.send("append", text="a" * 100_000)
    with pytest.raises(ConnectionClosed) as closed:
        client.until("error")
    assert closed.value.rcvd.code == 1009


def test_too_much_text_is_refused(client):
    client.send("start")
    for _ in range(4):
        client.send("append", text="Hello there. " * 2000)
    assert "wait to be spoken" in client.until("error")["error"]["message"]
    with pytest.raises(ConnectionClosed) as closed:
        client.socket.recv(timeout=120)
    assert closed.value.rcvd.code == 1008


@pytest.mark.parametrize(
    ("fields", "text", "says"),
    [
        ({}, "?!", "no speakable character"),
        ({}, "", "text is empty"),
        ({"voice": "bob"}, "Hello.", "voice 'bob' was asked for"),
        ({"model": "whisper-1"}, "Hello.", "model 'whisper-1' was asked for"),
    ],
)
def test_what_cannot_be_spoken_ends_the_text_and_not_the_connection(client, fields, text, says):
    client.send("start", **fields)
    client.send("append", text=text)
    client.send("finish")
    assert says in client.until("error")["error"]["message"]
    client.send("start")
    client.send("append", text="Hello.")
    client.send("finish")
    client.until("speech.done")
    assert client.audio


def test_characters_that_are_not_spoken_are_named_once(client):
    client.send("start")
    for fragment in ("Good 漢 day. ", "Hello 漢字 there. ", "Bye."):
        client.send("append", text=fragment)
    client.send("finish")
    client.until("speech.done")
    named = [event["characters"] for event in client.events if event["type"] == "speech.dropped"]
    assert "".join(named) == "漢字"


def test_a_second_start_is_refused(client):
    client.send("start")
    client.send("start")
    assert "finish or cancel it" in client.until("error")["error"]["message"]


def test_the_token_the_host_and_the_origin_are_checked(start, bundle):
    with start(bundle, "--origin", "https://app.example.org", SOUNDSTORM_TOKEN="secret") as served:
        right = {"Authorization": "Bearer secret"}
        for headers, origin, status in (
            ({}, None, 401),
            ({"Authorization": "Bearer wrong"}, None, 401),
            (right, "https://evil.example.org", 403),
        ):
            with (
                pytest.raises(InvalidStatus) as refused,
                opened(served, additional_headers=headers, origin=origin),
            ):
                pass
            assert refused.value.response.status_code == status
            assert json.loads(refused.value.response.body)["error"]["message"]
        for origin in (None, "https://app.example.org", served.url):
            with opened(served, additional_headers=right, origin=origin) as client:
                client.send("start")
                client.until("speech.started")


def test_a_page_of_another_name_is_refused(served):
    with (
        pytest.raises(InvalidStatus) as refused,
        opened(served, additional_headers={"Host": "evil.example.org"}),
    ):
        pass
    assert refused.value.response.status_code == 400


def test_a_full_queue_refuses_a_text_that_begins(start, slow_bundle):
    with start(slow_bundle, "--at-once", 1, "--queue", 0) as served, opened(served) as first:
        first.send("start")
        first.send("append", text=LONG)
        first.until_audio()
        with opened(served) as second:
            second.send("start")
            second.send("append", text="Hello.")
            second.send("finish")
            event = second.until("error")
            assert event["error"]["code"] == "rate_limit_exceeded"
            assert event["retry_after"] >= 1
