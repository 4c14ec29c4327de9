"""Chunks of audio to the bytes of a file format, while the audio is made."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any, Literal, cast

import numpy as np
import soundfile
import soxr

from ..audio.writers import wav_stream
from ..errors import EngineError, OptionError

Format = Literal["mp3", "opus", "aac", "flac", "wav", "pcm"]

NO_FFMPEG = "AAC needs the program ffmpeg, which the server does not have; take mp3, or install ffmpeg"
_FED = 8192  # samples that ffmpeg is fed at once
PCM_RATE = 24_000  # Hz: what clients of the OpenAI API assume for `pcm`, which does not state its rate


@dataclass(frozen=True)
class _Codec:
    """A format: its media type, its sample rates (empty: any), and its names in libsndfile."""

    media_type: str
    rates: tuple[int, ...] = ()
    container: str | None = None
    subtype: str | None = None


_OPUS_RATES = (8_000, 12_000, 16_000, 24_000, 48_000)
_MPEG_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_FORMATS: dict[Format, _Codec] = {
    "mp3": _Codec("audio/mpeg", _MPEG_RATES, "MP3", "MPEG_LAYER_III"),
    "opus": _Codec("audio/ogg", _OPUS_RATES, "OGG", "OPUS"),
    "aac": _Codec("audio/aac", _MPEG_RATES),
    "flac": _Codec("audio/flac", (), "FLAC", "PCM_16"),
    "wav": _Codec("audio/wav"),
    "pcm": _Codec("audio/pcm", (PCM_RATE,)),
}

MEDIA_TYPES: dict[Format, str] = {name: codec.media_type for name, codec in _FORMATS.items()}
PCM_MEDIA_TYPE = f"{MEDIA_TYPES['pcm']};rate={PCM_RATE};channels=1"  # what else a client cannot know


def ffmpeg() -> str | None:
    """Return the program ffmpeg, which encodes AAC; None where it is not installed."""
    return shutil.which("ffmpeg")


def encode(
    chunks: Iterable[np.ndarray], format: Format, sample_rate: int, *, whole: bool = False
) -> Iterator[bytes]:
    """Encode chunks of audio as they come.

    The sample rate stays, or becomes the next higher one that the format has. The length is unknown until
    the end: WAV states the largest one, which readers take as "until the end"; FLAC states none, which
    libsndfile does not read; MP3 has a constant bit rate, from which players compute it.

    Args:
        chunks: Mono audio, each float32 [samples] at `sample_rate`.
        whole: Whether to wait for the end and state the length, in one piece.

    Yields:
        Bytes, never empty.
    """
    codec = _FORMATS[format]
    rate = next((r for r in codec.rates if r >= sample_rate), codec.rates[-1] if codec.rates else sample_rate)
    if rate != sample_rate:
        chunks = _resampled(chunks, sample_rate, rate)
    if format == "aac":  # each frame has its own header, and nothing states the length
        pieces: Iterator[bytes] = _by_ffmpeg(chunks, rate)
    elif whole and format != "pcm":
        pieces = iter([_complete(chunks, codec, rate)])
    else:
        pieces = _samples(chunks, format, rate) if codec.container is None else _packed(chunks, codec, rate)
    return (piece for piece in pieces if piece)


def _complete(chunks: Iterable[np.ndarray], codec: _Codec, rate: int) -> bytes:
    """Encode all of the audio as a file."""
    sink = io.BytesIO()
    with _open(sink, codec, rate) as file:
        for chunk in chunks:
            file.write(_to_write(chunk, codec))
    return sink.getvalue()


def _open(sink: Any, codec: _Codec, rate: int) -> soundfile.SoundFile:
    constant = {"compression_level": 0.5, "bitrate_mode": "CONSTANT"} if codec.container == "MP3" else {}
    return soundfile.SoundFile(
        sink, "w", rate, 1, codec.subtype or "PCM_16", format=codec.container or "WAV", **constant
    )


def _to_write(chunk: np.ndarray, codec: _Codec) -> np.ndarray:
    """WAV is rounded as in a stream; libsndfile would truncate."""
    clipped = chunk.clip(-1, 1)
    return clipped if codec.container else np.rint(clipped * 32767).astype(np.int16)


def events(
    pieces: Iterable[bytes],
    usage: Callable[[], tuple[int, int]],
    timed: Callable[[], list[dict[str, object]]] = list,
    kind: Literal["words", "turns"] = "words",
) -> Iterator[bytes]:
    """Wrap encoded audio in the server-sent events of the OpenAI API.

    Args:
        pieces: Encoded audio.
        usage: Called at the end for the counts of the last event: characters of text, frames of audio.
        timed: Called after each piece for the words that have begun since, or the turns of a dialogue that
            have ended; an event lists them.
        kind: Which of the two.
    """
    for piece in pieces:
        yield _event({"type": "speech.audio.delta", "audio": base64.b64encode(piece).decode("ascii")})
        if found := timed():
            yield _event({"type": f"speech.{kind}.delta", kind: found})
    if found := timed():
        yield _event({"type": f"speech.{kind}.delta", kind: found})
    read, made = usage()
    counts = {"input_tokens": read, "output_tokens": made, "total_tokens": read + made}
    yield _event({"type": "speech.audio.done", "usage": counts})


def error_event(error: object) -> bytes:
    """Return the server-sent event of an error that ends a stream."""
    return _event({"type": "error", "error": error})


def _event(data: object) -> bytes:
    return f"data: {json.dumps(data)}\n\n".encode()


def _resampled(chunks: Iterable[np.ndarray], have: int, want: int) -> Iterator[np.ndarray]:
    stream = soxr.ResampleStream(have, want, 1, dtype="float32")
    for chunk in chunks:
        yield stream.resample_chunk(chunk.astype(np.float32, copy=False))
    yield stream.resample_chunk(np.empty(0, np.float32), last=True)


def _samples(chunks: Iterable[np.ndarray], format: Format, rate: int) -> Iterator[bytes]:
    """16-bit little-endian samples, for a WAV after its header."""
    sink = io.BytesIO()
    with wav_stream(sink, rate) as write:
        if format == "pcm":
            _drain(sink)
        for chunk in chunks:
            write(chunk.clip(-1, 1))
            yield _drain(sink)


def _drain(sink: io.BytesIO) -> bytes:
    made = sink.getvalue()
    sink.seek(0)
    sink.truncate()
    return made


class _Outlet(io.RawIOBase):
    """A file for an encoder, from which the bytes are taken as they are written.

    At the end an encoder goes back to complete the header. It has been sent, so those writes are ignored.
    """

    def __init__(self) -> None:
        self._made = bytearray()
        self._taken = 0
        self._place = 0

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._taken + len(self._made)}
        self._place = base[whence] + offset
        return self._place

    def write(self, data: bytes) -> int:  # type: ignore[override]
        start = self._place - self._taken
        if start >= 0:
            self._made[start : start + len(data)] = data
        self._place += len(data)
        return len(data)

    def take(self) -> bytes:
        """Return what has been written since the last call."""
        made = bytes(self._made)
        self._taken += len(made)
        self._made.clear()
        return made


def _packed(chunks: Iterable[np.ndarray], codec: _Codec, rate: int) -> Iterator[bytes]:
    """The bytes that libsndfile encodes, as soon as it writes them."""
    outlet = _Outlet()
    with _open(outlet, codec, rate) as file:
        for chunk in chunks:
            file.write(chunk.clip(-1, 1))
            yield outlet.take()
    yield outlet.take()


def _by_ffmpeg(chunks: Iterable[np.ndarray], rate: int) -> Iterator[bytes]:
    """AAC in ADTS frames, as soon as ffmpeg writes them; ffmpeg ends with the generator."""
    program = ffmpeg()
    if program is None:
        raise OptionError(NO_FFMPEG)
    options = f"-v error -f s16le -ar {rate} -ac 1 -i pipe:0 -c:a aac -f adts -flush_packets 1 pipe:1"
    with subprocess.Popen(
        [program, *options.split()], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        feed, made = cast(IO[bytes], process.stdin), cast(IO[bytes], process.stdout)
        try:
            os.set_blocking(made.fileno(), False)
            for chunk in chunks:
                samples = np.rint(chunk.clip(-1, 1) * 32767).astype("<i2")
                for start in range(0, len(samples), _FED):  # less than a pipe holds: neither side waits
                    feed.write(samples[start : start + _FED].tobytes())
                    feed.flush()
                    yield made.read() or b""
            feed.close()
            os.set_blocking(made.fileno(), True)
            yield made.read()
            if process.wait():
                raise EngineError("ffmpeg failed to encode AAC; the server's log has its message")
        except BrokenPipeError as error:
            raise EngineError("ffmpeg ended while it encoded; the server's log has its message") from error
        finally:
            process.kill()  # without effect on one that has ended
