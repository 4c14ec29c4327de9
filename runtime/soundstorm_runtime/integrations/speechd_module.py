"""An output module of speech-dispatcher, through which screen readers such as Orca speak.

The dispatcher starts the module, writes commands to its standard input and reads replies, events and audio
from its standard output. It plays the audio itself. Source: the manual of speech-dispatcher.
"""

from __future__ import annotations

import asyncio
import html
import logging
import os
import re
import stat
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import replace

import numpy as np

from .. import SoundStormError, SynthesisOptions, Voice
from ..errors import OptionError
from .spoken_signs import LEVELS, character, key, spelled, with_punctuation

LANGUAGE = "en"
FASTEST = 4.0  # speed at rate 100; its inverse at rate -100
PAUSE_SECONDS = 0.1  # between two parts of a text, at speed 1
MOST_CHARACTERS = 100_000  # of one text
_ESCAPE, _INVERTED = 0x7D, 0x20  # a new line ends a frame of audio, so it is escaped within

_MARK = re.compile(r"""<mark\s+name\s*=\s*["']([^"'>]*)["']\s*/?>(?:\s*</mark>)?""")
_TAG = re.compile(r"</?[A-Za-z][^<>]*>|<\?[^<>]*>")

_log = logging.getLogger(__name__)


class BadParameter(Exception):
    """A parameter that is unknown, or has a value that it cannot have."""


class Settings:
    """What the dispatcher has set."""

    def __init__(self, voices: tuple[str, ...]) -> None:
        self._voices = voices
        self.voice: str | None = None
        self.speed = 1.0
        self.gain = 1.0
        self.punctuation = "none"
        self.is_spelling = False
        self.says_capitals = False

    def set(self, name: str, value: str) -> None:
        """Set a parameter. Raises `BadParameter`."""
        if name == "rate":
            self.speed = FASTEST ** (_number(value) / 100)
        elif name == "volume":
            self.gain = (_number(value) + 100) / 200
        elif name == "punctuation_mode":
            self.punctuation = _one_of(value, LEVELS)
        elif name == "spelling_mode":
            self.is_spelling = _one_of(value, ("on", "off")) == "on"
        elif name == "cap_let_recogn":
            self.says_capitals = _one_of(value, ("none", "spell", "icon")) != "none"
        elif name == "synthesis_voice":
            self.voice = value if value in self._voices else None
        elif name not in ("pitch", "pitch_range", "language", "voice", "voice_type"):  # without effect
            raise BadParameter(name)


def _number(value: str) -> int:
    if not re.fullmatch(r"-?\d{1,3}", value) or abs(int(value)) > 100:
        raise BadParameter(value)
    return int(value)


def _one_of(value: str, known: object) -> str:
    if value not in known:  # type: ignore[operator]
        raise BadParameter(value)
    return value


def parts_of(text: str) -> list[tuple[str, str | None]]:
    """Split the text of a message at its index marks.

    The dispatcher sends `<speak>Hello. <mark name="1"/>How are you?</speak>`. Other markup is left out; what
    only looks like it, such as `1 < 2`, stays.

    Returns:
        Each part, and the mark that is reported when it has been spoken, None at the end.
    """
    pieces = _MARK.split(text)
    marks = [*pieces[1::2], None]
    return [
        (html.unescape(_TAG.sub(" ", piece)).strip(), mark)
        for piece, mark in zip(pieces[::2], marks, strict=True)
    ]


def audio_frame(samples: np.ndarray, sample_rate: int) -> bytes:
    """Return the message that carries audio, float32 [samples]."""
    pcm = np.frombuffer(np.rint(samples.clip(-1, 1) * 32767).astype("<i2").tobytes(), np.uint8)
    special = (pcm == _ESCAPE) | (pcm == ord("\n"))
    escaped = np.repeat(pcm, 1 + special)
    places = np.flatnonzero(special) + np.arange(special.sum())
    escaped[places], escaped[places + 1] = _ESCAPE, pcm[special] ^ _INVERTED
    facts = {
        "bits": 16,
        "num_channels": 1,
        "sample_rate": sample_rate,
        "num_samples": len(samples),
        "big_endian": 0,
    }
    head = "".join(f"705-{name}={value}\n" for name, value in facts.items())
    return head.encode() + b"705-AUDIO\0" + escaped.tobytes() + b"\n705 AUDIO\n"


class SpeechdModule:
    """The module, between two streams.

    Args:
        voice: The voice, which has been warmed up.
        name: The name of its bundle.
        reader: Commands.
        send: Sends bytes, and returns when they are on their way.
        options: How it speaks, but for what the dispatcher sets.
    """

    def __init__(
        self,
        voice: Voice,
        name: str,
        reader: asyncio.StreamReader,
        send: Callable[[bytes], Awaitable[None]],
        options: SynthesisOptions | None = None,
    ) -> None:
        self._voice, self._name, self._reader, self._send = voice, name, reader, send
        self._options = options or SynthesisOptions()
        self._settings = Settings(voice.voices)
        self._speaking: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Handle commands until QUIT or the end of the input."""
        while (line := await self._line()) is not None and line != "QUIT":
            await self._handle(line)
        await self._cancel()
        if line is not None:
            await self._reply("210 OK QUIT")

    async def _handle(self, line: str) -> None:
        command, _, argument = line.partition(" ")
        if line == "INIT":
            await self._reply(f"299-SoundStorm, {self._name}", "299 OK LOADED SUCCESSFULLY")
        elif line in ("SPEAK", "CHAR", "KEY", "SOUND_ICON"):
            await self._speak(line)
        elif line == "STOP":
            await self._end("703 STOP")
        elif line == "PAUSE":
            await self._end("704 PAUSE")  # the dispatcher goes on from the last index mark
        elif line == "LIST VOICES":
            voices = self._voice.voices or (self._name,)
            await self._reply(
                *(f"200-{voice}\t{LANGUAGE}\tnone" for voice in voices), "200 OK VOICE LIST SENT"
            )
        elif line == "SET":
            await self._set("", self._settings.set, "203 OK SETTINGS RECEIVED")
        elif line == "AUDIO":
            await self._set("AUDIO ", _set_audio, "203 OK AUDIO INITIALIZED")
        elif line == "LOGLEVEL":
            await self._set("LOGLEVEL ", lambda *_: None, "203 OK LOGLEVEL SET")
        elif command == "DEBUG" and argument.partition(" ")[0] in ("ON", "OFF"):
            await self._reply(f"200 OK DEBUGGING {argument.partition(' ')[0]}")
        else:
            await self._reply("300 ERR UNKNOWN COMMAND")

    async def _speak(self, kind: str) -> None:
        await self._reply("202 OK RECEIVING MESSAGE")
        lines: list[str] = []
        while (line := await self._line()) != ".":
            if line is None:
                return
            lines.append(line[1:] if line.startswith(".") else line)
        text = "\n".join(lines)
        if not text or len(text) > MOST_CHARACTERS:
            await self._reply("301 ERROR CANT SPEAK")
            return
        if kind != "SPEAK" and len(lines) > 1:
            await self._reply("305 DATA MORE THAN ONE LINE")
            return
        await self._cancel()
        await self._reply("200 OK SPEAKING")
        self._speaking = asyncio.create_task(self._say(self._parts(kind, text)))

    def _parts(self, kind: str, text: str) -> list[tuple[str, str | None]]:
        """Return what is read, and the marks that are reported after it."""
        settings = self._settings
        if kind == "CHAR":
            sign = " " if text == "space" else html.unescape(text)
            if len(sign) == 1:
                return [(character(sign, capitals=settings.says_capitals), None)]
        if kind == "KEY":
            return [(key(text), None)]
        if kind == "SOUND_ICON":
            return [(text.replace("_", " ").replace("-", " "), None)]
        if settings.is_spelling:
            capitals = settings.says_capitals
            return [(spelled(part, capitals=capitals), mark) for part, mark in parts_of(text)]
        return [(with_punctuation(part, settings.punctuation), mark) for part, mark in parts_of(text)]

    async def _say(self, parts: list[tuple[str, str | None]]) -> None:
        """Send the audio of a message, and its events."""
        await self._reply("701 BEGIN")
        options = replace(self._options, voice=self._settings.voice, speed=self._settings.speed)
        gain, rate = self._settings.gain, self._voice.sample_rate
        pause = np.zeros(round(PAUSE_SECONDS / options.speed * rate), np.float32)
        for place, (text, mark) in enumerate(parts):
            async for chunk in self._audio(text, options):
                await self._send(audio_frame(gain * chunk, rate))
            if text and place < len(parts) - 1:
                await self._send(audio_frame(pause, rate))
            if mark is not None:
                await self._reply(f"700-{mark}", "700 INDEX MARK")
        await self._reply("702 END")

    async def _audio(self, text: str, options: SynthesisOptions) -> AsyncIterator[np.ndarray]:
        """Yield the audio of a text; nothing for one that cannot be spoken."""
        try:
            async for chunk in self._voice.astream(text, options):
                yield chunk
        except SoundStormError as error:
            _log.info("not spoken: %s", error)

    async def _set(self, what: str, set_one: Callable[[str, str], None], done: str) -> None:
        """Receive parameters, one a line, until a line with a dot."""
        await self._reply(f"207 OK RECEIVING {what}SETTINGS")
        reply = done
        while (line := await self._line()) != ".":
            if line is None:
                return
            name, equals, value = line.partition("=")
            try:
                if not equals:
                    reply = "302 ERROR BAD SYNTAX"
                else:
                    set_one(name, value)
            except BadParameter:
                _log.info("a parameter cannot be set: %s", line)
                reply = "303 ERROR INVALID PARAMETER OR VALUE"
        await self._reply(reply)

    async def _end(self, event: str) -> None:
        """Stop speaking and report it, if anything is spoken."""
        if self._speaking is not None and not self._speaking.done():
            await self._cancel()
            await self._reply(event)

    async def _cancel(self) -> None:
        if self._speaking is not None:
            self._speaking.cancel()
            await asyncio.wait([self._speaking])
            self._speaking = None

    async def _line(self) -> str | None:
        try:
            line = await self._reader.readline()
        except ValueError:  # longer than the reader's limit: too long to be spoken, too
            return "x" * (MOST_CHARACTERS + 1)
        return line.decode("utf-8", "replace").rstrip("\r\n") if line else None

    async def _reply(self, *lines: str) -> None:
        await self._send("".join(f"{line}\n" for line in lines).encode())


def _set_audio(name: str, value: str) -> None:
    if name == "audio_output_method" and value != "server":
        raise BadParameter(value)


def check_streams() -> None:
    """Raise `OptionError` where standard input and output are none that speech-dispatcher has opened."""
    for stream in (sys.stdin, sys.stdout):
        kind = os.fstat(stream.fileno()).st_mode
        if not (stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind) or stream.isatty()):
            raise OptionError(
                f"{stream.name} is no pipe; speech-dispatcher starts this command, see docs/screen-readers.md"
            )


async def serve(voice: Voice, name: str, options: SynthesisOptions) -> None:
    """Be an output module on standard input and output; arguments as for `SpeechdModule`."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=MOST_CHARACTERS * 4)
    # Copies, since the event loop closes what it is given.
    source, sink = os.fdopen(os.dup(sys.stdin.fileno()), "rb"), os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), source)
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, sink)
    writer = asyncio.StreamWriter(transport, protocol, None, loop)

    async def send(data: bytes) -> None:
        writer.write(data)
        await writer.drain()

    with suppress(BrokenPipeError, ConnectionResetError):
        await SpeechdModule(voice, name, reader, send, options).run()
