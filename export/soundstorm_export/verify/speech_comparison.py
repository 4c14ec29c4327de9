"""Compare the speech of a precision with that of fp32: the same sentences and seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

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
# dB, which are inaudible, whichever is larger.
MOST_OF_SEED = 1.25
INAUDIBLE = 1.0
MOST_WORD_ERRORS = 5.0  # percentage points above fp32: three of the sixty-three words above

TEXT_GRAPHS = ("text_encoder", "text_decoder", "text_step")
DECIBELS = 20 / math.log(10)  # per neper


def compare_speech(bundle: Bundle, precision: Variant) -> SpeechReport:
    """Speak `SENTENCES` with a bundle in `precision` and in fp32, and compare.

    The decode loop feeds its samples back: after one different code the rest of a sentence may differ as
    much as with another seed, so the spectral distance is compared with that of another seed. For this
    distance both speak the semantic tokens of fp32, since a phone that lasts one frame longer would shift
    everything after it. Word errors are counted with all graphs in `precision`.

    Raises:
        ExportError: the spectral distance or the word error rate is too large.
    """
    reference = _Speaker(bundle, open_engines(bundle, provider="cpu", precision="fp32").by_name)
    converted = {
        name: cpu_engine(graph, bundle.graph_file(name, precision), precision)
        for name, graph in bundle.manifest.expected_graphs().items()
        if name in bundle.manifest.variants[precision].graphs
    }
    engines: dict[str, Engine] = {**reference.engines, **converted}
    same_text = {name: reference.engines[name] for name in TEXT_GRAPHS if name in engines}
    expected, found = reference.speak(), _Speaker(bundle, {**engines, **same_text}).speak()
    rate = bundle.manifest.audio.sample_rate
    distance = spectral_distance(expected, found, rate)
    _check_distance(precision, distance, spectral_distance(expected, reference.speak(seed=1), rate))
    if not converted.keys().isdisjoint(TEXT_GRAPHS):
        found = _Speaker(bundle, engines).speak()
    errors, errors_fp32 = word_error_rate(found, rate), word_error_rate(expected, rate)
    if errors is not None and errors_fp32 is not None and errors > errors_fp32 + MOST_WORD_ERRORS:
        raise ExportError(
            f"the word error rate in {precision} is {errors:.1f} %, in fp32 {errors_fp32:.1f} %, expected at "
            f"most {MOST_WORD_ERRORS:.0f} points more; nothing was written; export without --precision "
            f"{precision}"
        )
    return SpeechReport(len(SENTENCES), round(distance, 3), errors, errors_fp32)


def _check_distance(precision: Variant, distance: float, of_seed: float) -> None:
    allowed = max(INAUDIBLE, MOST_OF_SEED * of_seed)
    if distance > allowed:
        raise ExportError(
            f"the spectral distance between {precision} and fp32 is {distance:.2f} dB, expected at most "
            f"{allowed:.2f} dB, the larger of {INAUDIBLE:.0f} dB and {MOST_OF_SEED} times the {of_seed:.2f} "
            f"dB between two seeds; nothing was written; export without --precision {precision}"
        )


class _Speaker:
    """Speaks all sentences with the given engines."""

    def __init__(self, bundle: Bundle, engines: Mapping[str, Engine]) -> None:
        self.engines = engines
        self.voice = Voice(bundle, engines)

    def speak(self, seed: int = 0) -> list[np.ndarray]:
        return [self.voice.speak(text, seed=seed) for text in SENTENCES]


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
