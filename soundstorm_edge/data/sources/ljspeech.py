"""Source `ljspeech`: one speaker, `metadata.csv` with `id|text|normalised text`, and `wavs/<id>.wav`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ...errors import CorpusError
from ..corpus_config import CorpusConfig
from ..recording import Recording, file_recording, read_text


def ljspeech_recordings(config: CorpusConfig) -> Iterator[Recording]:
    """Yield the recordings of the LJSpeech folder `config.path`, with the normalised text."""
    folder = Path(config.path)
    listing = folder / "metadata.csv"
    if not listing.is_file():
        raise CorpusError(f"no metadata.csv in {folder}; point corpus.path at an LJSpeech folder")
    # Not `splitlines`, which also splits within a text, at U+2028.
    for number, line in enumerate(read_text(listing).split("\n"), 1):
        if not line.strip():
            continue
        cells = line.split("|")
        if len(cells) not in (2, 3) or not cells[0] or "/" in cells[0]:
            raise CorpusError(f"{listing}:{number} is {line[:60]!r}, expected 'id|text|normalised text'")
        yield file_recording(cells[0], cells[-1], "lj", folder / "wavs" / f"{cells[0]}.wav")
