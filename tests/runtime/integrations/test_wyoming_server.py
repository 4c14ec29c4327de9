"""The Wyoming server, with the client library of the protocol, in one event loop and as a process."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
from contextlib import asynccontextmanager

import numpy as np
import pytest

pytest.importorskip("wyoming", reason="wyoming is absent: pip install 'soundstorm-edge[wyoming]'")

from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.error import Error
from wyoming.event import Event
from wyoming.info import Describe, Info
from wyoming.ping import Ping, Pong
from wyoming.tts import (
    Synthesize,
    SynthesizeChunk,
    SynthesizeStart,
    SynthesizeStop,
    SynthesizeStopped,
    SynthesizeVoice,
)

from soundstorm_runtime import Voice
from soundstorm_runtime.errors import OptionError
from soundstorm_runtime.integrations import wyoming_server

TEXT = "It costs $100. Hello there. Good day."


@asynccontextmanager
async def served(voice):
    """A server in this event loop; its port."""
    ready = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(wyoming_server.serve(voice, "tiny", "127.0.0.1", 0, ready.set_result))
    try:
        yield await asyncio.wait_for(ready, 120)
    finally:
        task.cancel()
        await asyncio.wait([task])


def with_client(voice, use):
    """Run `use(client)` with a client of a server."""

    async def run():
        async with served(voice) as port, AsyncTcpClient("127.0.0.1", port) as client:
            return await asyncio.wait_for(use(client), 60)

    return asyncio.run(run())


async def until(client, kind):
    """Read events until one of a kind; return those before it, and it."""
    found = []
    while True:
        event = await client.read_event()
        assert event is not None, "the server closed the connection"
        if kind.is_type(event.type):
            return found, event
        found.append(event)


async def heard(client):
    """Return the samples of one text, and their rate."""
    events, _ = await until(client, AudioStop)
    start = AudioStart.from_event(events[0])
    assert (start.width, start.channels) == (2, 1)
    chunks = [AudioChunk.from_event(event) for event in events[1:]]
    assert {(chunk.rate, chunk.width, chunk.channels) for chunk in chunks} == {(start.rate, 2, 1)}
    return np.frombuffer(b"".join(chunk.audio for chunk in chunks), "<i2"), start.rate


def streamed(speaker, text, **options):
    return np.rint(np.concatenate(list(speaker.stream(text, **options))).clip(-1, 1) * 32767).astype(np.int16)


def test_the_voices_are_described(voice):
    async def use(client):
        await client.write_event(Describe().event())
        return Info.from_event((await until(client, Info))[1])

    (program,) = with_client(voice, use).tts
    assert program.supports_synthesize_streaming
    assert program.installed
    assert [each.name for each in program.voices] == ["slt", "rms"]  # the default first
    assert all(each.languages == ["en"] for each in program.voices)


def test_a_whole_text_is_spoken(voice):
    async def use(client):
        await client.write_event(Synthesize(TEXT).event())
        first = await heard(client)
        await client.write_event(Synthesize(TEXT, voice=SynthesizeVoice(name="rms")).event())
        return first, await heard(client)

    (audio, rate), (other, _) = with_client(voice, use)
    assert rate == voice.sample_rate
    np.testing.assert_array_equal(audio, streamed(voice, TEXT))
    np.testing.assert_array_equal(other, streamed(voice, TEXT, voice="rms"))


def test_ssml_is_spoken(voice):
    async def use(client):
        document = f'<speak>{TEXT}<break time="1s"/></speak>'
        await client.write_event(Synthesize(document, text_format="ssml").event())
        return await heard(client)

    audio, rate = with_client(voice, use)
    assert len(audio) == len(streamed(voice, TEXT)) + rate


def test_a_text_in_chunks_is_spoken_as_it_comes(voice):
    async def use(client):
        await client.write_event(SynthesizeStart().event())
        for chunk in ("It costs $1", "00. Hello", " there. Good"):
            await client.write_event(SynthesizeChunk(chunk).event())
        before, first = await until(client, AudioChunk)  # though the text has no end yet
        await client.write_event(SynthesizeChunk(" day.").event())
        await client.write_event(Synthesize(TEXT).event())  # for servers that do not read chunks
        await client.write_event(SynthesizeStop().event())
        events, _ = await until(client, SynthesizeStopped)
        return [*before, first, *events]

    events = with_client(voice, use)
    assert AudioStart.is_type(events[0].type)
    assert AudioStop.is_type(events[-1].type)
    audio = b"".join(AudioChunk.from_event(event).audio for event in events[1:-1])
    np.testing.assert_array_equal(np.frombuffer(audio, "<i2"), streamed(voice, TEXT))


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (Synthesize("?!"), "no speakable character"),
        (Synthesize(""), "text is empty"),
        (Synthesize(TEXT, voice=SynthesizeVoice(name="bob")), "voice 'bob' was asked for"),
        (Synthesize("<speak>Hello.", text_format="ssml"), "SSML line 1"),
        (Synthesize("Hello.", text_format="html"), "text_format is 'html'"),
    ],
)
def test_what_cannot_be_spoken_is_an_error_and_the_connection_stays(voice, request_, says):
    async def use(client):
        await client.write_event(request_.event())
        error = Error.from_event((await until(client, Error))[1])
        await client.write_event(Synthesize("Hello.").event())
        return error, await heard(client)

    error, (audio, _) = with_client(voice, use)
    assert says in error.text
    assert len(audio)


def test_chunks_of_nothing_are_an_error_and_an_end(voice):
    async def use(client):
        for event in (SynthesizeStart(), SynthesizeChunk(" "), SynthesizeStop()):
            await client.write_event(event.event())
        return await until(client, SynthesizeStopped)

    events, _ = with_client(voice, use)
    assert [Error.is_type(event.type) for event in events] == [True]


def test_other_events_are_ignored_and_pings_answered(voice):
    async def use(client):
        await client.write_event(Event("select-program", {"name": "soundstorm"}))
        await client.write_event(SynthesizeStop().event())
        await client.write_event(Ping(text="there?").event())
        return Pong.from_event((await until(client, Pong))[1])

    assert with_client(voice, use).text == "there?"


def line(**head):
    return json.dumps(head).encode() + b"\n"


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff\xfe\n",
        b"[]\n",
        line(kind="describe"),
        line(type="synthesize"),
        line(type="synthesize", data={"text": 3}),
        line(type="synthesize", data=[1]),
        line(type="synthesize", data={"text": "Hello.", "voice": 3}),
        line(type="\ud800"),
        line(type="ping", data={"text": "half of a pair: \ud800"}),
        line(type="synthesize", data_length=10**12),
        line(type="synthesize", data_length=-1),
        line(type="synthesize", payload_length="x"),
        line(type="synthesize", data_length=3) + b"xyz",
        b"x" * 100_000 + b"\n",
        b"[" * 50_000 + b"\n",
    ],
)
def test_garbage_is_named_and_closes_the_connection_alone(voice, garbage):
    async def use(client):
        client._writer.write(garbage)
        error = Error.from_event((await until(client, Error))[1])
        assert error.code == "no-event"
        assert await client.read_event() is None
        return error.text

    assert with_client(voice, use)


def test_too_many_chunks_are_refused(voice):
    async def use(client):
        await client.write_event(SynthesizeStart().event())
        for _ in range(3):
            await client.write_event(SynthesizeChunk("Hello there. " * 2000).event())
        _, error = await until(client, Error)
        return Error.from_event(error).text

    assert "wait to be spoken" in with_client(voice, use)


def test_a_second_start_ends_the_text_before_it(voice):
    async def use(client):
        for event in (SynthesizeStart(), SynthesizeChunk("Hello."), SynthesizeStart()):
            await client.write_event(event.event())
        first = await heard(client)
        await until(client, SynthesizeStopped)
        for event in (SynthesizeChunk("Good day."), SynthesizeStop()):
            await client.write_event(event.event())
        return first, await heard(client)

    (first, _), (second, _) = with_client(voice, use)
    np.testing.assert_array_equal(first, streamed(voice, "Hello."))
    np.testing.assert_array_equal(second, streamed(voice, "Good day."))


def test_a_text_that_does_not_go_on_makes_room_for_others(voice, monkeypatch):
    monkeypatch.setattr(wyoming_server, "IDLE_SECONDS", 0.1)
    monkeypatch.setattr(wyoming_server, "AT_ONCE", 1)

    async def run():
        async with (
            served(voice) as port,
            AsyncTcpClient("127.0.0.1", port) as idle,
            AsyncTcpClient("127.0.0.1", port) as other,
        ):
            await idle.write_event(SynthesizeStart().event())
            await other.write_event(Synthesize("Hello.").event())
            audio, _ = await asyncio.wait_for(heard(other), 60)
            events, _ = await asyncio.wait_for(until(idle, SynthesizeStopped), 60)
            return audio, [Error.from_event(event).text for event in events]

    audio, errors = asyncio.run(run())
    assert audio.any()
    assert errors == ["no more text came for 0.1 s; send it in a new request"]


def test_a_client_that_hangs_up_stops_the_work_and_harms_nobody(slow_bundle, caplog):
    voice = Voice.load(slow_bundle)
    speaking = []

    async def run():
        async with served(voice) as port:
            async with AsyncTcpClient("127.0.0.1", port) as client:
                await client.write_event(Synthesize("The rain falls on the old stone wall. " * 60).event())
                await until(client, AudioChunk)
            for _ in range(1000):  # the task of the connection ends, and with it the work
                speaking.append(sum("_speak" in repr(task) for task in asyncio.all_tasks()))
                if not speaking[-1]:
                    break
                await asyncio.sleep(0.05)
            async with AsyncTcpClient("127.0.0.1", port) as client:
                await client.write_event(Describe().event())
                await until(client, Info)

    asyncio.run(run())
    assert speaking[-1] == 0
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_an_address_in_use_is_an_error(voice):
    async def run():
        async with served(voice) as port:
            await wyoming_server.serve(voice, "tiny", "127.0.0.1", port, lambda _: None)

    with pytest.raises(OptionError, match=r"cannot listen on 127\.0\.0\.1 port \d+"):
        asyncio.run(run())


def test_the_command_serves_until_it_is_told_to_stop(bundle, environment):
    command = [sys.executable, "-m", "soundstorm_runtime.cli", "wyoming", str(bundle), "--port", "0"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        said = process.stderr.readline()
        while not (found := re.search(r"on tcp://127\.0\.0\.1:(\d+) with the Wyoming protocol", said)):
            assert said, "the server did not start"
            said = process.stderr.readline()

        async def use():
            async with AsyncTcpClient("127.0.0.1", int(found[1])) as client:
                await client.write_event(Synthesize("Hello.", voice=SynthesizeVoice(language="en")).event())
                return await heard(client)

        audio, _ = asyncio.run(use())
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0
    assert audio.any()
