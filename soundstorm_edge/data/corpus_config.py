"""The settings of a corpus: the table `[corpus]` of a recipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class CorpusConfig:
    """Where the speech of a corpus comes from.

    Args:
        source: the module of `soundstorm_edge.data.sources` that yields the recordings.
        path: the folder of LJSpeech, LibriTTS or LibriSpeech.
        voices: the voices that a synthesizer speaks with.
        sample_rate: of the corpus, in Hz; recordings of another rate are resampled.
        utterances: at most this many of each speaker; 0 takes all.
        held_out_percent: share of the sentences that training does not see.
        blends: of the source `kokoro`, the share of utterances with a speaker of their own, a random blend of
            the teacher's styles; `voices` share the others in turns.
        times: "align" runs forced alignment, a folder holds TextGrid files; empty keeps the source's own.
        unusable: recordings without words, without speech, or with speech of unknown phones: "refuse" names
            them in an error, "skip" leaves them out with a warning.
    """

    source: Literal["flite", "kokoro", "ljspeech", "libritts", "librispeech"] = "flite"
    path: str = ""
    voices: tuple[str, ...] = ("rms",)
    sample_rate: int = 16_000
    utterances: int = 0
    held_out_percent: int = 2
    blends: float = 0.0
    times: str = ""
    unusable: Literal["refuse", "skip"] = "refuse"
