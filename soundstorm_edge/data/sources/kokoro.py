"""The natural corpus: the teacher speaks English that Debian carries, in many speakers' voices."""

from __future__ import annotations

import random
import re
from collections.abc import Container, Iterator
from functools import cache, partial
from pathlib import Path

import numpy as np

from soundstorm_runtime.text.sentences import PAUSES, normalise

from ...errors import CorpusError
from ..cmu_dictionary import read_dictionary
from ..corpus_config import CorpusConfig
from ..kokoro_teacher import DURATION_SAMPLES, F0_RATE, LOWEST_F0, SAMPLE_RATE, Kokoro, Speaker, Speech
from ..recording import Recording, Sound
from .everyday import everyday_sentences
from .fortunes import FORTUNES

CLEAREST = "jm_kumo"  # the style whose manner is understood best (benchmarks/teacher_styles.py)
SPEAKERS = {
    "tom": Speaker({"jm_kumo": 1.0}, {"jm_kumo": 1.0}),
    "ada": Speaker({"jf_alpha": 0.5, "jm_kumo": 0.25, "jf_tebukuro": 0.25}, {"jm_kumo": 1.0}, 9.0),
    "leo": Speaker({"jm_kumo": 0.6, "jf_alpha": 0.4}, {"jm_kumo": 1.0}, 3.0),
    "ivy": Speaker({"jf_alpha": 0.5, "jf_nezumi": 0.5}, {"jm_kumo": 1.0}, 13.0),
}
PER_BLEND = 4  # sentences in a row: a prompt is of another sentence than what follows it
LEAD, TAIL = 0.1, 0.2  # seconds of silence that are kept at both ends
LEVEL = -23.0  # dB, root mean square of the speech

_SENTENCE = re.compile(r"(?<=[.!?])[\"')]*\s+(?=[\"'(]?[A-Z])")
_CLEAN = re.compile(r"[\"'A-Z][A-Za-z0-9 ,;:'?!.\"$%()-]+[.?!][\"']?")
_ABBREVIATED = re.compile(r"\b(Mr|Mrs|Dr|St|Jr|Sr|vs|etc|Prof|[A-Z])\.")
_LONGEST_SENTENCE = 32  # words
_SUFFIXES = ("s", "d", "ll", "ve", "re")
_UNEVENNESS = 0.06  # standard deviation of the logarithm of the speed
_TIMBRES = {"jm_kumo": 1.6, "jf_alpha": 1.4, "jf_gongitsune": 0.4, "jf_nezumi": 0.6, "jf_tebukuro": 0.6}
_MEDIAN_F0 = {"clearest": 91.0, "others": 255.0}  # hertz, of their own manners


def kokoro_recordings(config: CorpusConfig) -> Iterator[Recording]:
    """Yield every sentence once: a share of `config.blends` by random speakers, the others by `config.voices`
    in turns; `config.utterances` sentences at most.

    Raises:
        CorpusError: a voice is unknown, or a package of the extra `teacher` is missing.
    """
    voices = config.voices
    if unknown := sorted(set(voices) - set(SPEAKERS)):
        raise CorpusError(f"the teacher has no speaker {unknown[0]!r}; give some of: {', '.join(SPEAKERS)}")
    if not 0 <= config.blends <= 1 or (config.blends < 1 and not voices):
        raise CorpusError(
            f"blends is {config.blends} with voices {list(voices)}, expected 0 to 1, and 1 without voices"
        )
    _teacher()  # where a package is missing, that is said at once, and threads share one session
    sentences = teacher_sentences()
    for number, text in enumerate(sentences[: config.utterances or None]):
        block, place = divmod(number, PER_BLEND)
        rng = np.random.default_rng([7, block])
        if rng.random() < config.blends:
            name, speaker = f"blend-{block:05d}", random_speaker(rng)
        else:
            name = voices[number % len(voices)]
            speaker = SPEAKERS[name]
        speed = float(np.exp(np.random.default_rng([7, block, place]).normal(0, _UNEVENNESS)))
        yield Recording(f"kokoro-{number:06d}", text, name, partial(_speak, text, speaker, speed))


def _speak(text: str, speaker: Speaker, speed: float) -> Sound:
    speech = trimmed(_teacher().say(text, speaker, speed))
    return Sound(levelled(speech.audio), SAMPLE_RATE, speech.phones, speech.ends, pitch(speech.f0))


def teacher_sentences() -> list[str]:
    """Return all sentences that the teacher speaks, in an order that stays; a fifth is everyday talk."""
    known = read_dictionary()
    written = fortune_texts(known)
    composed = [text for text in everyday_sentences(len(written) // 4) if _has_known_words(text, known)]
    sentences = [*written, *composed]
    random.Random(0).shuffle(sentences)
    return sentences


@cache
def _teacher() -> Kokoro:
    """One session for all threads; each utterance takes one of them."""
    return Kokoro(threads=1)


def fortune_texts(known: Container[str], folder: Path = FORTUNES) -> list[str]:
    """Sentences of up to 32 words from Debian's `fortunes`, questions, numbers and quotes among them.

    known: words (lower case); a sentence with another one is left out, as it might be pronounced wrong.
    """
    files = sorted(path for path in folder.glob("*") if path.is_file() and not path.suffix)
    if not files:
        raise CorpusError(f"no text in {folder}; install it with 'apt-get install fortunes'")
    found: dict[str, None] = {}
    for path in files:
        for fortune in re.split(r"^%\n", path.read_text(encoding="utf-8", errors="replace"), flags=re.M):
            quote = re.split(r"^\s*--", fortune, flags=re.M)[0]  # what follows names the author
            text = re.sub(r"\s+", " ", quote).strip()
            if not _ABBREVIATED.search(text):  # its full stop would be taken for the end of a sentence
                sentences = (sentence.strip(' "') for sentence in _SENTENCE.split(text))
                found |= {sentence: None for sentence in sentences if _is_speakable(sentence, known)}
    return list(found)


def _is_speakable(sentence: str, known: Container[str]) -> bool:
    shouted = any(word.isupper() for word in re.findall("[A-Za-z]{2,}", sentence))
    if not _CLEAN.fullmatch(sentence) or shouted or ".." in sentence or "--" in sentence:
        return False
    if sentence.count('"') % 2 or len(sentence.split()) > _LONGEST_SENTENCE:
        return False
    return _has_known_words(sentence, known)


def _has_known_words(sentence: str, known: Container[str]) -> bool:
    words = [word.rstrip(PAUSES) for word in normalise(sentence).split()]
    return bool(words) and all(_is_known(word, known) for word in words)


def _is_known(word: str, known: Container[str]) -> bool:
    stem, _, suffix = word.rpartition("'")
    return word in known or (suffix in _SUFFIXES and stem in known)


def random_speaker(rng: np.random.Generator) -> Speaker:
    """Mix a speaker: any timbre, mostly the clearest manner, and a pitch that suits the timbre."""
    names = list(_TIMBRES)
    shares = rng.dirichlet(list(_TIMBRES.values()))
    shares[shares < 0.06] = 0
    shares /= shares.sum()
    share = float(rng.integers(2) * rng.uniform(0, 0.25))
    manner = {CLEAREST: 1 - share}
    if share:
        manner[names[int(rng.integers(1, len(names)))]] = share
    high = 1 - float(shares[names.index(CLEAREST)])  # the others are women's
    wanted = rng.uniform(np.log2(85 + 75 * high), np.log2(135 + 105 * high))
    own = (1 - share) * np.log2(_MEDIAN_F0["clearest"]) + share * np.log2(_MEDIAN_F0["others"])
    timbre = {name: float(part) for name, part in zip(names, shares, strict=True) if part}
    return Speaker(timbre, manner, 12 * float(wanted - own))


def trimmed(speech: Speech) -> Speech:
    """Cut silence from both ends, in whole steps of the teacher's durations."""
    step = DURATION_SAMPLES / SAMPLE_RATE
    first = max(0, round((speech.ends[0] - LEAD) / step))
    last = min(len(speech.audio) // DURATION_SAMPLES, round((speech.ends[-2] + TAIL) / step))
    ends = tuple(min(end, last * step) - first * step for end in speech.ends)
    per_step = round(F0_RATE * step)
    audio = speech.audio[first * DURATION_SAMPLES : last * DURATION_SAMPLES]
    return Speech(audio, speech.phones, ends, speech.f0[first * per_step : last * per_step])


def pitch(f0: np.ndarray) -> tuple[float, ...]:
    """Return F0 in whole hertz, 0 where there is no voice."""
    return tuple(float(round(hertz)) if hertz > LOWEST_F0 else 0.0 for hertz in f0.tolist())


def levelled(audio: np.ndarray) -> np.ndarray:
    """Scale audio float32 `[samples]` so that its speech is as loud as everybody's, without clipping.

    Speech is what lies within 30 dB of the loudest 25 ms.
    """
    frames = audio[: len(audio) // DURATION_SAMPLES * DURATION_SAMPLES].reshape(-1, DURATION_SAMPLES)
    power = (frames**2).mean(axis=1)
    if not len(power) or not power.max() > 0:
        raise CorpusError("the teacher was silent; remove that text")
    gain = 10 ** (LEVEL / 20) / np.sqrt(power[power > power.max() * 1e-3].mean())
    return audio * np.float32(min(gain, 0.95 / np.abs(audio).max()))
