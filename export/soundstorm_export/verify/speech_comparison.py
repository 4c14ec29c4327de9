"""Compare the speech of a precision with that of fp32: the same sentences and seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import torch

from soundstorm_edge.nn.mel import LogMel
from soundstorm_runtime.bundle.manifest import SpeechReport, Variant
from soundstorm_runtime.bundle.open_engines import open_engines
from soundstorm_runtime.bundle.reader import Bundle
from soundstorm_runtime.engines.base import Engine
from soundstorm_runtime.voice import Voice

from ..errors import ExportError
from .parity import cpu_engine

# In no training corpus, and made of words that the recogniser has.
SENTENCES = (
    "The train to the coast was late again this morning.",
    "She put the letters into a wooden box under the stairs.",
    "Nobody knew why the old clock had stopped in the night.",
    "We followed the river until the road turned to the north.",
    "A cold wind came over the hills before the snow began.",
    "He bought bread, apples and a bottle of milk for the children.",
)

# The largest spectral distance allowed: this many times the distance between two seeds in fp32, or this many
# dB, which are hardly audible, whichever is larger. A voice that decodes by expectation at a low
# temperature hardly depends on its seed: the distance between two was below 0.8 dB.
MOST_OF_SEED = 1.25
HARDLY_AUDIBLE = 1.5
MOST_WORD_ERRORS = 5.0  # percentage points above fp32: three of the sixty-three words above

TEXT_GRAPHS = ("text_encoder", "text_decoder", "text_step")
DECIBELS = 20 / math.log(10)  # per neper


class ReferenceSpeech:
    """Speech of a bundle in fp32 on the CPU, synthesised when it is first needed and then kept.

    Attributes:
        engines: those of fp32, by the graph's name.
        sample_rate: of the voice, in Hz.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.engines = open_engines(bundle, provider="cpu", precision="fp32").by_name
        self.sample_rate = bundle.manifest.audio.sample_rate
        self._bundle = bundle

    @cached_property
    def audio(self) -> list[np.ndarray]:
        """Each of `SENTENCES`, float32 `[samples]`."""
        return _speak(self._bundle, self.engines)

    @cached_property
    def seed_distance(self) -> float:
        """The spectral distance in dB between two seeds."""
        return spectral_distance(self.audio, _speak(self._bundle, self.engines, seed=1), self.sample_rate)

    @cached_property
    def word_errors(self) -> float | None:
        """The word error rate in percent, where it can be measured."""
        return word_error_rate(self.audio, self.sample_rate)


def compare_speech(bundle: Bundle, precision: Variant, reference: ReferenceSpeech) -> SpeechReport:
    """Speak `SENTENCES` with a bundle in `precision`, and compare with fp32 at the same seed.

    The decode loop feeds its samples back: after one different code the rest of a sentence may differ as
    much as with another seed, so the spectral distance is compared with that of another seed. For this
    distance both speak the semantic tokens of fp32, since a phone that lasts one frame longer would shift
    everything after it. Word errors are counted with all graphs in `precision`.

    Raises:
        ExportError: the spectral distance or the word error rate is too large.
    """
    converted = {
        name: cpu_engine(graph, bundle.graph_file(name, precision), precision)
        for name, graph in bundle.manifest.expected_graphs().items()
        if name in bundle.manifest.variants[precision].graphs
    }
    rate = reference.sample_rate
    not_text = {name: engine for name, engine in converted.items() if name not in TEXT_GRAPHS}
    audio = _speak(bundle, {**reference.engines, **not_text})
    distance = spectral_distance(reference.audio, audio, rate)
    _check_distance(precision, distance, reference.seed_distance)
    if converted.keys() != not_text.keys():
        audio = _speak(bundle, {**reference.engines, **converted})
    errors = word_error_rate(audio, rate)
    _check_word_errors(precision, errors, reference.word_errors)
    return SpeechReport(len(SENTENCES), round(distance, 3), errors, reference.word_errors)


def _speak(bundle: Bundle, engines: Mapping[str, Engine], seed: int = 0) -> list[np.ndarray]:
    voice = Voice(bundle, engines)
    return [voice.speak(text, seed=seed) for text in SENTENCES]


def _check_distance(precision: Variant, distance: float, of_seed: float) -> None:
    allowed = max(HARDLY_AUDIBLE, MOST_OF_SEED * of_seed)
    if distance > allowed:
        raise ExportError(
            f"the spectral distance between {precision} and fp32 is {distance:.2f} dB, expected at most "
            f"{allowed:.2f} dB, the larger of {HARDLY_AUDIBLE} dB and {MOST_OF_SEED} times the {of_seed:.2f} "
            f"dB between two seeds; nothing was written; export without --precision {precision}"
        )


def _check_word_errors(precision: Variant, found: float | None, of_fp32: float | None) -> None:
    if found is not None and of_fp32 is not None and found > of_fp32 + MOST_WORD_ERRORS:
        raise ExportError(
            f"the word error rate in {precision} is {found:.1f} %, in fp32 {of_fp32:.1f} %, expected at most "
            f"{MOST_WORD_ERRORS:.0f} points more; nothing was written; export without --precision {precision}"
        )


def spectral_distance(one: Sequence[np.ndarray], other: Sequence[np.ndarray], sample_rate: int) -> float:
    """Compare audio, float32 `[samples]`, pair by pair.

    Returns:
        The mean over frames of the root mean square difference of log-mel spectra, in dB. Where the lengths
        of a pair differ, the end of the longer one is ignored.
    """
    mel = LogMel(sample_rate, hop=sample_rate // 100, window=sample_rate // 25, mels=40)
    distances = []
    for first, second in zip(one, other, strict=True):
        length = min(len(first), len(second))
        pair = torch.from_numpy(np.stack([first[:length], second[:length]]))
        spectra = mel(pair) * DECIBELS
        distances.append((spectra[0] - spectra[1]).square().mean(dim=-1).sqrt())
    return float(torch.cat(distances).mean())


def word_error_rate(audio: Sequence[np.ndarray], sample_rate: int) -> float | None:
    """Recognise `SENTENCES` in audio, float32 `[samples]`.

    Returns:
        The word error rate in percent; None without pocketsphinx and jiwer, or at a rate other than 16 kHz,
        the only one that the recogniser's model takes.
    """
    try:
        import jiwer
        import pocketsphinx  # type: ignore[import-untyped]
    except ImportError:
        return None
    if sample_rate != 16_000:
        return None
    decoder = pocketsphinx.Decoder(samprate=16_000, loglevel="FATAL")
    recognised = []
    for samples in audio:
        decoder.reinit_feat()  # forget the adaptation to the sentence before
        decoder.start_utt()
        decoder.process_raw(np.rint(samples * 32767).astype("<i2").tobytes(), full_utt=True)
        decoder.end_utt()
        recognised.append(decoder.hyp().hypstr if decoder.hyp() else "")
    return round(100 * jiwer.wer([_words(text) for text in SENTENCES], recognised), 2)


def _words(sentence: str) -> str:
    return sentence.lower().replace(",", "").replace(".", "")
