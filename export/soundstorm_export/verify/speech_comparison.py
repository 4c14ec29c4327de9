"""What a precision does to speech: the same sentences and seeds, beside fp32."""

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

# Heard in no training, and made of words that the recogniser knows.
SENTENCES = (
    "The train to the coast was late again this morning.",
    "She put the letters into a wooden box under the stairs.",
    "Nobody knew why the old clock had stopped in the night.",
    "We followed the river until the road turned to the north.",
    "A cold wind came over the hills before the snow began.",
    "He bought bread, apples and a bottle of milk for the children.",
)

# How far a variant may move spectra: so much of what another seed does, or what nobody hears. How many
# percent points of words it may cost: three of the sixty-three above.
MOST_OF_SEED = 1.25
INAUDIBLE = 1.0
MOST_WORD_ERRORS = 5.0

TEXT_GRAPHS = ("text_encoder", "text_decoder", "text_step")
DECIBELS = 20 / math.log(10)


def compare_speech(bundle: Bundle, precision: Variant) -> SpeechReport:
    """Speak with a bundle in `precision` and in fp32, and compare.

    The decode loop feeds on its own draws: one code drawn otherwise, and the rest of the sentence may
    differ as it does with another seed. So the spectral distance is held against that of another seed.
    For it both speak the semantic tokens of fp32, lest a phone that lasts a frame longer shifts the rest;
    words are recognised from all stages. Raises `ExportError` where too much changes.
    """
    plain = _Speaker(bundle, open_engines(bundle, provider="cpu", precision="fp32").by_name)
    changes = {
        name: cpu_engine(graph, bundle.graph_file(name, precision), precision)
        for name, graph in bundle.manifest.expected_graphs().items()
        if name in bundle.manifest.variants[precision].graphs
    }
    engines: dict[str, Engine] = {**plain.engines, **changes}
    same_text = {name: plain.engines[name] for name in TEXT_GRAPHS if name in engines}
    spoken, changed = plain.speak(), _Speaker(bundle, {**engines, **same_text}).speak()
    rate = bundle.manifest.audio.sample_rate
    distance = spectral_distance(spoken, changed, rate)
    allowed = max(INAUDIBLE, MOST_OF_SEED * spectral_distance(spoken, plain.speak(seed=1), rate))
    if distance > allowed:
        raise ExportError(
            f"{precision} moves spectra of speech by {distance:.2f} dB, expected at most {allowed:.2f} dB "
            f"({MOST_OF_SEED} times what another seed does); nothing was written; export without "
            f"--precision {precision}"
        )
    if not bundle.manifest.variants[precision].graphs.keys().isdisjoint(TEXT_GRAPHS):
        changed = _Speaker(bundle, engines).speak()
    lost, lost_by_fp32 = word_error_rate(changed, rate), word_error_rate(spoken, rate)
    if lost is not None and lost_by_fp32 is not None and lost > lost_by_fp32 + MOST_WORD_ERRORS:
        raise ExportError(
            f"{precision} loses {lost:.1f} % of the words, fp32 {lost_by_fp32:.1f} %, expected at most "
            f"{MOST_WORD_ERRORS:.0f} points more; nothing was written; export with --precision fp32 alone"
        )
    return SpeechReport(len(SENTENCES), round(distance, 3), lost, lost_by_fp32)


class _Speaker:
    """Speaks all sentences with the given engines."""

    def __init__(self, bundle: Bundle, engines: Mapping[str, Engine]) -> None:
        self.engines = engines
        self.voice = Voice(bundle, engines)

    def speak(self, seed: int = 0) -> list[np.ndarray]:
        return [self.voice.speak(text, seed=seed) for text in SENTENCES]


def spectral_distance(one: Sequence[np.ndarray], other: Sequence[np.ndarray], sample_rate: int) -> float:
    """Compare audio float32 `[samples]`, pair by pair: the mean over frames of the root mean square
    difference of log-mel spectra, in dB. Of two lengths, the part that both have counts.
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
    """Recognise `SENTENCES` in audio float32 `[samples]`; in percent, or None where that cannot be done.

    It needs pocketsphinx and jiwer, and a voice of 16 kHz.
    """
    try:
        import jiwer
        import pocketsphinx  # type: ignore[import-untyped]
    except ImportError:
        return None
    decoder = pocketsphinx.Decoder(samprate=16_000, loglevel="FATAL")
    if sample_rate != 16_000:
        return None
    heard = []
    for samples in audio:
        decoder.reinit_feat()  # what it adapted to in one sentence must not colour the next
        decoder.start_utt()
        decoder.process_raw(np.rint(samples * 32767).astype("<i2").tobytes(), full_utt=True)
        decoder.end_utt()
        heard.append(decoder.hyp().hypstr if decoder.hyp() else "")
    return round(100 * jiwer.wer([_words(text) for text in SENTENCES], heard), 2)


def _words(sentence: str) -> str:
    return sentence.lower().replace(",", "").replace(".", "")
