"""The offline corpus: flite (a small synthesizer of Debian) speaks English that Debian carries."""

from __future__ import annotations

import io
import random
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from ..errors import CorpusError
from .corpus import Recording

FORTUNES = Path("/usr/share/games/fortunes")
_SENTENCE = re.compile(r"(?<=[.!?])[\"')]*\s+(?=[\"'(]?[A-Z])")
_CLEAN = re.compile(r"[A-Z][A-Za-z ,;:'?!.-]+[.?!]")
_ABBREVIATED = re.compile(r"\b(Mr|Mrs|Dr|St|Jr|Sr|vs|etc|Prof|[A-Z])\.")


def fortune_sentences(folder: Path = FORTUNES) -> list[str]:
    """Clean English sentences of 3 to 30 words, each once, from the files of Debian's `fortunes`."""
    files = sorted(path for path in folder.glob("*") if path.is_file() and not path.suffix)
    if not files:
        raise CorpusError(f"no text in {folder}; install it with 'apt-get install fortunes'")
    sentences: dict[str, None] = {}
    for path in files:
        for fortune in re.split(r"^%\n", path.read_text(encoding="utf-8", errors="replace"), flags=re.M):
            quote = re.split(r"^\s*--", fortune, flags=re.M)[0]  # what follows names the author
            text = re.sub(r"\s+", " ", quote.replace('"', "")).strip()
            if _ABBREVIATED.search(text):  # its full stop would be taken for the end of a sentence
                continue
            for sentence in _SENTENCE.split(text):
                if _is_clean(sentence):
                    sentences[sentence] = None
    return list(sentences)


def _is_clean(sentence: str) -> bool:
    words = sentence.split()
    shouted = sum(word.isupper() and len(word) > 1 for word in words)
    return (
        3 <= len(words) <= 30
        and _CLEAN.fullmatch(sentence) is not None
        and not shouted
        and ".." not in sentence
    )


def flite_recordings(voices: tuple[str, ...]) -> Iterator[Recording]:
    """Every sentence in every voice, with the phones that flite spoke and their end times.

    The files go by topic, so the sentences are shuffled, always in the same way. Each voice begins elsewhere
    among them: where every voice speaks a part alone, all together speak more sentences.
    """
    # flite itself takes another voice for one that it does not have, and does not say so.
    known = run_flite("-lv").partition(":")[2].split()
    if unknown := [voice for voice in voices if voice not in known]:
        raise CorpusError(f"flite has no voice {unknown[0]!r}; give some of: {', '.join(known)}")
    sentences = fortune_sentences()
    random.Random(0).shuffle(sentences)
    for number in range(len(sentences)):
        for place, voice in enumerate(voices):
            own = (number + place * len(sentences) // len(voices)) % len(sentences)
            sentence = sentences[own]
            yield Recording(
                f"{voice}-{own:05d}",
                sentence,
                voice,
                lambda sentence=sentence, voice=voice: _timed(sentence, voice),  # type: ignore[misc]
            )


def _timed(text: str, voice: str) -> tuple[np.ndarray, int, tuple[str, ...], tuple[float, ...]]:
    audio, rate, segments = speak(text, voice)
    return audio, rate, tuple(phone for phone, _ in segments), tuple(end for _, end in segments)


def speak(text: str, voice: str) -> tuple[np.ndarray, int, list[tuple[str, float]]]:
    """Speak `text`: audio float32 `[samples]`, its sample rate, and (phone, end in seconds) pairs."""
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "speech.wav"
        printed = run_flite("-voice", voice, "-psdur", "-t", text, "-o", str(wav))
        if not wav.is_file():
            raise CorpusError(f"flite wrote no audio for {text[:60]!r}; remove that text")
        audio, rate = soundfile.read(io.BytesIO(wav.read_bytes()), dtype="float32")
    pairs = [segment.rpartition(":") for segment in printed.split()]
    return audio, rate, [(phone, float(end)) for phone, _, end in pairs]


def run_flite(*arguments: str) -> str:
    """Run flite and give what it printed."""
    if shutil.which("flite") is None:
        raise CorpusError("flite is not installed; install it with 'apt-get install flite'")
    result = subprocess.run(["flite", *arguments], capture_output=True, text=True)
    if result.returncode:
        raise CorpusError(f"flite failed ({result.stderr.strip()[:200]})")
    return result.stdout
