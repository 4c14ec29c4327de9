"""`/v1/audio/speech/stream`: a WebSocket whose client appends text while it is spoken.

Messages of the client are JSON objects; those of one connection are handled in order, `cancel` at once. The
server sends audio as binary messages and everything else as JSON. Both have `type`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Annotated, Any, Literal

from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from ...synthesis.incremental_speech import IncrementalSpeech
from ...synthesis.word_times import WordTime
from ...text.words import Sentence
from ..api_errors import Refusal, refusal
from ..api_schema import SpeechFields
from ..request_queue import Busy, Job
from ..settings import MOST_BODY, STALL_SECONDS
from ..voice_service import Speaker

PATH = "/v1/audio/speech/stream"
MOST_TEXT = (
    MOST_BODY  # characters of one text; it is spoken as it comes, so it may be longer than a request's
)
IDLE_SECONDS = 600.0  # after which a connection on which nothing happens is closed
_RETRY_SECONDS = 0.1  # until a sentence is queued again that found no place

# https://www.rfc-editor.org/rfc/rfc6455#section-7.4.1
NOT_JSON, NOT_ALLOWED, GOING_AWAY, FAILED = 1007, 1008, 1001, 1011


class Start(SpeechFields):
    """Begin a text, with the fields of a request over HTTP that say how it is spoken."""

    type: Literal["start"]
    response_format: Literal["pcm"] = "pcm"


class Append(BaseModel):
    """Append to the text. Each sentence is spoken as soon as the next one begins."""

    model_config = ConfigDict(extra="ignore", strict=True)
    type: Literal["append"]
    text: str = Field(max_length=MOST_TEXT)


class Signal(BaseModel):
    """Speak what has been appended so far; end the text; or stop at once and forget it."""

    model_config = ConfigDict(extra="ignore", strict=True)
    type: Literal["flush", "finish", "cancel"]


Message = TypeAdapter[Start | Append | Signal](
    Annotated[Start | Append | Signal, Field(discriminator="type")]
)


class _Garbage(Exception):
    """A message that breaks the protocol: the code and the reason with which the connection is closed."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def read_message(text: str | None) -> Start | Append | Signal:
    """Read a message of a client; None stands for a binary one. Raises `_Garbage`."""
    if text is None:
        raise _Garbage(NOT_JSON, "a binary message was sent, expected JSON")
    try:
        return Message.validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            raise _Garbage(NOT_JSON, f"the message is not JSON: {first['msg']}") from error
        place = ".".join(map(str, first["loc"])) or "the message"
        raise _Garbage(NOT_ALLOWED, f"{place}: {first['msg']}") from error


class _Text:
    """A text in progress."""

    def __init__(self, speaker: Speaker, start: Start) -> None:
        self._dropped: dict[str, None] = {}
        self._named = 0
        self._speaker = speaker
        self._phones = "phone" in start.timestamp_granularities
        self._text = ""
        self._has_begun = False
        self._speech: IncrementalSpeech = speaker.begin_incremental(
            start, lambda characters: self._dropped.update(dict.fromkeys(characters))
        )

    async def take(self, message: Append | Signal) -> Sequence[Sentence]:
        """Return the sentences that can be spoken after a message.

        Raises:
            Refusal: The text is too long.
            TextError: It cannot be spoken.
        """
        if isinstance(message, Append):
            self._text += message.text
            if len(self._text) > MOST_TEXT:
                raise Refusal(400, f"the text has more than {MOST_TEXT} characters; begin another", "text")
            return await asyncio.to_thread(self._speech.append, message.text)
        return await asyncio.to_thread(self._speech.flush if message.type == "flush" else self._speech.finish)

    def new_dropped(self) -> str:
        """Return the characters that are not spoken and have not been named yet."""
        dropped = "".join(self._dropped)
        named, self._named = self._named, len(dropped)
        return dropped[named:]

    async def begin(self, sentences: Sequence[Sentence], on_word: Callable[[WordTime], object]) -> Job:
        """Queue sentences. Where the queue is full, a text that has begun waits for a place.

        Raises:
            Busy: The text has not begun.
        """
        while True:
            try:
                job = self._speaker.begin_sentences(self._speech, sentences, on_word)
            except Busy:
                if not self._has_begun:
                    raise
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                self._has_begun = True
                return job

    def described(self, words: deque[WordTime]) -> list[dict[str, object]]:
        """Take words out of the queue and return them as JSON data."""
        return [words.popleft().to_json(self._text, phones=self._phones) for _ in range(len(words))]


class _Session:
    """One connection: a task that speaks beside the one that receives."""

    def __init__(self, socket: WebSocket, speaker: Speaker) -> None:
        self._socket = socket
        self._speaker = speaker
        self._messages: asyncio.Queue[Start | Append | Signal] = asyncio.Queue()
        self._waiting = 0  # characters in the queue
        self._text: _Text | None = None
        self._has_sent = False  # since the last message of the client was waited for

    async def run(self) -> None:
        """Serve the client until it closes the connection, breaks the protocol or is idle."""
        await self._socket.accept()
        speaking = asyncio.create_task(self._speak())
        try:
            while True:
                message = await self._receive()
                if isinstance(message, Signal) and message.type == "cancel":
                    await _end(speaking)
                    self._messages, self._waiting, self._text = asyncio.Queue(), 0, None
                    await self._send({"type": "speech.cancelled"})
                    speaking = asyncio.create_task(self._speak())
                else:
                    self._queue(message)
        except WebSocketDisconnect:
            pass
        except _Garbage as error:
            await _end(speaking)
            detail = Refusal(400, str(error), code="invalid_message").detail.model_dump()
            with suppress(WebSocketDisconnect):
                await self._send({"type": "error", "error": detail})
                await self._socket.close(error.code, _reason(error))
        finally:
            await _end(speaking)

    async def _receive(self) -> Start | Append | Signal:
        """Return the next message. Raises `_Garbage`, and `WebSocketDisconnect`."""
        while True:
            try:
                message = await asyncio.wait_for(self._socket.receive(), IDLE_SECONDS)
            except asyncio.TimeoutError:
                if not self._has_sent:
                    raise _Garbage(GOING_AWAY, f"nothing was sent for {IDLE_SECONDS:g} s") from None
                self._has_sent = False
                continue
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message.get("code", GOING_AWAY))
            return read_message(message.get("text"))

    def _queue(self, message: Start | Append | Signal) -> None:
        if isinstance(message, Append):
            self._waiting += len(message.text)
        if self._waiting > MOST_TEXT or self._messages.qsize() >= MOST_TEXT:
            raise _Garbage(NOT_ALLOWED, f"more than {MOST_TEXT} characters wait to be spoken; send less")
        self._messages.put_nowait(message)

    async def _speak(self) -> None:
        """Handle messages in order, until the client has gone."""
        with suppress(WebSocketDisconnect):
            while True:
                message = await self._messages.get()
                if isinstance(message, Append):
                    self._waiting -= len(message.text)
                try:
                    await self._handle(message)
                except WebSocketDisconnect:
                    raise
                except Exception as error:
                    await self._fail(error)

    async def _fail(self, error: Exception) -> None:
        """End the text that an error concerns, and send the error."""
        self._text = None
        event: dict[str, Any] = {"type": "error", "error": refusal(error).detail.model_dump()}
        if isinstance(error, Busy):
            event["retry_after"] = error.retry_after
        await self._send(event)

    async def _handle(self, message: Start | Append | Signal) -> None:
        if isinstance(message, Start):
            if self._text is not None:
                raise Refusal(400, "a text is in progress; finish or cancel it before the next", "type")
            self._text = _Text(self._speaker, message)
            await self._send({"type": "speech.started", "ignored": message.ignored})
            return
        text = self._text
        if text is None:
            if isinstance(message, Append):
                raise Refusal(400, "there is no text in progress; send 'start' first", "type", "no_text")
            return
        sentences = await text.take(message)
        if dropped := text.new_dropped():
            await self._send({"type": "speech.dropped", "characters": dropped})
        if sentences:
            await self._say(text, sentences)
        if isinstance(message, Signal):
            await self._send({"type": "speech.flushed" if message.type == "flush" else "speech.done"})
            if message.type == "finish":
                self._text = None

    async def _say(self, text: _Text, sentences: Sequence[Sentence]) -> None:
        """Send the audio of sentences as it is made, each piece before the words that begin in it."""
        words: deque[WordTime] = deque()  # of which the audio is made
        job = await text.begin(sentences, words.append)
        try:
            async for piece in job:
                await self._send(piece)
                if begun := text.described(words):
                    await self._send({"type": "speech.words.delta", "words": begun})
        finally:
            job.cancel()

    async def _send(self, message: bytes | dict[str, Any]) -> None:
        sending = (
            self._socket.send_bytes(message)
            if isinstance(message, bytes)
            else self._socket.send_json(message)
        )
        self._has_sent = True
        try:
            await asyncio.wait_for(sending, STALL_SECONDS)
        except (asyncio.TimeoutError, RuntimeError):  # it does not read, or has closed the connection
            raise WebSocketDisconnect(GOING_AWAY) from None


def _reason(error: Exception) -> str:
    """Return an error as the reason of a close frame, which has 123 bytes at most."""
    return str(error).encode("ascii", "replace")[:120].decode()


async def _end(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait until it has ended."""
    task.cancel()
    await asyncio.wait([task])


def speech_socket(speaker: Speaker) -> APIRouter:
    """The route of the WebSocket. The middleware has checked the token, the host and the origin."""
    router = APIRouter()

    @router.websocket(PATH)
    async def stream(socket: WebSocket) -> None:
        await _Session(socket, speaker).run()

    return router
