"""Speak many lines to files: JSON lines in, one WAV file for each line out, in one process or several."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from ..audio.writers import audio_file
from ..bundle.open_engines import PrecisionChoice, Provider
from ..errors import EngineError, TextError
from ..support.files import parse_json
from ..support.hardware import default_threads
from ..support.interrupt import follow_parent, starting_processes
from ..support.serde import from_dict
from ..voice import Voice

CHUNK = 16  # lines that are computed together; an interrupted run speaks the last chunk again

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


@dataclass(frozen=True)
class Line:
    """A line to speak; `id` names its file."""

    id: str
    text: str
    voice: str | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.id):
            raise ValueError(
                f"id is {self.id!r}, expected up to 200 letters, digits, dots, dashes and underscores, "
                "a letter or digit first: it names the file"
            )
        if self.seed is not None and self.seed < 0:
            raise ValueError(f"seed is {self.seed}, expected 0 or more")


@dataclass(frozen=True)
class Job:
    """The bundle, the folder to write to, the options; `voice` and `seed` are for lines without their own."""

    bundle: Path
    folder: Path
    voice: str | None = None
    seed: int = 0
    steps: tuple[int, ...] | None = None
    temperature: float | None = None
    threads: int | None = None
    provider: Provider = "auto"
    precision: PrecisionChoice = "auto"
    speed: float = 1.0
    lexicon: Path | None = None

    def file(self, line: Line) -> Path:
        """Return the file of a line; it exists only when it is complete."""
        return self.folder / f"{line.id}.wav"


@dataclass(frozen=True)
class Spoken:
    """The result of a line: seconds of audio, or the problem that prevented it."""

    id: str
    seconds: float
    problem: str | None = None


def read_lines(text: str, name: str) -> list[Line]:
    """Read JSON lines; empty lines are skipped.

    Args:
        name: the name of the input in messages.

    Raises:
        TextError: a line is not an object with the keys of `Line`, or its id is that of an earlier line.
    """
    lines: list[Line] = []
    seen: dict[str, int] = {}
    for number, row in enumerate(text.split("\n"), 1):  # a JSON string may contain other line separators
        if not row.strip():
            continue
        try:
            line = from_dict(Line, parse_json(row), "the line")
        except ValueError as error:
            raise TextError(f"{name}:{number}: {error}; correct the line") from error
        if line.id in seen:
            raise TextError(f"{name}:{number}: id {line.id!r} is that of line {seen[line.id]}; give another")
        seen[line.id] = number
        lines.append(line)
    return lines


def speak_lines(job: Job, lines: Sequence[Line], workers: int = 1) -> Iterator[Spoken]:
    """Speak lines to files, and yield the result of each, in no particular order.

    A line that cannot be spoken yields a problem; the others are spoken all the same.

    Args:
        workers: processes; they share the processors unless `job.threads` is given.

    Raises:
        EngineError: a process was ended from outside.
        SoundStormError: as `Voice.load`.
    """
    ordered = sorted(lines, key=lambda line: -len(line.text))  # lines of similar length need little padding
    chunks = [ordered[start : start + CHUNK] for start in range(0, len(ordered), CHUNK)]
    if workers == 1:
        for chunk in chunks:
            yield from _speak_chunk(job, chunk, job.threads)
        return
    from concurrent.futures import ProcessPoolExecutor, as_completed  # not needed for one process
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    threads = job.threads or max(1, default_threads() // workers)
    # Spawned, because an engine's threads do not survive a fork.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=follow_parent)
    try:
        with starting_processes():
            futures = [pool.submit(_speak_chunk, job, chunk, threads) for chunk in chunks]
        for future in as_completed(futures):
            yield from future.result()
    except BrokenProcessPool as error:
        raise EngineError(
            "a worker process was ended, as where the memory is exhausted; run the command again, with fewer "
            "--workers: what is spoken stays"
        ) from error
    finally:  # `with` would wait for the chunks that are still to be spoken
        pool.shutdown(cancel_futures=True)


@lru_cache(maxsize=1)
def load_voice(job: Job, threads: int | None) -> Voice:
    """Return the voice of this process, loaded at the first call."""
    return Voice.load(
        job.bundle, threads=threads, provider=job.provider, precision=job.precision, lexicon=job.lexicon
    )


def speak_together(voice: Voice, job: Job, lines: Sequence[Line]) -> list[np.ndarray | str]:
    """Return the audio of each line, float32 [samples], or the reason why it cannot be spoken."""
    try:
        audio = voice.speak_many(
            [line.text for line in lines],
            voice=[line.voice or job.voice for line in lines],
            seed=[job.seed if line.seed is None else line.seed for line in lines],
            speed=job.speed,
            steps=job.steps,
            temperature=job.temperature,
        )
    except TextError as error:
        if len(lines) == 1:
            return [str(error)]
        return [spoken for line in lines for spoken in speak_together(voice, job, [line])]
    return list(audio)


def _speak_chunk(job: Job, lines: Sequence[Line], threads: int | None) -> list[Spoken]:
    voice = load_voice(job, threads)
    spoken = []
    for line, audio in zip(lines, speak_together(voice, job, lines), strict=True):
        if isinstance(audio, str):
            spoken.append(Spoken(line.id, 0.0, audio))
            continue
        with audio_file(job.file(line), voice.sample_rate) as write:
            write(audio)
        spoken.append(Spoken(line.id, len(audio) / voice.sample_rate))
    return spoken
