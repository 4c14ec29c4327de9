"""Write audio: WAV and FLAC files, or a WAV stream."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from ..errors import AudioError
from ..support.atomic import atomic_file

Write = Callable[[np.ndarray], None]

_FORMATS = {".wav": "WAV", ".flac": "FLAC"}
FULL_SCALE = 32767  # the number of a sample of 1 in 16 bits
_UNKNOWN_SIZE = 0xFFFFFFFF  # what readers of a stream take as "until the end"


@contextmanager
def audio_file(path: Path, sample_rate: int) -> Iterator[Write]:
    """Open a mono 16-bit file and yield a function that writes float32 samples to it.

    The file appears at `path` when it is complete (see `support.atomic`).

    Args:
        path: A name that ends in .wav or .flac.
        sample_rate: Samples a second.

    Raises:
        AudioError: The path cannot be written; raised before anything is written.
    """
    check_audio_path(path)
    with ExitStack() as stack:
        try:
            work = stack.enter_context(atomic_file(path))
        except OSError as error:
            raise AudioError(
                f"cannot write {path}: {error.strerror}; choose a folder that can be written"
            ) from error
        with _reasons(path):
            file = soundfile.SoundFile(
                work, "w", sample_rate, 1, "PCM_16", format=_FORMATS[path.suffix.lower()]
            )
        stack.enter_context(file)

        def write(audio: np.ndarray) -> None:
            with _reasons(path):
                file.write(to_integers(audio))

        yield write


def check_audio_path(path: Path) -> None:
    """Raise `AudioError` for a path that no audio file can be written to."""
    if path.suffix.lower() not in _FORMATS:
        raise AudioError(f"cannot write {path}: expected a name that ends in .wav or .flac")
    if path.is_dir():
        raise AudioError(f"cannot write {path}: it is a folder; give the name of a file in it")
    try:
        path.parent.stat()
        if not path.parent.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if not os.access(path.parent, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise AudioError(
            f"cannot write {path}: {error.strerror}; choose a folder that can be written"
        ) from error


def to_integers(audio: np.ndarray) -> np.ndarray:
    """Round float samples in [-1, 1] to 16 bits; soundfile would truncate, which shifts by half a step."""
    return np.rint(audio * FULL_SCALE).astype(np.int16)


@contextmanager
def _reasons(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, soundfile.SoundFileError) as error:
        raise AudioError(f"cannot write {path}: {error}; is the disk full?") from error


@contextmanager
def wav_stream(stream: BinaryIO, sample_rate: int, *, header: bool = True) -> Iterator[Write]:
    """Start a mono 16-bit WAV and yield a function that writes float32 samples to it.

    A pipe cannot be rewound to fill in the length, so the header states the largest one, which players of
    streams read as "until the end".

    Args:
        stream: Where to write.
        sample_rate: Samples a second.
        header: Whether to start with a header; without one, the output is bare little-endian samples.
    """

    def write(audio: np.ndarray) -> None:
        stream.write(to_integers(audio).astype("<i2").tobytes())
        stream.flush()

    if header:
        stream.write(_wav_header(sample_rate))
    yield write


def _wav_header(sample_rate: int) -> bytes:
    """Return the RIFF header of mono 16-bit PCM of unknown length."""
    form = struct.pack("<HHIIHH", 1, 1, sample_rate, sample_rate * 2, 2, 16)
    return b"".join(
        (
            b"RIFF" + struct.pack("<I", _UNKNOWN_SIZE) + b"WAVE",
            b"fmt " + struct.pack("<I", len(form)) + form,
            b"data" + struct.pack("<I", _UNKNOWN_SIZE),
        )
    )
