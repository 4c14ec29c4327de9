"""Prepare a recording of speech for a prompt: check, trim and cut it, and match the level of the voice.

Speech and pauses are distinguished by the level of short frames relative to that of the loudest ones.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from ..errors import AudioError, OptionError
from ..support.files import open_file
from ..support.interrupt import uninterrupted
from .writers import FULL_SCALE

SHORTEST = 1.0  # seconds of speech; less does not identify a voice
LOWEST_RATE, HIGHEST_RATE = 4000, 768_000  # Hz; a telephone has 8000
LONGEST = 5.0  # seconds; each one costs time in every sentence that is spoken with the prompt
LOOKED_AT = 120.0  # seconds of a long recording that are examined
QUIETEST = -50.0  # dB, full scale being 0: below, noise would be raised to the level of speech
CLIPPED = 1e-3  # share of samples in flat tops
LEAST_SUM = 0.1  # level of the mean of all channels, relative to the loudest of them

_MOST_SAMPLES = 1 << 25  # of all channels, 128 MB
_LEAST_CHANGE = 4.0  # dB between quiet and loud frames; syllables have 10 or more, steady noise 2
_MARGIN = 0.1  # seconds of silence that stay at both ends
_PAUSE = 0.12  # seconds; shorter gaps are those within words
_FRAME = 0.02  # seconds
_RANGE = 35.0  # dB that quiet sounds of speech lie below the loudest
_ABOVE_NOISE = 6.0  # dB
_UNKNOWN = 1 << 62  # frames; libsndfile reports the largest number where it does not know the length
_FEW_STEPS = 0.02  # of full scale: what is quieter has few steps in 8 bits, and flat tops without clipping
_FLAT = 2e-5  # of the peak: a sixteen-bit step, less than even a deep tone moves at its top

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recording:
    """Audio as the user gave it.

    Attributes:
        samples: float [samples, channels].
        sample_rate: Samples a second.
        name: Its name in messages.
    """

    samples: np.ndarray
    sample_rate: int
    name: str


def prepare(recording: Recording, sample_rate: int, level: float) -> np.ndarray:
    """Return the speech of a recording.

    Channels are mixed without their offsets, and silence at both ends is cut to a tenth of a second. Of a
    recording of more than `LONGEST` seconds, the stretch between two pauses with the most speech is used; the
    log says which.

    Args:
        recording: The recording.
        sample_rate: Samples a second of the result.
        level: Level of its speech, in dB of full scale.

    Returns:
        float32 [samples].

    Raises:
        AudioError: The recording is empty, too quiet, clipped, or too short, or its channels cancel.
    """
    _check(recording, sample_rate)
    audio = _resampled(_mixed(recording), recording.sample_rate, sample_rate)
    if (found := speech_level(audio, sample_rate)) < QUIETEST:
        raise AudioError(
            f"the speech in {recording.name} is at {found:.0f} dB of full scale, expected {QUIETEST:.0f} or "
            "more; record it louder, or nearer to the microphone"
        )
    quiet, loud = np.percentile(_decibels(_powers(audio, sample_rate)), [5, 95])
    if loud - quiet < _LEAST_CHANGE:
        raise AudioError(
            f"{recording.name} has no speech: its level changes by {loud - quiet:.1f} dB, as that of steady "
            f"noise or a tone does, expected {_LEAST_CHANGE:.0f} or more; record somebody who speaks"
        )
    speech = _speech(audio, sample_rate)
    _check_length(recording.name, _FRAME * speech.sum())
    start, end = _stretch(speech)
    _log_stretch(recording.name, start, end, len(audio) / sample_rate)
    audio = audio[round(start * sample_rate) : round(end * sample_rate)]
    gain = 10 ** ((level - speech_level(audio, sample_rate)) / 20)
    return (audio * min(gain, 1 / np.abs(audio).max())).astype(np.float32)


def read_recording(path: Path, name: str | None = None, *, longest: float | None = None) -> Recording:
    """Read a sound file.

    Args:
        path: The file.
        name: Its name in messages, if not the path.
        longest: Seconds from which it is refused; by default, the first of them are used.

    Raises:
        AudioError: It cannot be read, is not audio, or is too long.
    """
    name = name or str(path)
    with _sound_file(path, name) as file:
        frames = min(round(LOOKED_AT * file.samplerate), _MOST_SAMPLES // file.channels)
        if longest is not None and _UNKNOWN > file.frames > longest * file.samplerate:
            seconds = file.frames / file.samplerate
            raise AudioError(f"{name} has {seconds:.0f} s, expected {longest:.0f} s at most; cut it")
        if file.frames >= _UNKNOWN:  # as in FLAC that was streamed: soundfile would seek, and cannot
            file.seekable = lambda: False
        elif file.frames > frames:
            _log.info("%s is long; only its first %.0f s are used", name, LOOKED_AT)
        samples = file.read(min(frames, max(file.frames, 0)), dtype="float32", always_2d=True)
        return Recording(samples, file.samplerate, name)


def read_samples(path: Path) -> tuple[np.ndarray, int]:
    """Read a sound file whole, for an output that has the same samples.

    Args:
        path: The file.

    Returns:
        float32 [samples], the mean of the channels, which `writers.to_integers` turns into the numbers of a
        16-bit file; and samples a second.

    Raises:
        AudioError: It cannot be read, is not audio, or is too long.
    """
    with _sound_file(path, str(path)) as file:
        if file.frames * file.channels > _MOST_SAMPLES:
            seconds = _MOST_SAMPLES / file.channels / file.samplerate
            raise AudioError(f"{path} is longer than {seconds:.0f} s, or of unknown length; cut it")
        if file.subtype == "PCM_16":
            samples = file.read(dtype="int16", always_2d=True) / np.float64(FULL_SCALE)
        else:
            samples = file.read(dtype="float32", always_2d=True).clip(-1, 1)
        if not np.isfinite(samples).all():
            raise AudioError(f"{path} has samples that are no numbers; export it again")
        if file.channels > 1:
            _log.warning("%s has %d channels; the result has their mean", path, file.channels)
        return samples.mean(axis=1).astype(np.float32), file.samplerate


@contextmanager
def _sound_file(path: Path, name: str) -> Iterator[soundfile.SoundFile]:
    """Open a sound file; whatever cannot be read of it is an `AudioError`."""
    try:
        with open_file(path) as opened, soundfile.SoundFile(opened) as file:
            yield file
    except OSError as error:
        raise AudioError(f"cannot read {name} ({error.strerror}); check the path") from error
    except (soundfile.SoundFileError, TypeError) as error:  # the latter for bare samples, by their name
        reason = str(error).rpartition(": ")[2].rstrip(".")
        raise AudioError(
            f"{name} is not audio that can be read ({reason}); expected a file such as WAV, FLAC, OGG or MP3"
        ) from error


def recording_of(samples: np.ndarray, sample_rate: int | None) -> Recording:
    """Return an array, float [samples] or [samples, channels] in -1 to 1, as a recording."""
    if sample_rate is None or sample_rate < 1:
        raise OptionError(
            f"sample_rate is {sample_rate}, expected the samples a second of the array; give both"
        )
    if samples.ndim not in (1, 2) or samples.dtype.kind != "f":
        raise AudioError(
            f"the audio is {samples.dtype} {list(samples.shape)}, expected float [samples] or "
            "[samples, channels] in -1 to 1"
        )
    whole = samples if samples.ndim == 2 else samples[:, None]
    return Recording(whole[: round(LOOKED_AT * sample_rate)], sample_rate, "the audio")


def speech_level(audio: np.ndarray, sample_rate: int) -> float:
    """Return the level of the speech in audio, float [samples]: the root mean square of its loud frames.

    The level is in dB; full scale is 0 dB, silence -120 dB.
    """
    powers = _powers(audio, sample_rate)
    levels = _decibels(powers)
    return float(_decibels(powers[levels > levels.max() - 20].mean()))


def _check(recording: Recording, sample_rate: int) -> None:
    samples, name = recording.samples, recording.name
    lowest = min(LOWEST_RATE, sample_rate)
    if not lowest <= recording.sample_rate <= HIGHEST_RATE:
        raise AudioError(
            f"{name} has {recording.sample_rate} samples a second, expected {lowest} to {HIGHEST_RATE}; "
            "record it again, or repair its header"
        )
    _check_length(name, len(samples) / recording.sample_rate)
    if not np.isfinite(samples).all():
        raise AudioError(f"{name} has samples that are not finite numbers, expected -1 to 1; repair it")
    for channel in samples.T:
        if np.abs(channel).max() > _FEW_STEPS and (share := _flat_share(channel)) > CLIPPED:
            raise AudioError(
                f"{name} is clipped: {share:.1%} of its samples lie in flat tops at "
                f"{np.abs(channel).max():.2f}, expected at most {CLIPPED:.1%}; record it with less gain"
            )


def _mixed(recording: Recording) -> np.ndarray:
    """Return the mean of the channels, float [samples], without the offset that cheap devices add."""
    channels = recording.samples - recording.samples.mean(axis=0)
    audio: np.ndarray = channels.mean(axis=1)
    if np.square(audio).mean() < LEAST_SUM**2 * np.square(channels).mean(axis=0).max():
        raise AudioError(
            f"the channels of {recording.name} have opposite phase and cancel; give a file with one of them"
        )
    return audio


def _check_length(name: str, seconds: float) -> None:
    if seconds < SHORTEST:
        raise AudioError(
            f"{name} has {seconds:.2f} s of speech, expected {SHORTEST:.0f} s or more; give three to five"
        )


def _flat_share(channel: np.ndarray) -> float:
    """Return the share of samples that are at the peak, on one side of zero, with both their neighbours."""
    size = np.abs(channel)
    top = np.sign(channel) * (size >= size.max() * (1 - _FLAT))
    flat = (top[1:-1] != 0) & (top[:-2] == top[1:-1]) & (top[1:-1] == top[2:])
    return float(flat.mean())


def _resampled(audio: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    if rate == wanted:
        return audio
    with uninterrupted():
        import soxr  # only a recording of another rate needs it

    return soxr.resample(audio, rate, wanted)


def _powers(audio: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return the mean square of each short frame; an incomplete frame at the end is left out."""
    size = round(_FRAME * sample_rate)
    frames = audio[: len(audio) // size * size].reshape(-1, size)
    return np.square(frames, dtype=np.float64).mean(axis=1)


def _decibels(power: np.ndarray) -> np.ndarray:
    return 10 * np.log10(np.maximum(power, 1e-12))


def _speech(audio: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return for each short frame whether it belongs to speech; gaps within words do."""
    levels = _decibels(_powers(audio, sample_rate))
    loudest, noise = np.percentile(levels, 95), np.percentile(levels, 5)
    # Without silence in the recording, the quietest frames are speech as well.
    threshold = max(loudest - _RANGE, min(noise + _ABOVE_NOISE, loudest - _RANGE / 2))
    speech = levels > threshold
    for start, end in _runs(~speech):
        if (end - start) * _FRAME < _PAUSE and start > 0 and end < len(speech):
            speech[start:end] = True
    return speech


def _runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """Return start and end (exclusive) of each run of flags that are set."""
    edges = np.flatnonzero(np.diff(flags.astype(np.int8), prepend=0, append=0))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _stretch(speech: np.ndarray) -> tuple[float, float]:
    """Return start and end, in seconds, of what to use: all of a recording, or the best stretch of it."""
    whole = len(speech) * _FRAME
    spoken = _runs(speech)
    longest = LONGEST - 2 * _MARGIN
    best, score = (spoken[0][0], spoken[0][0]), 0
    for place, (start, _) in enumerate(spoken):
        ends = [end for _, end in spoken[place:] if (end - start) * _FRAME <= longest]
        end = ends[-1] if ends else start
        if (found := int(speech[start:end].sum())) > score:
            best, score = (start, end), found
    if score * _FRAME < SHORTEST:  # there is no pause: cut within the speech
        start = max(spoken, key=lambda run: run[1] - run[0])[0]
        best = (start, start + round(longest / _FRAME))
    return max(0.0, best[0] * _FRAME - _MARGIN), min(whole, best[1] * _FRAME + _MARGIN)


def _log_stretch(name: str, start: float, end: float, whole: float) -> None:
    if whole - (end - start) > 2 * _MARGIN:
        _log.info("%s: using %.1f s from %.1f s on, of %.1f s", name, end - start, start, whole)
