"""A recording as a corpus source yields it, before it becomes an utterance of a corpus."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import soundfile

from ..errors import CorpusError

STREAMED_SIZE = 0xFFFFFFFF  # the size that the header of a streamed WAV file states


@dataclass(frozen=True)
class Sound:
    """Audio, and what the source knows about it.

    Args:
        audio: float32 `[samples]` or `[samples, channels]`, in -1 to 1.
        rate: sample rate in Hz.
        phones: the phones that are spoken; empty where the source does not know them.
        ends: the end of each phone in seconds; empty where the source does not know them.
        pitch: fundamental frequencies in Hz, evenly over the audio, 0 where nothing is voiced; empty where
            the source does not know them.
    """

    audio: np.ndarray
    rate: int
    phones: tuple[str, ...] = ()
    ends: tuple[float, ...] = ()
    pitch: tuple[float, ...] = ()


@dataclass(frozen=True)
class Recording:
    """One recording of a source: `load` reads or synthesizes its audio when it is called.

    Args:
        id: unique within a corpus; names the audio file.
        text: what is said.
        speaker: the name of the speaker.
        load: returns the audio; called once, in any thread.
    """

    id: str
    text: str
    speaker: str
    load: Callable[[], Sound]


def file_recording(name: str, text: str, speaker: str, path: Path) -> Recording:
    """Return the recording in an audio file, which is read when the recording is loaded."""
    return Recording(name, text, speaker, partial(read_sound, path))


def read_sound(path: Path) -> Sound:
    """Read an audio file of any format that libsndfile reads.

    Raises:
        CorpusError: the file cannot be read, is truncated or empty, or has samples that are not finite.
    """
    try:
        _check_length(path)
        audio, rate = soundfile.read(path, dtype="float32")
    except (OSError, RuntimeError) as error:
        raise CorpusError(f"cannot read {path} ({error}); remove its row or restore the file") from error
    if not len(audio) or not np.isfinite(audio).all():
        fault = "samples that are not finite" if len(audio) else "no samples"
        raise CorpusError(f"{path} has {fault}; remove its row or restore the file")
    return Sound(audio, rate)


def read_text(path: Path) -> str:
    """Read a UTF-8 text file; raises `CorpusError` for other encodings."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{path} is not UTF-8 ({error.reason} at byte {error.start}); convert it"
        ) from error


def _check_length(path: Path) -> None:
    """Raise `CorpusError` for a WAV file shorter than its header states; libsndfile reads it silently."""
    with path.open("rb") as file:
        head = file.read(8)
    if len(head) < 8 or not head.startswith(b"RIFF"):
        return  # libsndfile recognises other formats, and reports those that it does not know
    size, found = struct.unpack("<I", head[4:])[0], path.stat().st_size
    if found + 1 < size + 8 < STREAMED_SIZE:  # some writers omit the last padding byte
        raise CorpusError(f"{path} is truncated: {found} bytes, expected {size + 8}; restore the file")
