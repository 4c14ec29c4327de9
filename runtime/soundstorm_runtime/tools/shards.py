"""Speech of many lines in shards: files of many utterances each, as WebDataset (tar) or Parquet.

A shard appears when it is complete, under a name made of the ids in it. A line is done if its id is in a
shard. What speaks a line again, after a node was lost or a run was interrupted, finds it done or writes the
same file.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import soundfile

from ..errors import AudioError, OptionError
from ..support.atomic import atomic_file
from .batch_jobs import Line

Form = Literal["tar", "parquet"]


@dataclass(frozen=True)
class Utterance:
    """A line and its speech, float32 [samples] in [-1, 1]."""

    line: Line
    audio: np.ndarray
    sample_rate: int

    def facts(self) -> dict[str, object]:
        """Return what a shard holds beside the audio."""
        seconds = round(len(self.audio) / self.sample_rate, 4)
        line = self.line
        return {"text": line.text, "voice": line.voice, "seed": line.seed, "seconds": seconds}

    def wav(self) -> bytes:
        """Return the audio as a 16-bit WAV file."""
        sink = io.BytesIO()
        samples = np.rint(self.audio.clip(-1, 1) * 32767).astype(np.int16)
        soundfile.write(sink, samples, self.sample_rate, "PCM_16", format="WAV")
        return sink.getvalue()


def shard_file(folder: Path, lines: Sequence[Line], form: Form) -> Path:
    """Return the file of a shard that so many lines are asked for; some of them may turn out unspeakable."""
    ids = "\n".join(line.id for line in lines)
    return folder / f"shard-{hashlib.sha256(ids.encode()).hexdigest()[:16]}.{form}"


def check_ids(lines: Sequence[Line], form: Form) -> None:
    """Raise `OptionError` for an id that a WebDataset would not keep whole: it ends at the first dot."""
    for line in lines:
        if form == "tar" and "." in line.id:
            raise OptionError(
                f"id {line.id!r} has a dot, where WebDataset ends the name of a sample; rename it, or give "
                "--form parquet"
            )


def write_shard(file: Path, spoken: Sequence[Utterance]) -> None:
    """Write a shard; its suffix is the form. The same utterances give the same bytes.

    Raises:
        AudioError: It cannot be written.
    """
    try:
        with atomic_file(file) as work:
            {".tar": _write_tar, ".parquet": _write_parquet}[file.suffix](work, spoken)
    except OSError as error:
        raise AudioError(
            f"cannot write {file}: {error.strerror or error}; choose a folder that can be written"
        ) from error


def ids_in_shards(folder: Path) -> Iterator[str]:
    """Yield the ids of all lines in the shards of a folder.

    Raises:
        OptionError: A file named like a shard is none.
    """
    for file in sorted(folder.glob("shard-*")):
        if file.suffix.lstrip(".") in get_args(Form):
            try:
                yield from _tar_ids(file) if file.suffix == ".tar" else _parquet_ids(file)
            except (tarfile.TarError, OSError, ValueError, KeyError) as error:
                why = str(error).partition(":")[0]
                raise OptionError(
                    f"{file} is damaged ({why}); remove it, and its lines are spoken again"
                ) from error


def _write_tar(path: Path, spoken: Sequence[Utterance]) -> None:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for each in spoken:
            facts = json.dumps(each.facts(), ensure_ascii=False).encode()
            for suffix, content in (("json", facts), ("wav", each.wav())):
                member = tarfile.TarInfo(f"{each.line.id}.{suffix}")
                member.size, member.mode = len(content), 0o644
                tar.addfile(member, io.BytesIO(content))


def _tar_ids(file: Path) -> Iterator[str]:
    with tarfile.open(file) as tar:
        for member in tar:
            if member.name.endswith(".wav"):
                yield member.name.removesuffix(".wav")


def _write_parquet(path: Path, spoken: Sequence[Utterance]) -> None:
    import pyarrow
    from pyarrow import parquet

    rows = [
        {"id": each.line.id, **each.facts(), "sample_rate": each.sample_rate, "wav": each.wav()}
        for each in spoken
    ]
    schema = pyarrow.schema(
        [
            ("id", pyarrow.string()),
            ("text", pyarrow.string()),
            ("voice", pyarrow.string()),
            ("seed", pyarrow.int64()),
            ("seconds", pyarrow.float64()),
            ("sample_rate", pyarrow.int32()),
            ("wav", pyarrow.binary()),
        ]
    )
    parquet.write_table(pyarrow.Table.from_pylist(rows, schema), path)


def _parquet_ids(file: Path) -> Iterator[str]:
    from pyarrow import parquet

    yield from parquet.read_table(file, columns=["id"])["id"].to_pylist()
