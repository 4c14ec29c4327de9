"""A server of the Wyoming protocol, with which Home Assistant and its satellites ask for speech.

A client sends `synthesize` with a whole text, or `synthesize-start`, any number of `synthesize-chunk` and
`synthesize-stop`. Audio is sent while it is made. Source: https://github.com/OHF-Voice/wyoming.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import numpy as np
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.error import Error
from wyoming.event import Event, Eventable, async_write_event
from wyoming.info import Attribution, Describe, Info, TtsProgram, TtsVoice
from wyoming.ping import Ping, Pong
from wyoming.tts import (
    Synthesize,
    SynthesizeChunk,
    SynthesizeStart,
    SynthesizeStop,
    SynthesizeStopped,
    SynthesizeVoice,
)

from .. import SoundStormError, SynthesisOptions, Voice, __version__, read_ssml
from ..errors import OptionError, TextError

MOST_BYTES = 64 * 1024  # of one event, and of text that waits
MOST_CLIENTS = 100
AT_ONCE = 4  # texts that are spoken at the same time; others wait
IDLE_SECONDS = 120.0  # after which a text in chunks ends whose next chunk does not come
LANGUAGE = "en"
_SOURCE = Attribution(name="SoundStorm Edge", url="https://arxiv.org/abs/2305.09636")

_log = logging.getLogger(__name__)


def describe(voice: Voice, name: str) -> Info:
    """Return what clients are told: one program, and the named voices of the bundle called `name`."""
    common: dict[str, Any] = {"attribution": _SOURCE, "installed": True, "version": __version__}
    voices = [
        TtsVoice(name=each, description=each, languages=[LANGUAGE], **common)
        for each in sorted(voice.voices or (name,), key=lambda each: each != voice.speaker)  # default first
    ]
    program = TtsProgram(
        name="soundstorm",
        description=f"SoundStorm text to speech, {name}",
        voices=voices,
        supports_synthesize_streaming=True,
        **common,
    )
    return Info(tts=[program])


class NoEvent(Exception):
    """A client sent what is no event."""


class _Text:
    """A text that comes in chunks."""

    def __init__(self) -> None:
        self._chunks: asyncio.Queue[str | None] = asyncio.Queue()
        self._waiting = 0  # characters

    def add(self, chunk: str | None) -> None:
        """Add a chunk; None ends the text."""
        if not isinstance(chunk, str | None):
            raise NoEvent("a text is no string")
        self._waiting += len(chunk or "") + 1
        if self._waiting > MOST_BYTES:
            raise NoEvent(f"more than {MOST_BYTES} characters wait to be spoken")
        self._chunks.put_nowait(chunk)

    async def __aiter__(self) -> AsyncIterator[str]:
        """Yield the chunks as they come. Raises `TextError` where the next one does not come."""
        while (chunk := await self._next()) is not None:
            self._waiting -= len(chunk) + 1
            yield chunk

    async def _next(self) -> str | None:
        try:
            return await asyncio.wait_for(self._chunks.get(), IDLE_SECONDS)
        except asyncio.TimeoutError:
            raise TextError(f"no more text came for {IDLE_SECONDS:g} s; send it in a new request") from None


class Connection:
    """One client. A text is spoken by a task, so that the client is read meanwhile.

    Args:
        reader, writer: Those of the connection.
        voice: The voice.
        info: What `describe` returned.
        places: Held by each text that is spoken.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        voice: Voice,
        info: Info,
        places: asyncio.Semaphore,
    ) -> None:
        self._reader, self._writer = reader, writer
        self._voice, self._info, self._places = voice, info, places
        self._speaking: asyncio.Task[None] | None = None
        self._text: _Text | None = None

    async def run(self) -> None:
        """Serve the client until it closes the connection or sends what is no event."""
        try:
            while (event := await read_event(self._reader)) is not None:
                await self._handle(event)
        except NoEvent as error:
            _log.warning("a client sent what is no Wyoming event (%s); its connection is closed", error)
            with suppress(OSError):
                await self._send(Error(text=str(error), code="no-event"))
        except OSError:
            _log.info("a client has closed its connection")
        finally:
            if self._speaking is not None:
                self._speaking.cancel()
            self._writer.close()

    async def _handle(self, event: Event) -> None:
        """Handle an event. Those that are not of speech are ignored, as the protocol asks."""
        try:
            if Describe.is_type(event.type):
                await self._send(self._info)
            elif Ping.is_type(event.type):
                await self._send(Pong(text=Ping.from_event(event).text))
            elif Synthesize.is_type(event.type) and self._text is None:  # else it repeats the chunks
                whole = Synthesize.from_event(event)
                text = await self._begin(whole.voice, whole.text_format, in_chunks=False)
                text.add(whole.text)
                text.add(None)
            elif SynthesizeStart.is_type(event.type):
                start = SynthesizeStart.from_event(event)
                if self._text is not None:
                    self._text.add(None)
                self._text = await self._begin(start.voice, start.text_format, in_chunks=True)
            elif SynthesizeChunk.is_type(event.type) and self._text is not None:
                self._text.add(SynthesizeChunk.from_event(event).text)
            elif SynthesizeStop.is_type(event.type) and self._text is not None:
                self._text.add(None)
                self._text = None
        except (KeyError, TypeError, AttributeError) as error:
            raise NoEvent(f"{event.type}: {error!r}") from error

    async def _begin(self, voice: SynthesizeVoice | None, form: str | None, *, in_chunks: bool) -> _Text:
        """Start to speak a text, which is still empty, after the one before it."""
        if self._speaking is not None:
            await asyncio.wait([self._speaking])
        text = _Text()
        self._speaking = asyncio.create_task(self._speak(text, voice, form, in_chunks))
        return text

    async def _speak(
        self, text: _Text, voice: SynthesizeVoice | None, form: str | None, in_chunks: bool
    ) -> None:
        """Send a text's audio, or an error, and nothing to a client that has closed its connection."""
        with suppress(OSError):
            try:
                async with self._places:
                    await self._send_audio(text, self._options(voice), form)
            except SoundStormError as error:
                await self._send(Error(text=str(error), code=type(error).__name__))
            except OSError:
                raise
            except Exception:
                _log.exception("a text could not be spoken")
                await self._send(Error(text="the speech could not be made; the server's log says why"))
            if in_chunks:
                await self._send(SynthesizeStopped())

    async def _send_audio(self, text: _Text, options: SynthesisOptions, form: str | None) -> None:
        if form not in (None, "text", "ssml"):
            raise TextError(f"text_format is {form!r}, expected 'text' or 'ssml'")
        if form == "ssml":
            document = "".join([chunk async for chunk in text])
            audio = self._voice.astream(await asyncio.to_thread(read_ssml, document), options)
        else:
            audio = self._voice.astream(text, options)
        sound: dict[str, Any] = {"rate": self._voice.sample_rate, "width": 2, "channels": 1}
        is_first = True
        async for chunk in audio:
            if is_first:
                await self._send(AudioStart(**sound))
                is_first = False
            samples = np.rint(chunk.clip(-1, 1) * 32767).astype("<i2")
            await self._send(AudioChunk(audio=samples.tobytes(), **sound))
        await self._send(AudioStop())

    def _options(self, voice: SynthesizeVoice | None) -> SynthesisOptions:
        """Return the options of a request: its voice, unless it names a language alone."""
        name, known = voice and (voice.speaker or voice.name), self._voice.voices
        if name is None or not known:
            return SynthesisOptions()
        if name not in known:
            raise OptionError(f"voice {name!r} was asked for, but there are {', '.join(known)}")
        return SynthesisOptions(voice=name)

    async def _send(self, event: Eventable) -> None:
        await async_write_event(event.event(), self._writer)


async def read_event(reader: asyncio.StreamReader) -> Event | None:
    """Read an event whose parts have at most `MOST_BYTES`; None at the end of the connection.

    The library's own function reads as many bytes as the client announces.

    Raises:
        NoEvent: There is something else.
    """
    try:
        line = await reader.readline()
        if not line:
            return None
        head = json.loads(line)
        if not isinstance(head, dict) or not isinstance(head.get("type"), str):
            raise NoEvent("expected a JSON object with a type")
        more = await _part(reader, head.get("data_length"))
        payload = await _part(reader, head.get("payload_length"))
        data = {**(head.get("data") or {}), **(json.loads(more) if more else {})}
        json.dumps([head["type"], data], ensure_ascii=False).encode()  # no half of a surrogate pair is in it
    except (ValueError, TypeError, RecursionError) as error:  # no JSON, or a line that is too long
        raise NoEvent(str(error)) from error
    except asyncio.IncompleteReadError:
        return None
    return Event(head["type"], data, payload or None)


async def _part(reader: asyncio.StreamReader, size: object) -> bytes:
    if size is None:
        return b""
    if not isinstance(size, int) or not 0 <= size <= MOST_BYTES:
        raise NoEvent(f"a part has {size!r} bytes, expected {MOST_BYTES} at most")
    return await reader.readexactly(size)


async def serve(voice: Voice, name: str, host: str, port: int, on_ready: Callable[[int], object]) -> None:
    """Serve until the task is cancelled.

    Args:
        voice: The voice.
        name: The name of its bundle.
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        on_ready: Called with the port when connections are accepted.

    Raises:
        OptionError: The address cannot be used.
    """
    places, info = asyncio.Semaphore(AT_ONCE), describe(voice, name)
    clients = 0

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal clients
        if clients >= MOST_CLIENTS:
            _log.warning("more than %d clients: another is turned away", MOST_CLIENTS)
            writer.close()
            return
        clients += 1
        try:
            await Connection(reader, writer, voice, info, places).run()
        finally:
            clients -= 1

    try:
        server = await asyncio.start_server(connected, host, port, limit=MOST_BYTES)
    except (OSError, OverflowError) as error:
        raise OptionError(
            f"cannot listen on {host} port {port} ({error}); take another --host or --port"
        ) from error
    async with server:
        on_ready(server.sockets[0].getsockname()[1])
        await server.serve_forever()
