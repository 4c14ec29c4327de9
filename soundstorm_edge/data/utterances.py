"""The utterances of a corpus, read from disk one by one: their list may be larger than memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np

from soundstorm_runtime.support.files import parse_json

from ..errors import CorpusError
from ..support.config import from_dict

LISTING = "utterances.jsonl"


@dataclass(frozen=True)
class Utterance:
    """One recording of a corpus.

    Args:
        id: unique within the corpus.
        audio: the file, relative to the folder of the corpus.
        seconds: duration.
        text: what is said.
        speaker: name of the speaker.
        held_out: whether training does not see it.
        phones: what is spoken; empty where it is not known.
        ends: end of each phone in seconds; empty without alignment.
        pitch: fundamental frequencies in Hz, evenly spaced over the recording, 0 where nothing is voiced;
            empty where they are not known.
    """

    id: str
    audio: str
    seconds: float
    text: str
    speaker: str
    held_out: bool
    phones: tuple[str, ...] = ()
    ends: tuple[float, ...] = ()
    pitch: tuple[float, ...] = ()


class Utterances(Sequence[Utterance]):
    """The rows of one or several listings, by number; only the position of each row is in memory.

    `seconds` float64, `held_out` bool and `speaker` int64, `[utterances]`, are known without reading the rows
    again; `speakers` are the names that the latter counts.
    """

    def __init__(self, folder: Path, listings: Sequence[Path]) -> None:
        self.folder, self.listings = folder, listings
        ids: dict[str, int] = {}
        rows = (
            (number, start, end, seconds, held_out, ids.setdefault(speaker, len(ids)))
            for number, listing in enumerate(listings)
            for start, end, seconds, held_out, speaker in _scan(listing)
        )
        places = [("listing", "i4"), ("start", "i8"), ("end", "i8")]
        columns = [("seconds", "f8"), ("held_out", "?"), ("speaker", "i8")]
        self._places = np.fromiter(rows, dtype=[*places, *columns])
        self.speakers = list(ids)

    @property
    def seconds(self) -> np.ndarray:
        """The duration of each utterance, float64 `[utterances]`."""
        return self._places["seconds"]

    @property
    def held_out(self) -> np.ndarray:
        """Which utterances training does not see, bool `[utterances]`."""
        return self._places["held_out"]

    @property
    def speaker(self) -> np.ndarray:
        """The speaker of each utterance, as an index of `speakers`, int64 `[utterances]`."""
        return self._places["speaker"]

    def where(self, chosen: np.ndarray) -> Utterances:
        """Return the utterances that `chosen` marks, bool `[utterances]`, or numbers."""
        found = object.__new__(Utterances)
        found.folder, found.listings, found.speakers = self.folder, self.listings, self.speakers
        found._places = self._places[chosen]
        return found

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, number: int) -> Utterance: ...

    @overload
    def __getitem__(self, number: slice) -> Utterances: ...

    def __getitem__(self, number: int | slice) -> Utterance | Utterances:
        if isinstance(number, slice):
            return self.where(np.arange(len(self))[number])
        place = self._places[number]
        listing = self.listings[place["listing"]]
        with listing.open("rb") as file:
            file.seek(place["start"])
            row = _read_row(file.read(place["end"] - place["start"]), str(listing))
        shard = listing.parent.relative_to(self.folder)
        return dataclasses.replace(row, audio=(shard / row.audio).as_posix())


def _scan(listing: Path) -> Iterator[tuple[int, int, float, bool, str]]:
    """Yield the start, end, seconds, held_out and speaker of every row."""
    fields = dataclasses.fields(Utterance)
    known = {field.name for field in fields}
    needed = {field.name for field in fields if field.default is dataclasses.MISSING}
    start = 0
    with listing.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                row = parse_json(line)
                is_whole = needed <= row.keys() <= known
                values = float(row["seconds"]), bool(row["held_out"]), str(row["speaker"])
            except (ValueError, TypeError, AttributeError, KeyError):
                is_whole = False
            if not is_whole:  # the strict reader is much slower, and reports what is wrong
                strict = _read_row(line, f"{listing}:{number}")
                values = strict.seconds, strict.held_out, strict.speaker
            yield start, start + len(line), *values
            start += len(line)


def _read_row(line: bytes, where: str) -> Utterance:
    try:
        return from_dict(Utterance, parse_json(line), where)
    except ValueError as error:
        raise CorpusError(f"{where} is not an utterance ({error}); make the corpus again") from error


def find_listings(folder: Path) -> list[Path]:
    """Return the listing of a corpus, or those of its shards: corpus folders, or links to them, in `folder`.

    Raises:
        CorpusError: there is none, or a shard is incomplete.
    """
    if (folder / LISTING).is_file():
        return [folder / LISTING]
    shards = sorted(path.parent for path in folder.glob("*/settings.json"))
    if unfinished := [shard for shard in shards if not (shard / LISTING).is_file()]:
        raise CorpusError(f"the shard {unfinished[0]} is not complete; complete or remove it")
    found = sorted(folder.glob(f"*/{LISTING}"))
    if not found:
        raise CorpusError(f"no corpus at {folder}; make one with 'soundstorm-train corpus'")
    return found
