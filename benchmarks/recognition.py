"""Word error rates by a recogniser that works offline: pocketsphinx, with the English model inside it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import jiwer
import numpy as np
import pocketsphinx  # type: ignore[import-untyped]
import soxr
from tqdm import tqdm

from soundstorm_runtime.text import PAUSES, normalise

SAMPLE_RATE = 16_000  # what the model was trained on

_PUNCTUATION = str.maketrans(dict.fromkeys(PAUSES + '"()', " "))
_HALF_OF_DAY = re.compile(r"\b([ap]) m\b")  # of which the recogniser makes one word or two
_decoder: Any = None  # of a worker process: loading the model takes longer than using it


@dataclass(frozen=True)
class WordErrors:
    """Errors among `words` spoken words; `rate` is in percent and may exceed 100."""

    words: int
    substitutions: int
    deletions: int
    insertions: int
    rate: float


def reference_words(sentence: str) -> str:
    """Spell out what is to be heard, as the voice itself does, without punctuation and capitals."""
    return _plain(normalise(sentence))


def heard_words(hypothesis: str) -> str:
    """Bring what the recogniser wrote into the same form: `p. m.` is one word, `twenty-one` two."""
    return _plain(hypothesis.replace("-", " "))


def _plain(text: str) -> str:
    # The front end writes the letter a as "ay", to tell it from the article.
    words = ("a" if word == "ay" else word for word in text.lower().translate(_PUNCTUATION).split())
    return _HALF_OF_DAY.sub(r"\1m", " ".join(words))


def count_errors(references: Sequence[str], heard: Sequence[str]) -> WordErrors:
    """Count the errors over all sentences together, so that a long one counts for more."""
    result = jiwer.process_words(list(references), list(heard))
    words = result.hits + result.substitutions + result.deletions
    return WordErrors(
        words, result.substitutions, result.deletions, result.insertions, round(100 * result.wer, 2)
    )


def transcribe(speech: Iterable[np.ndarray], sample_rate: int, jobs: int) -> list[str]:
    """Recognise utterances, float32 `[samples]` each, in `jobs` processes."""
    signals = [_pcm(audio, sample_rate) for audio in speech]
    # Spawned and not forked: the parent's threads of PyTorch and ONNX Runtime do not survive a fork.
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_load) as pool:
        heard = pool.map(_recognise, signals)
        return [heard_words(text) for text in tqdm(heard, total=len(signals), desc="recognition")]


def _pcm(audio: np.ndarray, sample_rate: int) -> bytes:
    if sample_rate != SAMPLE_RATE:
        audio = soxr.resample(audio, sample_rate, SAMPLE_RATE)
    return np.rint(audio.clip(-1, 1) * 32767).astype("<i2").tobytes()


def _load() -> None:
    global _decoder
    _decoder = pocketsphinx.Decoder(samprate=SAMPLE_RATE, loglevel="FATAL")


def _recognise(signal: bytes) -> str:
    # The noise and the mean that were measured on the last utterance must not colour this one.
    _decoder.reinit_feat()
    _decoder.start_utt()
    _decoder.process_raw(signal, full_utt=True)
    _decoder.end_utt()
    hypothesis = _decoder.hyp()
    return hypothesis.hypstr if hypothesis else ""
