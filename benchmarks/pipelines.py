"""The pipelines from a sentence to its audio, each one stage longer than the one before.

    teacher          flite speaks it, in the voice that the corpus was made with
    codec            the codec's reconstruction of the teacher
    soundstorm       SoundStorm from the teacher's semantic tokens, then the codec
    text to speech   from text alone, in PyTorch
    bundle ...       the same by the exported bundle, once for each precision that it has

All of them speak the words that the text front end produces: how a number is read is not scored.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
import torch

from soundstorm_edge.checkpoint import VoiceModels
from soundstorm_edge.data.sources.flite import speak
from soundstorm_edge.errors import CheckpointError
from soundstorm_edge.nn.torch_engine import TorchEngine
from soundstorm_export.tracing.networks import networks
from soundstorm_export.voice_parts import Parts
from soundstorm_runtime.bundle.prompts import Prompt
from soundstorm_runtime.bundle.reader import read_bundle
from soundstorm_runtime.synthesis.acoustic_stage import AcousticStage
from soundstorm_runtime.synthesis.sentence_reader import Part
from soundstorm_runtime.text.sentences import normalise
from soundstorm_runtime.voice import Voice

TEACHER, CODEC, SOUNDSTORM, TEXT = "teacher", "codec", "soundstorm", "text to speech"


@dataclass(frozen=True)
class Spoken:
    """float32 `[samples]`; complete: false where the text stage was cut off by its limit of length."""

    audio: np.ndarray
    complete: bool = True


class Pipelines:
    """All pipelines that speak a sentence in one voice of flite, at the codec's sample rate.

    PyTorch runs inside the runtime, too: text to speech differs from the bundle in its engines alone.
    """

    def __init__(self, models: VoiceModels, bundle: Path, teacher: str, seed: int) -> None:
        read = read_bundle(bundle)
        manifest = read.manifest
        engines = {
            name: TorchEngine(network.graph, network.function)
            for name, network in networks(Parts.of(models), manifest.expected_graphs()).items()
        }
        prompts = prompts_of(models)
        if prompts and teacher not in prompts:
            raise CheckpointError(
                f"the checkpoint has no voice {teacher!r}; give some of: {', '.join(prompts)}"
            )
        self.sample_rate = models.codec.sample_rate
        self._models = models
        self._teacher = teacher
        self._seed = seed
        self._prompt = prompts.get(teacher)
        self._name = teacher if prompts else None
        self._options = manifest.decode
        self._acoustics = AcousticStage(manifest, engines)
        self._voices = {TEXT: Voice(read, engines)}
        for precision in manifest.precisions:
            self._voices[f"bundle {precision}"] = Voice.load(
                bundle, precision=precision, provider="cpu", threads=1
            )

    def speak(self, text: str) -> dict[str, Spoken]:
        """Speak a sentence with every pipeline."""
        taught = teach(text, self._teacher, self.sample_rate)
        spoken = {
            TEACHER: Spoken(taught),
            CODEC: Spoken(self._rebuild(taught)),
            SOUNDSTORM: Spoken(self._sound(self._tokens(taught))),
        }
        for pipeline, voice in self._voices.items():
            with _warnings() as warnings:
                audio = voice.speak(text, voice=self._name, seed=self._seed)
            spoken[pipeline] = Spoken(audio, complete=not warnings)
        return spoken

    def _rebuild(self, audio: np.ndarray) -> np.ndarray:
        """Encode and decode, to the same number of samples."""
        codec = self._models.codec
        with torch.inference_mode():
            decoded = codec.decode_from_codebook_indices(codec.tokenize(torch.from_numpy(audio)[None]))
        return decoded[0, : len(audio)].numpy().clip(-1, 1)

    def _tokens(self, audio: np.ndarray) -> np.ndarray:
        units = self._models.units
        heard = torch.from_numpy(_resample(audio, self.sample_rate, units.sample_rate))
        return units.tokenize(heard[None])[0].numpy()

    def _sound(self, tokens: np.ndarray) -> np.ndarray:
        part = Part(tokens, np.random.default_rng(self._seed))
        (codes,) = self._acoustics.codes([part], self._options, self._prompt)
        return self._acoustics.audio(codes, self._prompt)


def teach(text: str, voice: str, sample_rate: int) -> np.ndarray:
    """Return flite's speech of the words of `text`, float32 `[samples]` at that rate."""
    sound = speak(normalise(text), voice)
    return _resample(sound.audio, sound.rate, sample_rate)


def prompts_of(models: VoiceModels) -> dict[str, Prompt]:
    """Return the prompts of a checkpoint by name; none where it has one voice alone."""
    return dict(models.prompts)


@contextmanager
def _warnings() -> Iterator[list[logging.LogRecord]]:
    """Collect the warnings of the text stage, which are that it cut a sentence off."""
    warnings: list[logging.LogRecord] = []
    log = logging.getLogger("soundstorm_runtime.synthesis.text_stage")

    def note(record: logging.LogRecord) -> bool:
        if record.levelno >= logging.WARNING:
            warnings.append(record)
        return True

    log.addFilter(note)
    try:
        yield warnings
    finally:
        log.removeFilter(note)


def _resample(audio: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    return audio if rate == wanted else soxr.resample(audio, rate, wanted)
