"""Corpus sources, one module each; to add one, write its module and enter it in `SOURCES`.

A source is a function from a `CorpusConfig` to an iterator of `Recording`s. It yields them quickly: audio is
read or synthesized by `Recording.load`, in parallel.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from ...errors import CorpusError
from ..corpus_config import CorpusConfig
from ..recording import Recording
from .flite import flite_recordings
from .kokoro import kokoro_recordings
from .librispeech import librispeech_recordings
from .libritts import libritts_recordings
from .ljspeech import ljspeech_recordings

SOURCES: dict[str, Callable[[CorpusConfig], Iterator[Recording]]] = {
    "flite": flite_recordings,
    "kokoro": kokoro_recordings,
    "ljspeech": ljspeech_recordings,
    "libritts": libritts_recordings,
    "librispeech": librispeech_recordings,
}


def recordings(config: CorpusConfig) -> Iterator[Recording]:
    """Yield the recordings of the configured source, up to `config.utterances` of each speaker.

    Raises:
        CorpusError: the source has no recording, or cannot be used.
    """
    count: Counter[str] = Counter()
    for recording in SOURCES[config.source](config):
        count[recording.speaker] += 1
        if not config.utterances or count[recording.speaker] <= config.utterances:
            yield recording
    if not count:
        raise CorpusError(f"no utterance found in {config.path or config.source}")
