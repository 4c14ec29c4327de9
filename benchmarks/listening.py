"""Speak one sentence with every pipeline, and measure what can be measured of it alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from soundstorm_edge.checkpoint import load_voice
from soundstorm_edge.data.sources.flite import speak
from soundstorm_runtime.text.sentences import normalise

from .distance import mel_cepstral_distance, pesq, stoi
from .pipelines import CODEC, TEACHER, Pipelines
from .recognition import Recogniser, Word, reference_words
from .sentences import Sentence
from .slips import Hearing
from .speakers import timbre


@dataclass(frozen=True)
class Measured:
    """One sentence in one voice; mappings are by pipeline.

    spoken: the expected words and when the teacher says them, empty where these could not be aligned;
    hearings: what was recognised, once for each of `SHIFTS`; complete: false where the text stage was
    cut off; distance: mel-cepstral, to the teacher, in dB; timbre: features of the speaker; stoi and pesq: of
    the codec beside the teacher, the latter None where its library is not installed.
    """

    voice: str
    kind: str
    text: str
    expected: str
    spoken: tuple[Word, ...]
    hearings: dict[str, tuple[Hearing, ...]]
    complete: dict[str, bool]
    distance: dict[str, float]
    timbre: dict[str, tuple[float, ...]]
    stoi: float
    pesq: float | None


class Listener:
    """What a process needs to measure: the networks, the bundle, the recogniser; loaded once."""

    def __init__(self, checkpoint: Path, bundle: Path, seed: int) -> None:
        torch.set_num_threads(1)  # the other cores have processes of their own
        self._models = load_voice(checkpoint)
        self._bundle = bundle
        self._seed = seed
        self._recogniser = Recogniser()
        self._pipelines: dict[str, Pipelines] = {}

    def measure(self, voice: str, sentence: Sentence) -> Measured:
        """Speak a sentence in a voice of flite and in that of the checkpoint, and measure it."""
        if voice not in self._pipelines:
            self._pipelines[voice] = Pipelines(self._models, self._bundle, voice, self._seed)
        pipelines = self._pipelines[voice]
        spoken, rate = pipelines.speak(sentence.text), pipelines.sample_rate
        expected = reference_words(sentence.text)
        taught, rebuilt = spoken[TEACHER].audio, spoken[CODEC].audio
        quality = pesq(taught, rebuilt, rate)
        return Measured(
            voice=voice,
            kind=sentence.kind,
            text=sentence.text,
            expected=expected,
            spoken=tuple(self._recogniser.align(taught, rate, expected)),
            hearings=hear_each(self._recogniser, {pipeline: s.audio for pipeline, s in spoken.items()}, rate),
            complete={pipeline: s.complete for pipeline, s in spoken.items()},
            distance={
                pipeline: round(mel_cepstral_distance(taught, s.audio, rate), 3)
                for pipeline, s in spoken.items()
            },
            timbre={pipeline: tuple(timbre(s.audio, rate)) for pipeline, s in spoken.items()},
            stoi=round(stoi(taught, rebuilt, rate), 4),
            pesq=None if quality is None else round(quality, 3),
        )


def hear_each(
    recogniser: Recogniser, speech: dict[str, np.ndarray], rate: int
) -> dict[str, tuple[Hearing, ...]]:
    """Recognise the audio of each pipeline; audio that two of them share is recognised once."""
    heard: dict[str, tuple[Hearing, ...]] = {}
    for pipeline, audio in speech.items():
        like = next((other for other in heard if _same(audio, speech[other])), None)
        seconds = round(len(audio) / rate, 3)
        heard[pipeline] = (
            heard[like]
            if like
            else tuple(Hearing(tuple(words), seconds) for words in recogniser.hear_shifted(audio, rate))
        )
    return heard


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    """Return whether two signals differ by rounding alone: by less than three steps of 16 bits."""
    return one.shape == other.shape and float(np.abs(one - other).max(initial=0.0)) < 1e-4


def teacher_timbre(voice: str, text: str) -> list[float]:
    """Return the timbre of a voice of flite in one sentence."""
    sound = speak(normalise(text), voice)
    return timbre(sound.audio, sound.rate)
