"""Source `librispeech`: `<speaker>-<chapter>.trans.txt` beside `<speaker>-<chapter>-<number>.flac`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ...errors import CorpusError
from ..corpus_config import CorpusConfig
from ..recording import Recording, file_recording, find_files, read_text


def librispeech_recordings(config: CorpusConfig) -> Iterator[Recording]:
    """Yield the recordings of the LibriSpeech folder `config.path`.

    Its texts are in capitals, which would be read as acronyms; they become lower-case.
    """
    for listing in find_files(Path(config.path), "*.trans.txt"):
        chapter = listing.name.removesuffix(".trans.txt")
        for number, line in enumerate(read_text(listing).split("\n"), 1):
            if not line.strip():
                continue
            name, _, text = line.strip().partition(" ")
            if not name.startswith(f"{chapter}-") or "/" in name:
                raise CorpusError(f"{listing}:{number} is {line[:60]!r}, expected '{chapter}-<number> TEXT'")
            text = text.lower() if text.isupper() else text
            yield file_recording(name, text, chapter.partition("-")[0], listing.with_name(f"{name}.flac"))
