"""Source `libritts`: `<speaker>/<chapter>/<id>.wav` beside `<id>.normalized.txt`, at any depth."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..corpus_config import CorpusConfig
from ..recording import Recording, file_recording, find_files, read_text


def libritts_recordings(config: CorpusConfig) -> Iterator[Recording]:
    """Yield the recordings of the LibriTTS folder `config.path`, with the normalised text."""
    for text in find_files(Path(config.path), "*.normalized.txt"):
        name = text.name.removesuffix(".normalized.txt")
        speaker = text.parent.parent.name
        yield file_recording(name, read_text(text), speaker, text.with_name(f"{name}.wav"))
