"""A recording as a corpus source yields it, before it becomes an utterance of a corpus."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import soundfile

from soundstorm_runtime.support.files import check_file, open_file
from soundstorm_runtime.text.sentences import normalise

from ..errors import CorpusError, UnusableRecordingError

BYTE_ORDER_MARK = "\ufeff"
LEAST_SECONDS = 0.1  # shorter than any word
LEAST_PEAK = 0.001  # of full scale: -60 dB
QUIET_PEAK = 0.02  # silence in 8 bits has 0.01 with dither, which is steady
LEAST_CHANGE = 4.0  # dB between quiet and loud frames of speech
LOWEST_RATE, HIGHEST_RATE = 4000, 768_000  # Hz; a telephone has 8000
LEAST_SUM = 0.1  # level of the mean of all channels, relative to the loudest of them
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
    """Return the recording in an audio file, which is read when the recording is loaded.

    Line separators in the text, such as U+2028, become spaces.
    """
    return Recording(name, " ".join(text.splitlines()).strip(), speaker, partial(read_sound, path))


def read_sound(path: Path) -> Sound:
    """Read an audio file of any format that libsndfile reads.

    Raises:
        CorpusError: the file cannot be read, is truncated, or has samples that are not finite.
        UnusableRecordingError: it has no samples.
    """
    try:
        _check_length(path)
        audio, rate = soundfile.read(path, dtype="float32")
    except (OSError, RuntimeError) as error:
        raise CorpusError(f"cannot read {path} ({error}); remove its row or restore the file") from error
    if not len(audio):
        raise UnusableRecordingError(f"{path} has no samples; remove its row or restore the file")
    if not np.isfinite(audio).all():
        raise CorpusError(f"{path} has samples that are not finite; remove its row or restore the file")
    return Sound(audio, rate)


def mono(sound: Sound) -> np.ndarray:
    """Return the mean of the channels, float32 `[samples]`.

    Raises:
        UnusableRecordingError: the audio is too short for a word, silent, of a rate that speech does not
            have, or its channels cancel.
    """
    if not LOWEST_RATE <= sound.rate <= HIGHEST_RATE:
        raise UnusableRecordingError(
            f"the audio has {sound.rate} samples a second, expected {LOWEST_RATE} to {HIGHEST_RATE}"
        )
    seconds, peak = len(sound.audio) / sound.rate, float(np.abs(sound.audio).max(initial=0))
    if seconds < LEAST_SECONDS:
        raise UnusableRecordingError(f"the audio lasts {seconds:.3f} s, expected at least {LEAST_SECONDS} s")
    if peak < LEAST_PEAK:
        raise UnusableRecordingError(f"the audio is silent: peak {peak:.5f}, expected at least {LEAST_PEAK}")
    if peak < QUIET_PEAK and _level_change(sound) < LEAST_CHANGE:
        raise UnusableRecordingError(f"the audio is silent: steady noise with a peak of {peak:.5f}")
    if sound.audio.ndim == 1:
        return sound.audio
    audio: np.ndarray = sound.audio.mean(axis=1)
    loudest = np.sqrt((sound.audio**2).mean(axis=0).max())
    if np.sqrt((audio**2).mean()) < LEAST_SUM * loudest:
        raise UnusableRecordingError("the channels have opposite phase and cancel; keep one of them")
    return audio


def _level_change(sound: Sound) -> float:
    """Return the difference in dB between the levels of quiet and loud frames of 20 ms."""
    size = round(0.02 * sound.rate)
    frames = sound.audio[: len(sound.audio) // size * size].reshape(-1, size * (sound.audio[:1].size))
    quiet, loud = np.percentile((frames.astype(np.float64) ** 2).mean(axis=1) + 1e-12, [5, 95])
    return float(10 * np.log10(loud / quiet))


def check_transcript(text: str) -> None:
    """Raise `UnusableRecordingError` for a text without a word that can be spoken."""
    if not text.strip():
        raise UnusableRecordingError("the transcript is empty")
    if not normalise(text):
        raise UnusableRecordingError(f"the transcript {text[:40]!r} has no word that can be spoken")


def find_files(folder: Path, pattern: str) -> Iterator[Path]:
    """Yield the files of this name at any depth, sorted, without the `._*` files that macOS adds."""
    return (path for path in sorted(folder.rglob(pattern)) if not path.name.startswith("._"))


def read_text(path: Path) -> str:
    """Read a UTF-8 text file without its byte-order marks, of which joined files have several.

    Raises:
        CorpusError: the file has another encoding.
        OSError: it cannot be read, or is a FIFO or a device.
    """
    check_file(path)
    try:
        return path.read_text(encoding="utf-8").replace(BYTE_ORDER_MARK, "")
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{path} is not UTF-8 ({error.reason} at byte {error.start}); convert it"
        ) from error


def _check_length(path: Path) -> None:
    """Raise `CorpusError` for a WAV file shorter than its header states; libsndfile reads it silently."""
    with open_file(path) as file:
        head = file.read(8)
    if len(head) < 8 or not head.startswith(b"RIFF"):
        return  # libsndfile recognises other formats, and reports those that it does not know
    size, found = struct.unpack("<I", head[4:])[0], path.stat().st_size
    if found + 1 < size + 8 < STREAMED_SIZE:  # some writers omit the last padding byte
        raise CorpusError(f"{path} is truncated: {found} bytes, expected {size + 8}; restore the file")
