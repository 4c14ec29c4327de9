"""Source `flite`: a small synthesizer of Debian speaks the sentences of `fortunes`, offline."""

from __future__ import annotations

import io
import random
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from functools import partial

import soundfile

from ...errors import CorpusError
from ..corpus_config import CorpusConfig
from ..recording import Recording, Sound
from .fortunes import fortune_sentences


def flite_recordings(config: CorpusConfig) -> Iterator[Recording]:
    """Yield every sentence in every voice of `config.voices`, with exact phone times.

    The files of `fortunes` are ordered by topic, so the sentences are shuffled, always in the same way. Each
    voice starts at another sentence: where each speaks a part only, all together speak more sentences.

    Raises:
        CorpusError: flite lacks a voice or is not installed.
    """
    # flite itself substitutes another voice for an unknown one without saying so.
    known = run_flite("-lv").partition(":")[2].split()
    if unknown := [voice for voice in config.voices if voice not in known]:
        raise CorpusError(f"flite has no voice {unknown[0]!r}; give some of: {', '.join(known)}")
    sentences = fortune_sentences()
    random.Random(0).shuffle(sentences)
    for number in range(len(sentences)):
        for place, voice in enumerate(config.voices):
            index = (number + place * len(sentences) // len(config.voices)) % len(sentences)
            text = sentences[index]
            yield Recording(f"{voice}-{index:05d}", text, voice, partial(speak, text, voice))


def speak(text: str, voice: str) -> Sound:
    """Synthesize `text`; the sound has phones and their end times."""
    with tempfile.TemporaryFile() as wav:  # without a name, so that nothing is left if this process is killed
        name = f"/dev/fd/{wav.fileno()}"
        printed = run_flite("-voice", voice, "-psdur", "-t", text, "-o", name, inherited=wav.fileno())
        wav.seek(0)
        content = wav.read()
        if not content:
            raise CorpusError(f"flite wrote no audio for {text[:60]!r}; remove that text")
        audio, rate = soundfile.read(io.BytesIO(content), dtype="float32")
    pairs = [segment.rpartition(":") for segment in printed.split()]
    return Sound(audio, rate, tuple(phone for phone, _, _ in pairs), tuple(float(end) for _, _, end in pairs))


def run_flite(*arguments: str, inherited: int | None = None) -> str:
    """Run flite and return what it printed; `inherited` is the number of a file that it may use."""
    if shutil.which("flite") is None:
        raise CorpusError("flite is not installed; install it with 'apt-get install flite'")
    files = () if inherited is None else (inherited,)
    result = subprocess.run(["flite", *arguments], capture_output=True, text=True, pass_fds=files)
    if result.returncode:
        raise CorpusError(f"flite failed ({result.stderr.strip()[:200]})")
    return result.stdout
