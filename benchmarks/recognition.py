"""Word error rates by an offline recogniser: pocketsphinx with its own English model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import jiwer
import numpy as np
import pocketsphinx  # type: ignore[import-untyped]
import soxr

from soundstorm_runtime.text.sentences import PAUSES, normalise

SAMPLE_RATE = 16_000  # what the model was trained on
FRAME_RATE = 100  # frames a second, the resolution of the recogniser's times
SILENCE = 0.5  # probability of silence between aligned words; the default, 0.005, counts pauses to the words
SHIFTS = (0, 80)  # samples of silence put before a sound: none, and half a frame

_PUNCTUATION = str.maketrans(dict.fromkeys(PAUSES + '"()', " "))
_HALF_OF_DAY = re.compile(r"\b([ap]) m\b")  # of which the recogniser makes one word or two


@dataclass(frozen=True)
class WordErrors:
    """Errors among `words` spoken words; `rate` is in percent and may exceed 100."""

    words: int
    substitutions: int
    deletions: int
    insertions: int
    rate: float


@dataclass(frozen=True)
class Word:
    """A recognised word with its times in seconds."""

    text: str
    start: float
    end: float


class Recogniser:
    """Recognises words, or aligns known words with audio.

    Nothing is kept from one utterance to the next, so their order does not matter. Loading the model
    takes longer than using it: make one for each process.
    """

    def __init__(self) -> None:
        self._decoder = pocketsphinx.Decoder(samprate=SAMPLE_RATE, loglevel="FATAL")

    @cached_property
    def _aligner(self) -> pocketsphinx.Decoder:
        return pocketsphinx.Decoder(samprate=SAMPLE_RATE, loglevel="FATAL", silprob=SILENCE)

    def hear(self, audio: np.ndarray, sample_rate: int) -> list[Word]:
        """Recognise float32 `[samples]`; the words are spelt as those of `reference_words`."""
        return heard_words(_listen(self._decoder, audio, sample_rate))

    def hear_shifted(self, audio: np.ndarray, sample_rate: int) -> list[list[Word]]:
        """Recognise it once for each of `SHIFTS`, which are inaudible but change the result.

        Many words depend on where the recogniser's frames start, even in flawless speech. Times are those of
        the shifted audio, so up to 5 ms late.
        """
        audio = _at_own_rate(audio, sample_rate)
        return [self.hear(np.pad(audio, (shift, 0)), SAMPLE_RATE) for shift in SHIFTS]

    def align(self, audio: np.ndarray, sample_rate: int, text: str) -> list[Word]:
        """Find known words, or none where they do not fit the audio or the recogniser does not know one."""
        try:
            self._aligner.set_align_text(text)
        except RuntimeError:
            return []
        found = _listen(self._aligner, audio, sample_rate)
        return found if [word.text for word in found] == text.split() else []


def _listen(decoder: pocketsphinx.Decoder, audio: np.ndarray, sample_rate: int) -> list[Word]:
    audio = _at_own_rate(audio, sample_rate)
    # Noise and mean estimated on the previous utterance must not affect this one.
    decoder.reinit_feat()
    decoder.start_utt()
    decoder.process_raw(np.rint(audio.clip(-1, 1) * 32767).astype("<i2").tobytes(), full_utt=True)
    decoder.end_utt()
    if decoder.hyp() is None:
        return []
    return [
        # "close(2)" is the second way to say a word, "<sil>" and "[NOISE]" are none.
        Word(s.word.partition("(")[0], s.start_frame / FRAME_RATE, (s.end_frame + 1) / FRAME_RATE)
        for s in decoder.seg()
        if s.word[0] not in "<[("
    ]


def _at_own_rate(audio: np.ndarray, sample_rate: int) -> np.ndarray:
    return audio if sample_rate == SAMPLE_RATE else soxr.resample(audio, sample_rate, SAMPLE_RATE)


def reference_words(sentence: str) -> str:
    """Return the words of a text as the voice reads them, without punctuation and capitals."""
    # The front end writes the letter a as "ay", to tell it from the article.
    words = ("a" if word == "ay" else word for word in normalise(sentence).translate(_PUNCTUATION).split())
    return _HALF_OF_DAY.sub(r"\1m", " ".join(words))


def heard_words(found: Sequence[Word]) -> list[Word]:
    """Bring the recogniser's output into the same form: `p.`, `m.` is one word, `twenty-one` two."""
    words: list[Word] = []
    for word in found:
        parts = word.text.lower().replace("-", " ").translate(_PUNCTUATION).split()
        length = (word.end - word.start) / max(1, len(parts))
        for place, part in enumerate(parts):
            start = word.start + place * length
            if part == "m" and words and words[-1].text in ("a", "p"):
                words[-1] = Word(f"{words[-1].text}m", words[-1].start, start + length)
            else:
                words.append(Word(part, round(start, 3), round(start + length, 3)))
    return words


def count_errors(references: Sequence[str], heard: Sequence[str]) -> WordErrors:
    """Count the errors over all sentences together, so that a long one counts for more."""
    result = jiwer.process_words(list(references), list(heard))
    words = result.hits + result.substitutions + result.deletions
    return WordErrors(
        words, result.substitutions, result.deletions, result.insertions, round(100 * result.wer, 2)
    )
