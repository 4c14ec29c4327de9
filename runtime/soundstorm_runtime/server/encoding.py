"""Audio as it is made, to the bytes of a file format as they can be sent."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import soundfile
import soxr

from ..audio.writers import wav_stream

Format = Literal["mp3", "opus", "flac", "wav", "pcm"]

PCM_RATE = 24_000  # samples a second: what clients of the OpenAI API take `pcm` to be, which does not say it


@dataclass(frozen=True)
class _Facts:
    """A format: its media type, the sample rates it has (none: any), and what libsndfile calls it."""

    media_type: str
    rates: tuple[int, ...] = ()
    container: str | None = None
    subtype: str | None = None


_OPUS_RATES = (8_000, 12_000, 16_000, 24_000, 48_000)
_MP3_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_FORMATS: dict[Format, _Facts] = {
    "mp3": _Facts("audio/mpeg", _MP3_RATES, "MP3", "MPEG_LAYER_III"),
    "opus": _Facts("audio/ogg", _OPUS_RATES, "OGG", "OPUS"),
    "flac": _Facts("audio/flac", (), "FLAC", "PCM_16"),
    "wav": _Facts("audio/wav"),
    "pcm": _Facts("audio/pcm", (PCM_RATE,)),
}

MEDIA_TYPES: dict[Format, str] = {name: facts.media_type for name, facts in _FORMATS.items()}


def encode(chunks: Iterable[np.ndarray], format: Format, sample_rate: int) -> Iterator[bytes]:
    """Encode mono float32 chunks, each [samples] at `sample_rate`, as they come; gives no empty bytes.

    The rate stays, or becomes the next higher one that the format has. A length that only the end would
    tell stays unknown in headers of WAV and FLAC; MP3 has a constant bit rate, from which players tell it.
    """
    facts = _FORMATS[format]
    rate = next((r for r in facts.rates if r >= sample_rate), facts.rates[-1] if facts.rates else sample_rate)
    if rate != sample_rate:
        chunks = _resampled(chunks, sample_rate, rate)
    pieces = _plain(chunks, format, rate) if facts.container is None else _packed(chunks, facts, rate)
    return (piece for piece in pieces if piece)


def events(
    pieces: Iterable[bytes],
    usage: Callable[[], tuple[int, int]],
    words: Callable[[], list[dict[str, object]]] = list,
) -> Iterator[bytes]:
    """Wrap encoded audio in the server-sent events of the OpenAI API.

    Args:
        pieces: Encoded audio.
        usage: Called at the end for the counts of the last event: characters of text, frames of audio.
        words: Called after each piece for the words whose audio has begun since; an event lists them.
    """
    for piece in pieces:
        yield _event({"type": "speech.audio.delta", "audio": base64.b64encode(piece).decode("ascii")})
        if begun := words():
            yield _event({"type": "speech.words.delta", "words": begun})
    if begun := words():
        yield _event({"type": "speech.words.delta", "words": begun})
    read, made = usage()
    counts = {"input_tokens": read, "output_tokens": made, "total_tokens": read + made}
    yield _event({"type": "speech.audio.done", "usage": counts})


def _event(data: object) -> bytes:
    return f"data: {json.dumps(data)}\n\n".encode()


def _resampled(chunks: Iterable[np.ndarray], have: int, want: int) -> Iterator[np.ndarray]:
    stream = soxr.ResampleStream(have, want, 1, dtype="float32")
    for chunk in chunks:
        yield stream.resample_chunk(chunk.astype(np.float32, copy=False))
    yield stream.resample_chunk(np.empty(0, np.float32), last=True)


def _plain(chunks: Iterable[np.ndarray], format: Format, rate: int) -> Iterator[bytes]:
    """16-bit samples, little end first, after the header where it is a WAV."""
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
    """The file that an encoder writes, of which what is written is given away.

    At the end an encoder goes back to mend the header. That has been sent, so those writes are dropped.
    """

    def __init__(self) -> None:
        self._made = bytearray()
        self._given = 0
        self._place = 0

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._given + len(self._made)}
        self._place = base[whence] + offset
        return self._place

    def write(self, data: bytes) -> int:  # type: ignore[override]
        start = self._place - self._given
        if start >= 0:
            self._made[start : start + len(data)] = data
        self._place += len(data)
        return len(data)

    def take(self) -> bytes:
        """Give away what has been written since the last time."""
        made = bytes(self._made)
        self._given += len(made)
        self._made.clear()
        return made


def _packed(chunks: Iterable[np.ndarray], facts: _Facts, rate: int) -> Iterator[bytes]:
    """Whatever libsndfile packs, as soon as it has packed it."""
    outlet = _Outlet()
    constant = {"compression_level": 0.5, "bitrate_mode": "CONSTANT"} if facts.container == "MP3" else {}
    with soundfile.SoundFile(outlet, "w", rate, 1, facts.subtype, format=facts.container, **constant) as file:
        for chunk in chunks:
            file.write(chunk.clip(-1, 1))
            yield outlet.take()
    yield outlet.take()
